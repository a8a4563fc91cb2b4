use reflexarc_drivers::arm::JointCalibration;
use reflexarc_drivers::arm::config::AxisKind;
use reflexarc_vla_model::checkpoint::{Extent, Moments};

use super::*;

const WIDTH_M: f64 = 0.08;

/// An arm whose joints have ranges of 2296, 2293, ... steps.
fn arm() -> Vec<Axis> {
    let axis = |i: u8, kind| Axis {
        name: format!("joint{i}"),
        figures: JointCalibration {
            id: i,
            drive_mode: i % 2,
            homing_offset: 0,
            range_min: 900,
            range_max: 3199 - 3 * i32::from(i),
        },
        kind,
        max_speed: 1.0,
    };
    let joint = AxisKind::Angle { reversed: false, middle_rad: 0.0 };
    let gripper = AxisKind::Width { max_width_m: WIDTH_M, full_force_n: 0.0 };
    (1..=5).map(|i| axis(i, joint)).chain([axis(6, gripper)]).collect()
}

fn moments(joints: f32, gripper: f32) -> Option<Moments> {
    let values = |joint: f32, gripper: f32| [vec![joint; 5], vec![gripper]].concat();
    Some(Moments { mean: values(0.6 * joints, 0.6 * gripper), std: values(0.8 * joints, 0.8 * gripper) })
}

fn nothing() -> Normaliser {
    Normaliser {
        state: None,
        action: None,
        cameras: vec![],
        epsilon: 0.0,
        state_extent: None,
        action_extent: None,
    }
}

/// What an arm recorded whose joints were read at these places, given in steps.
fn recorded(scale: Scale, places: [[i32; 2]; 5]) -> Normaliser {
    let arm = arm();
    let value = |end: usize| {
        let joints =
            arm.iter().zip(places).map(|(axis, ends)| axis.figures.normalise(scale, ends[end]) as f32);
        joints.chain([[3.0, 97.0][end]]).collect::<Vec<f32>>()
    };
    let (low, high) = (value(0), value(1));
    let least = |a: f32, b: f32| a.min(b);
    let extent = Extent {
        min: low.iter().zip(&high).map(|(a, b)| least(*a, *b)).collect(),
        max: low.iter().zip(&high).map(|(a, b)| -least(-*a, -*b)).collect(),
    };
    Normaliser { state: moments(40.0, 50.0), state_extent: Some(extent), ..nothing() }
}

const PLACES: [[i32; 2]; 5] = [[1011, 3007], [953, 2999], [1200, 2801], [1111, 2222], [1313, 2717]];

fn told(statistics: &Normaliser) -> Result<String, String> {
    let evidence = Evidence::new(statistics, WIDTH_M);
    let told = match evidence.radians() {
        Ok(Some(why)) => return Ok(format!("rad {why}")),
        Ok(None) => evidence.degrees_or_percent(&arm()),
        Err(error) => return Err(error.to_string()),
    };
    told.map(|(degrees, why)| format!("{} {why}", if degrees { "degrees" } else { "percent" }))
        .map_err(|error| error.to_string())
}

#[test]
fn small_values_are_rad_and_m() {
    let statistics = Normaliser { state: moments(1.2, 0.04), action: moments(1.3, 0.05), ..nothing() };
    assert!(told(&statistics).unwrap().starts_with("rad "));
}

#[test]
fn steps_of_the_servo_tell_degrees_from_percent() {
    assert!(told(&recorded(Scale::Degrees, PLACES)).unwrap().starts_with("degrees "));
    assert!(told(&recorded(Scale::RangeM100To100, PLACES)).unwrap().starts_with("percent "));
}

#[test]
fn ends_of_the_range_alone_tell_nothing() {
    let ends = arm().iter().map(|axis| [axis.figures.range_min, axis.figures.range_max]).collect::<Vec<_>>();
    let mut places: [[i32; 2]; 5] = ends[..5].try_into().unwrap();
    let error = told(&recorded(Scale::RangeM100To100, places)).unwrap_err();
    assert!(error.contains("steps of neither"), "{error}");
    // Three others are too few, four are enough.
    (places[0], places[1][0]) = (PLACES[0], PLACES[1][0]);
    assert!(told(&recorded(Scale::RangeM100To100, places)).is_err());
    places[1] = PLACES[1];
    assert!(told(&recorded(Scale::RangeM100To100, places)).unwrap().starts_with("percent "));
}

#[test]
fn what_is_left_open_is_refused_with_what_was_found() {
    let mut off = recorded(Scale::Degrees, PLACES);
    off.state_extent.as_mut().unwrap().max[2] += 0.02;
    let other_zero = {
        let mut statistics = recorded(Scale::Degrees, PLACES);
        let extent = statistics.state_extent.as_mut().unwrap();
        extent.min.iter_mut().chain(&mut extent.max).for_each(|value| *value *= 4095.0 / 4096.0);
        statistics
    };
    let beyond = {
        let mut statistics = recorded(Scale::Degrees, PLACES);
        *statistics.state_extent.as_mut().unwrap().max.last_mut().unwrap() = 140.0;
        statistics
    };
    for (statistics, said) in [
        (nothing(), "it has no statistics"),
        (Normaliser { state: moments(40.0, 50.0), ..nothing() }, "lack `observation.state.min`"),
        (Normaliser { state: moments(1.0, 1.4), ..nothing() }, "too far for an opening"),
        (off, "steps of neither"),
        (other_zero, "steps of neither"),
        (beyond, "the gripper goes to 140.00, outside 0..100"),
    ] {
        let error = told(&statistics).unwrap_err();
        assert!(error.contains(said) && error.contains("policy.units"), "`{error}` does not say `{said}`");
    }
}

#[test]
fn a_choice_that_the_statistics_contradict_is_refused() {
    let mut config = Config::default();
    let mut refused = |units, statistics: &Normaliser| {
        config.policy.units = units;
        units_of(statistics, &config).unwrap_err().to_string()
    };
    let wide = Normaliser { state: moments(120.0, 50.0), ..nothing() };
    for (units, said) in [
        (UnitsChoice::Radians, "joint 0 goes to 120.00, beyond three turns, 18.85 rad"),
        (UnitsChoice::Percent, "joint 0 goes to 120.00, beyond -100..100"),
        // Possible, and without an arm they mean nothing.
        (UnitsChoice::Degrees, "expected [drivers.arm] in the configuration"),
        (UnitsChoice::Auto, "expected [drivers.arm] in the configuration"),
    ] {
        let error = refused(units, &wide);
        assert!(error.contains(said), "`{error}` does not say `{said}`");
    }
}
