//! The journal: what a run took from outside tick by tick, and what came of it. Together with the recorded
//! payloads it is all that the loop depends on, so that [`crate::replay`] can run it again.
//!
//! In real time these are the things that no second run would repeat: the clock's readings, which payloads
//! had arrived when a tick looked, which thought was in force, which snapshot a thought was about, and what
//! the program called. Payloads are named by their number of arrival ([`reflexarc_drivers::Sample::arrival`]),
//! snapshots by their tick, thoughts by their own number.
//!
//! The reflex leaves one `Copy` value per tick in a wait-free ring: no allocation, no lock, no text. What does
//! not fit is dropped and counted; the recorder's thread does the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reflexarc_vla_model::chunk::ActionChunk;
use reflexarc_vla_model::decision::Decision;
use reflexarc_vla_model::policy::{Output, PolicyError};
use rtrb::{Consumer, Producer, RingBuffer};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

use crate::audit::Refusal;
use crate::modes::StopCause;
use crate::reflex::Command;
use crate::senses::{MAX_SENSES, Seen};

/// Ticks that may wait for the recorder: eight seconds at 240 per second.
const WAITING_TICKS: usize = 2048;
/// Thoughts that may wait for the recorder.
const WAITING_THOUGHTS: usize = 512;
/// Calls that one tick remembers.
const MAX_CALLS: usize = 6;

/// Something that the program asked of the spine, between two ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// [`crate::spine::Spine::stop`].
    Stop(StopCause),
    /// [`crate::spine::Spine::reset`].
    Reset {
        /// Its argument, ns.
        now_ns: u64,
    },
    /// [`crate::spine::Spine::warm`].
    Warm,
    /// [`crate::spine::Spine::enable`].
    Enable {
        /// Its argument, ns.
        now_ns: u64,
    },
}

/// The first few calls since the last tick, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    calls: [Option<Call>; MAX_CALLS],
    /// Calls beyond those: the tick cannot be run again.
    lost: u32,
}

impl Calls {
    /// Adds one. A call like the one before adds nothing: each of them does the same twice as once.
    pub fn add(&mut self, call: Call) {
        match self.calls.iter().position(Option::is_none) {
            Some(place) if place > 0 && self.calls[place - 1] == Some(call) => {}
            Some(place) => self.calls[place] = Some(call),
            None => self.lost = self.lost.saturating_add(1),
        }
    }

    /// The calls, in order.
    pub fn iter(&self) -> impl Iterator<Item = Call> + '_ {
        self.calls.iter().flatten().copied()
    }

    /// How many calls did not fit.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.lost
    }
}

impl Serialize for Calls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let calls: Vec<Call> = self.iter().collect();
        (calls, self.lost).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (list, lost) = <(Vec<Call>, u32)>::deserialize(deserializer)?;
        let mut calls = [None; MAX_CALLS];
        if list.len() > calls.len() {
            return Err(D::Error::invalid_length(list.len(), &format!("at most {MAX_CALLS} calls").as_str()));
        }
        for (place, call) in calls.iter_mut().zip(list) {
            *place = Some(call);
        }
        Ok(Self { calls, lost })
    }
}

/// Number of arrival of the last message that was taken from each topic of events; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// `estop`.
    pub estop: u64,
    /// `enable`.
    pub enable: u64,
    /// `reset`.
    pub reset: u64,
    /// `operator_override`.
    pub operator_override: u64,
    /// How many of `estop` had been lost to a full queue.
    pub estop_lost: u64,
    /// How many of `enable` had been lost to a full queue.
    pub enable_lost: u64,
}

/// What one tick took from outside, beside its time and its thought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Number of the tick, from 1.
    pub tick: u64,
    /// The newest message of each sense that was looked at, in the order of [`crate::senses::Senses::names`].
    #[serde(with = "used_senses")]
    pub seen: [Seen; MAX_SENSES],
    /// The newest message of `calibrated` that was looked at; 0 for none.
    pub calibrated: u64,
    /// The newest event of each kind that was taken.
    pub events: Events,
    /// What the program called before.
    pub calls: Calls,
}

