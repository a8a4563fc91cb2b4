//! In which units a checkpoint was trained: told by its statistics, or by the user, never guessed.
//!
//! LeRobot writes no units into a checkpoint. Its arms record joints in degrees from the middle of each calibrated
//! range, or in -100..100 of that range, and the gripper in 0..100; simulators and our own exporter record rad and m.
//! A policy that is driven in the wrong ones moves smoothly to wrong places, so this is settled before it moves:
//!
//! - rad and m: no joint leaves a turn and the gripper not twice its opening, where LeRobot's units would mean an arm
//!   that never moved by 7 degrees;
//! - degrees or percent: a servo is read in whole steps, so each extreme of the training data's states lies on a step
//!   of 360/4095 degrees, or of 200/span percent of *this* arm's range. Four of them or more, all on one of the two
//!   grids to 1/200 of a step: by chance once in fifty million checkpoints;
//! - all else, such as data from before LeRobot's calibration of 2025 (degrees from another zero), is refused until
//!   `policy.units` says what it is. What the statistics contradict is refused in any case.

use std::f64::consts::TAU;
use std::fmt;

use reflexarc_drivers::arm::calibration::Scale;
use reflexarc_drivers::arm::config::Axis;
use reflexarc_drivers::arm::{ArmConfigError, CalibrationError};
use reflexarc_vla_model::checkpoint::Normaliser;
use reflexarc_vla_model::units::{Unit, Units};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::runtime::{RuntimeError, load_chain};

/// Extremes that must lie on a grid before it is believed.
const EXTREMES: usize = 4;
/// Room for f32 at the ends of -100..100.
const ROUNDING: f64 = 0.01;
const AS_CONFIGURED: &str = "as configured";

/// Units of a checkpoint's states and actions, as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitsChoice {
    /// As its statistics tell.
    #[default]
    Auto,
    /// Joints in rad, gripper in m.
    Radians,
    /// LeRobot's `use_degrees`: degrees from the middle of each calibrated range, gripper 0..100.
    Degrees,
    /// LeRobot's -100..100 of each calibrated range, gripper 0..100.
    Percent,
}

impl fmt::Display for UnitsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Radians => "radians",
            Self::Degrees => "degrees",
            Self::Percent => "percent",
        })
    }
}

/// Why a checkpoint's units are not known.
#[derive(Debug, thiserror::Error)]
pub enum UnitsFault {
    /// The statistics leave it open.
    #[error(
        "cannot tell in which units the checkpoint was trained: {findings}; say it with policy.units = \"radians\" \
         (rad and m), \"degrees\" (LeRobot's, from the middle of each calibrated range; gripper 0..100) or \"percent\" \
         (LeRobot's -100..100 of that range; gripper 0..100)"
    )]
    Open {
        /// What was found.
        findings: String,
    },
    /// The statistics say otherwise.
    #[error("policy.units = \"{asked}\", but the checkpoint's statistics contradict it: {reason}")]
    Contradicted {
        /// What is configured.
        asked: UnitsChoice,
        /// What was found.
        reason: String,
    },
    /// Degrees and percent refer to a calibration, and there is none.
    #[error(
        "the checkpoint was trained in LeRobot's degrees or -100..100, which refer to an arm's calibration: expected \
         [drivers.arm] in the configuration, found none"
    )]
    NoArm,
    /// The arm's calibration cannot be read.
    #[error(transparent)]
    Arm(#[from] ArmConfigError),
    /// The robot's description cannot be read.
    #[error(transparent)]
    Robot(Box<RuntimeError>),
}

/// The units of the checkpoint with these `statistics` on the robot that `config` describes, and in words how they
/// are known.
///
/// # Errors
/// [`UnitsFault`]: the statistics leave it open or contradict what is configured, or the calibration that the units
/// refer to is missing.
pub fn units_of(statistics: &Normaliser, config: &Config) -> Result<(Units, String), UnitsFault> {
    let evidence = Evidence::new(statistics, config.robot.gripper_max_width_m);
    let asked = config.policy.units;
    if let Some(reason) = evidence.contradiction(asked) {
        return Err(UnitsFault::Contradicted { asked, reason });
    }
    let told = match asked {
        UnitsChoice::Radians => Some(AS_CONFIGURED.to_owned()),
        UnitsChoice::Auto => evidence.radians()?,
        UnitsChoice::Degrees | UnitsChoice::Percent => None,
    };
    if let Some(why) = told {
        return Ok((Units::default(), format!("rad and m, {why}")));
    }
    let axes = axes(config)?.ok_or(UnitsFault::NoArm)?;
    let (in_degrees, why) = match asked {
        UnitsChoice::Auto => evidence.degrees_or_percent(&axes)?,
        asked => (asked == UnitsChoice::Degrees, AS_CONFIGURED.to_owned()),
    };
    let name = if in_degrees { "LeRobot's degrees" } else { "LeRobot's -100..100" };
    let no_scale = || UnitsFault::Open { findings: format!("{name} have no finite scale on this arm") };
    let units = Units::new(lerobot(&axes, in_degrees)).ok_or_else(no_scale)?;
    Ok((units, format!("{name}, {why}")))
}

