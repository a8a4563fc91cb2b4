//! What one tick finds: causes for the failsafe, and their numbers for people.

use reflexarc_vla_model::decision::ToolTarget;

use crate::failsafe::{Cause, CauseSet};
use crate::interlock::Uncalibrated;
use crate::modes::{HoldReason, SenseFault, SenseId};
use crate::safety::Gate;
use crate::senses::Snapshot;

/// What the newest decision or chunk asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    /// A target, and the capture time of the observation behind it.
    Follow(ToolTarget, u64),
    /// The chunk in force.
    Execute,
    /// Nothing that could be followed.
    Hold(HoldReason),
}

/// All that is wrong in one tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Findings {
    pub(crate) wish: Wish,
    pub(crate) causes: CauseSet,
}

/// The numbers of what was found last: a cause may stand a while longer than it is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Details {
    pub(crate) sense: SenseFault,
    pub(crate) clock: SenseId,
    pub(crate) calibration: Uncalibrated,
    pub(crate) gap_ns: u64,
    pub(crate) joint: u8,
    pub(crate) apart: (u8, u32),
    pub(crate) pad: u8,
}

impl Default for Details {
    fn default() -> Self {
        Self {
            sense: SenseFault::NeverSeen { which: SenseId::Joints },
            clock: SenseId::Joints,
            calibration: Uncalibrated::NotSaid,
            gap_ns: 0,
            joint: 0,
            apart: (0, 0),
            pad: 0,
        }
    }
}

impl Findings {
    pub(crate) fn new(wish: Wish, gate: Gate) -> Self {
        Self { wish, causes: gate.causes() }
    }

    /// What the wish lacks. `sound`: the senses are good and motion is allowed, so that the mind has what it needs.
    pub(crate) fn add_wish(&mut self, stopped: bool, sound: bool) {
        let Wish::Hold(reason) = self.wish else { return };
        let cause = match reason {
            HoldReason::PolicyFailed => Cause::PolicyFailed,
            HoldReason::Refused(_) => Cause::DecisionRefused,
            HoldReason::Expired { .. } => Cause::DecisionExpired,
            HoldReason::RanDry => Cause::RanDry,
            HoldReason::Settling => Cause::Settling,
            HoldReason::Infeasible { .. } => Cause::Infeasible,
            HoldReason::NoDecision
            | HoldReason::Sense(_)
            | HoldReason::NotEnabled
            | HoldReason::Blocked { .. }
            | HoldReason::Calibration(_)
            | HoldReason::ModelCold
            | HoldReason::PoseApart { .. }
            | HoldReason::ClockJump { .. }
            | HoldReason::Overrun { .. }
            | HoldReason::PadForce { .. } => Cause::NoDecision,
        };
        let waits_for_mind = matches!(cause, Cause::NoDecision | Cause::DecisionExpired | Cause::RanDry);
        let counts = !stopped || matches!(cause, Cause::PolicyFailed | Cause::DecisionRefused);
        self.causes =
            self.causes.with_if(counts, cause).with_if(counts && sound && waits_for_mind, Cause::MindStalled);
    }

    /// What the senses lack.
    pub(crate) fn add_senses(&mut self, snapshot: &Snapshot, details: &mut Details) {
        if let Err(fault) = snapshot.health {
            details.sense = fault;
            self.causes = self.causes.with(match fault {
                SenseFault::Black => Cause::CamerasBlack,
                SenseFault::NeverSeen { .. } | SenseFault::Stale { .. } | SenseFault::Skewed { .. } => {
                    Cause::SenseLost
                }
            });
        }
        if let Some(which) = snapshot.clock_jumped {
            details.clock = which;
            self.causes = self.causes.with(Cause::ClockJump);
        }
        if let Err(reason) = snapshot.calibration {
            details.calibration = reason;
            self.causes = self.causes.with(Cause::NotCalibrated);
        }
        self.causes = self
            .causes
            .with_if(snapshot.clock_corrected.is_some(), Cause::ClockCorrected)
            .with_if(snapshot.optional_lost.is_some(), Cause::OptionalLost);
    }
}

impl Details {
    /// The hold that a cause makes, with its numbers.
    pub(crate) fn reason(&self, cause: Cause, wish: &Wish) -> HoldReason {
        match cause {
            Cause::SenseLost | Cause::CamerasBlack => HoldReason::Sense(self.sense),
            Cause::ClockJump => HoldReason::ClockJump { which: self.clock },
            Cause::NotCalibrated => HoldReason::Calibration(self.calibration),
            Cause::NotEnabled => HoldReason::NotEnabled,
            Cause::LoopOverrun => HoldReason::Overrun { gap_ns: self.gap_ns },
            Cause::Blocked => HoldReason::Blocked { joint: self.joint },
            Cause::PadForce => HoldReason::PadForce { pad: self.pad },
            Cause::ModelCold => HoldReason::ModelCold,
            Cause::PoseApart => HoldReason::PoseApart { joint: self.apart.0, apart_mrad: self.apart.1 },
            // The wish itself says what it lacks.
            Cause::Settling
            | Cause::NoDecision
            | Cause::RanDry
            | Cause::DecisionExpired
            | Cause::Infeasible
            | Cause::DecisionRefused
            | Cause::PolicyFailed
            | Cause::MindStalled => match wish {
                Wish::Hold(reason) => *reason,
                Wish::Follow(..) | Wish::Execute => HoldReason::NoDecision,
            },
            // Never a hold; named all the same rather than hidden.
            Cause::Slip
            | Cause::ClockCorrected
            | Cause::OptionalLost
            | Cause::Shutdown
            | Cause::EmergencyStopSilent
            | Cause::EmergencyStop => HoldReason::NoDecision,
        }
    }
}