/// One tick: inputs and result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// What it took from outside.
    pub inputs: Inputs,
    /// Number of the thought in force; 0 for none.
    pub thought: u64,
    /// What came of it; its stamp is the tick's time.
    pub command: Command,
}

/// What a policy said, before any audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// A decision.
    Goals(Decision),
    /// A chunk of actions.
    Chunk(ActionChunk),
    /// Why there was neither.
    Error(String),
}

impl Said {
    /// The tokens as text; empty where there are none.
    #[must_use]
    pub fn tokens(&self) -> String {
        match self {
            Self::Goals(decision) => {
                decision.tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            Self::Chunk(_) | Self::Error(_) => String::new(),
        }
    }
}

impl From<&Result<Output, PolicyError>> for Said {
    fn from(said: &Result<Output, PolicyError>) -> Self {
        match said {
            Ok(Output::Goals(decision)) => Self::Goals(decision.clone()),
            Ok(Output::Chunk(chunk)) => Self::Chunk(chunk.clone()),
            Err(error) => Self::Error(error.to_string()),
        }
    }
}

/// An instruction that the program itself gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The words.
    pub words: String,
    /// Number of arrival of the last message on `instruction` that had been taken then.
    pub after: u64,
}

/// One thought: inputs, what the policy said, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThoughtEntry {
    /// Its number, from 1.
    pub number: u64,
    /// The tick whose snapshot it is about.
    pub tick: u64,
    /// When the policy was asked, ns.
    pub now_ns: u64,
    /// The instruction in force.
    pub instruction: String,
    /// Number of arrival of the last message taken from `instruction`; 0 for none.
    pub instructions: u64,
    /// The last instruction that the program itself gave since the last thought, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// The tokens as text, for people.
    pub tokens: String,
    /// What the policy said.
    pub said: Said,
    /// Why the audit refused it, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// The number under which the reflex knows a chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<u64>,
    /// How long the policy took, ns; differs from run to run.
    pub model_ns: u64,
    /// How long the audit took, ns; differs from run to run.
    pub audit_ns: u64,
}

/// The loop's end of one kind of entry.
pub struct Leaver<T> {
    ring: Producer<T>,
    lost: Arc<AtomicU64>,
}