fn lerobot(axes: &[Axis], in_degrees: bool) -> Vec<Unit> {
    let last = axes.len() - 1;
    let unit = |(index, axis): (usize, &Axis)| {
        let (gain, offset) = axis.lerobot(in_degrees);
        let (low, high) = match (index == last, in_degrees) {
            (true, _) => (0.0, 100.0),
            (false, true) => (f64::NEG_INFINITY, f64::INFINITY),
            (false, false) => (-100.0, 100.0),
        };
        Unit { gain, offset, low, high }
    };
    axes.iter().enumerate().map(unit).collect()
}

/// The arm's axes in the order of the policy's values: the chain's joints, then the gripper.
fn axes(config: &Config) -> Result<Option<Vec<Axis>>, UnitsFault> {
    let Some(arm) = &config.drivers.arm else { return Ok(None) };
    let (_, calibration) = arm.load_calibration(|name| std::env::var(name).ok())?;
    let chain = load_chain(config).map_err(|error| UnitsFault::Robot(Box::new(error)))?;
    let axes = arm.axes(&calibration).map_err(ArmConfigError::from)?;
    let names = chain.joint_names().iter().chain([&config.robot.gripper_joint]);
    let ordered = names.map(|name| {
        let missing = || CalibrationError::Missing {
            joint: name.clone(),
            found: axes.iter().map(|axis| axis.name.as_str()).collect::<Vec<_>>().join(", "),
        };
        axes.iter().find(|axis| axis.name == *name).cloned().ok_or_else(missing)
    });
    Ok(Some(ordered.collect::<Result<Vec<_>, _>>().map_err(ArmConfigError::from)?))
}

/// What statistics say about units.
struct Evidence {
    /// How far from 0 each value goes at least; joints, then the gripper. Empty: nothing is known.
    reach: Vec<f64>,
    /// Extremes of the states, or of the actions of a policy without states; joint by joint, gripper left out.
    extremes: Vec<[f64; 2]>,
    /// Least value of the gripper, where it is known.
    gripper_min: Option<f64>,
    gripper_max_width_m: f64,
}

impl Evidence {
    fn new(statistics: &Normaliser, gripper_max_width_m: f64) -> Self {
        let mut reach: Vec<f64> = Vec::new();
        let mut meet = |a: &[f32], b: &[f32], of: fn(f64, f64) -> f64| {
            reach.resize(reach.len().max(a.len()), 0.0);
            for (reach, (a, b)) in reach.iter_mut().zip(a.iter().zip(b)) {
                *reach = reach.max(of(f64::from(*a), f64::from(*b)));
            }
        };
        // Some value is as far from 0 as the root of the mean square.
        for moments in [&statistics.state, &statistics.action].into_iter().flatten() {
            meet(&moments.mean, &moments.std, |mean, std| (mean * mean + std * std).sqrt());
        }
        let mut gripper_min: Option<f64> = None;
        for extent in [&statistics.state_extent, &statistics.action_extent].into_iter().flatten() {
            meet(&extent.min, &extent.max, |min, max| min.abs().max(max.abs()));
            let least = extent.min.last().map(|min| f64::from(*min));
            gripper_min = gripper_min.into_iter().chain(least).reduce(f64::min);
        }
        let extent = statistics.state_extent.as_ref().or(match statistics.state {
            // A leader arm's actions lie on its own steps.
            Some(_) => None,
            None => statistics.action_extent.as_ref(),
        });
        let mut extremes: Vec<[f64; 2]> = extent.map_or_else(Vec::new, |extent| {
            extent.min.iter().zip(&extent.max).map(|(min, max)| [f64::from(*min), f64::from(*max)]).collect()
        });
        extremes.pop();
        Self { reach, extremes, gripper_min, gripper_max_width_m }
    }

    /// How far the gripper goes at least.
    fn gripper(&self) -> f64 {
        self.reach.last().copied().unwrap_or_default()
    }