impl<T> Leaver<T> {
    /// Leaves an entry for the recorder; what does not fit is dropped and counted. Wait-free, and allocates
    /// nothing. A thought must be left before it comes into force.
    pub fn leave(&mut self, entry: T) {
        if self.ring.push(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The recorder's end of one kind of entry.
pub struct Taker<T> {
    ring: Consumer<T>,
    lost: Arc<AtomicU64>,
}

impl<T> Taker<T> {
    /// The oldest entry that waits.
    pub fn take(&mut self) -> Option<T> {
        self.ring.pop().ok()
    }

    /// Entries that were dropped because the recorder was too slow.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The recorder's end of a journal.
pub struct Journal {
    /// From the spine.
    pub ticks: Taker<Tick>,
    /// From the mind.
    pub thoughts: Taker<ThoughtEntry>,
}

/// The loop's ends of a journal.
pub struct JournalEnds {
    /// For the spine.
    pub ticks: Leaver<Tick>,
    /// For the mind.
    pub thoughts: Leaver<ThoughtEntry>,
}

/// A journal, and what the loop writes it with.
#[must_use]
pub fn journal() -> (Journal, JournalEnds) {
    let (tick_leaver, ticks) = ring(WAITING_TICKS);
    let (thought_leaver, thoughts) = ring(WAITING_THOUGHTS);
    (Journal { ticks, thoughts }, JournalEnds { ticks: tick_leaver, thoughts: thought_leaver })
}

fn ring<T>(capacity: usize) -> (Leaver<T>, Taker<T>) {
    let (writer, reader) = RingBuffer::new(capacity);
    let lost = Arc::new(AtomicU64::new(0));
    (Leaver { ring: writer, lost: Arc::clone(&lost) }, Taker { ring: reader, lost })
}

/// Joints as a list of exact numbers.
pub(crate) mod exact_joints {
    use reflexarc_kinematics::{Joints, MAX_DOF};
    use reflexarc_vla_model::exact::Exact;
    use serde::de::{Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(joints: &Joints, serializer: S) -> Result<S::Ok, S::Error> {
        joints.to_vec().write(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Joints, D::Error> {
        let values = Vec::<f64>::read(deserializer)?;
        if values.len() > MAX_DOF {
            return Err(D::Error::invalid_length(
                values.len(),
                &format!("at most {MAX_DOF} joints").as_str(),
            ));
        }
        Ok(Joints::from_slice(&values))
    }
}

/// The senses without the unused places at the end.
mod used_senses {
    use super::{MAX_SENSES, Seen};
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        seen: &[Seen; MAX_SENSES],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let used = seen.iter().rposition(|seen| *seen != Seen::default()).map_or(0, |last| last + 1);
        seen[..used].serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[Seen; MAX_SENSES], D::Error> {
        let list = Vec::<Seen>::deserialize(deserializer)?;
        let mut seen = [Seen::default(); MAX_SENSES];
        if list.len() > seen.len() {
            return Err(D::Error::invalid_length(
                list.len(),
                &format!("at most {MAX_SENSES} senses").as_str(),
            ));
        }
        for (place, value) in seen.iter_mut().zip(list) {
            *place = value;
        }
        Ok(seen)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::failsafe::{CauseSet, Standing};
    use crate::modes::{HoldReason, Mode, SenseFault, SenseId};
    use crate::reflex::JointCommand;
    use reflexarc_kinematics::Joints;
    use reflexarc_kinematics::limit::Acted;

    fn tick() -> Tick {
        let mut inputs = Inputs { tick: 7, ..Inputs::default() };
        inputs.seen[2] = Seen { arrival: 5, stamp_ns: u64::MAX };
        inputs.events.estop = 3;
        inputs.calls.add(Call::Stop(StopCause::EmergencyStop));
        inputs.calls.add(Call::Reset { now_ns: 8 });
        let fault = SenseFault::Stale { which: SenseId::Camera(1), age_ns: 1, limit_ns: 2 };
        Tick {
            inputs,
            thought: 9,
            command: Command {
                stamp_ns: 1_763_650_000_123_456_789,
                mode: Mode::Holding(HoldReason::Sense(fault)),
                joints: Some(JointCommand {
                    q: Joints::from_slice(&[0.1 + 0.2, -0.0, f64::NAN]),
                    qd: Joints::from_slice(&[f64::MIN_POSITIVE, f64::NEG_INFINITY, 5e-324]),
                    gripper_width_m: 0.08,
                    gripper_force_n: 1.0 / 3.0,
                }),
                acted: Acted { jerk: true, ..Acted::default() },
                observation_ns: Some(1),
                first: true,
                failsafe: Standing::default(),
                transition: None,
                causes: CauseSet::default(),
            },
        }
    }

    #[test]
    fn a_tick_reads_back_bit_for_bit() {
        let text = serde_json::to_string(&tick()).unwrap();
        let read: Tick = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!(read.inputs, tick().inputs);
        let (q, wanted) = (read.command.joints.unwrap().q, tick().command.joints.unwrap().q);
        assert!(q.iter().zip(wanted.iter()).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn calls_keep_their_order_and_say_what_did_not_fit() {
        let mut calls = Calls::default();
        for now_ns in 0..10 {
            calls.add(Call::Enable { now_ns });
            calls.add(Call::Enable { now_ns });
        }
        assert_eq!(calls.iter().count(), MAX_CALLS);
        // Each of the rest was offered twice.
        assert_eq!(calls.lost(), 2 * (10 - MAX_CALLS as u32));
        let read: Calls = serde_json::from_str(&serde_json::to_string(&calls).unwrap()).unwrap();
        assert_eq!(read, calls);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let (mut journal, mut ends) = journal();
        for _ in 0..WAITING_TICKS + 3 {
            ends.ticks.leave(tick());
        }
        assert_eq!((journal.ticks.lost(), journal.thoughts.lost()), (3, 0));
        let kept = std::iter::from_fn(|| journal.ticks.take()).count();
        assert_eq!(kept, WAITING_TICKS);
    }
}