    /// The joint that goes furthest, and how far at least.
    fn furthest(&self) -> (usize, f64) {
        let joints = self.reach.len().saturating_sub(1);
        let reach = self.reach.iter().copied().take(joints).enumerate();
        reach.fold((0, 0.0), |best, next| if next.1 > best.1 { next } else { best })
    }

    /// Why units are impossible; `None`: they are not.
    fn contradiction(&self, choice: UnitsChoice) -> Option<String> {
        let (gripper, (joint, reach)) = (self.gripper(), self.furthest());
        let beyond = |most: f64, what: &str| {
            (reach > most).then(|| format!("joint {joint} goes to {reach:.2}, beyond {what}"))
        };
        let squeezed = || {
            let least = self.gripper_min.filter(|least| *least < -ROUNDING);
            let value = least.or((gripper > 100.0 + ROUNDING).then_some(gripper))?;
            Some(format!("the gripper goes to {value:.2}, outside 0..100"))
        };
        match choice {
            UnitsChoice::Auto => None,
            // Joints without an end may wind.
            UnitsChoice::Radians => beyond(3.0 * TAU, "three turns, 18.85 rad").or_else(|| {
                (gripper > TAU).then(|| format!("the gripper goes to {gripper:.2}, no opening in m"))
            }),
            UnitsChoice::Degrees => beyond(360.0, "a turn of 360 degrees").or_else(squeezed),
            UnitsChoice::Percent => beyond(100.0 + ROUNDING, "-100..100").or_else(squeezed),
        }
    }

    fn furthest_in_words(&self) -> String {
        let ((joint, reach), gripper) = (self.furthest(), self.gripper());
        format!("joint {joint} goes to {reach:.2} and the gripper to {gripper:.2}")
    }

    /// Why the units are rad and m; `None`: they are degrees or -100..100.
    fn radians(&self) -> Result<Option<String>, UnitsFault> {
        let open = |findings: String| Err(UnitsFault::Open { findings });
        if self.reach.is_empty() {
            return open("it has no statistics".to_owned());
        }
        let furthest = self.furthest_in_words();
        let small = self.furthest().1 <= TAU;
        if small && self.gripper() <= 2.0 * self.gripper_max_width_m {
            return Ok(Some(format!("because {furthest}")));
        }
        if small {
            return open(format!(
                "{furthest}: too far for an opening in m (robot.gripper_max_width_m = {}), and the joints not far \
                 enough for degrees or -100..100",
                self.gripper_max_width_m
            ));
        }
        match [UnitsChoice::Degrees, UnitsChoice::Percent].map(|choice| self.contradiction(choice)) {
            [Some(degrees), Some(_)] => open(degrees),
            _ => Ok(None),
        }
    }

    /// Whether the units are degrees, and how that is known.
    fn degrees_or_percent(&self, arm: &[Axis]) -> Result<(bool, String), UnitsFault> {
        let furthest = self.furthest_in_words();
        let open = |why: &str| {
            Err(UnitsFault::Open { findings: format!("{furthest}, so degrees or -100..100, but {why}") })
        };
        if self.extremes.is_empty() {
            return open(
                "its statistics lack `observation.state.min` and `observation.state.max`, which would tell them apart",
            );
        }
        let on_steps = |choice, scale| self.contradiction(choice).is_none() && self.on_steps(arm, scale);
        let degrees = on_steps(UnitsChoice::Degrees, Scale::Degrees);
        let percent = on_steps(UnitsChoice::Percent, Scale::RangeM100To100);
        let because = |steps: &str| format!("because its states' extremes are whole steps of {steps}");
        match (degrees, percent) {
            (true, false) => Ok((true, because("360/4095 degrees"))),
            (false, true) => Ok((false, because("this arm's calibrated ranges"))),
            (true, true) => open("its states' extremes lie on the steps of both"),
            (false, false) => open(
                "its states' extremes lie on the steps of neither (recorded with another arm's calibration, in a \
                 simulator, or before LeRobot's calibration of 2025, whose degrees have another zero)",
            ),
        }
    }

    /// Whether all extremes that say something lie on steps, and are enough. 0 and ±100 lie on any grid.
    fn on_steps(&self, arm: &[Axis], scale: Scale) -> bool {
        let mut count = 0;
        for (axis, [min, max]) in arm.iter().zip(&self.extremes) {
            let ends = if min == max { vec![*min] } else { vec![*min, *max] };
            for value in ends.into_iter().filter(|value| *value != 0.0 && value.abs() != 100.0) {
                if !axis.figures.on_a_step(scale, value) {
                    return false;
                }
                count += 1;
            }
        }
        count >= EXTREMES
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
