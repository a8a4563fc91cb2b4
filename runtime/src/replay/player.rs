//! The loop on the recording's clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError};

use reflexarc_drivers::{Bus, Clock, Link, Tap, Topics};
use reflexarc_vla_model::policy::Policy;

use super::compare::first_difference;
use super::inlets::{GiveError, Inlets};
use super::recorded_policy::{Prompt, RecordedPolicy};
use super::source::{Entries, Entry, Recorded};
use super::wire::Wire;
use super::{Difference, Gap, Place, ReplayError, ReplayReport};
use crate::audit::Audit;
use crate::journal::{Call, Journal, JournalEnds, Said, ThoughtEntry, Tick, journal};
use crate::mind::{Mind, Thought};
use crate::runtime::{RuntimeError, load_chain, load_description};
use crate::senses::Snapshot;
use crate::spine::{CommandWriter, Spine};

/// Sent messages that may wait to be compared.
const WAITING_SENT: usize = 64;

/// Where decisions come from.
pub enum Decisions {
    /// The model decides again.
    Model(Box<dyn Policy>),
    /// The model's words are taken from the recording; audit, reflex and safety run again.
    Recorded,
}

/// Runs a recording again, to its end or until the stamp `until_ns`.
///
/// # Errors
/// [`ReplayError`] if the loop cannot be built or the file not be read. A difference is none: it is in the
/// report.
pub fn replay(
    recorded: &Recorded,
    decisions: Decisions,
    until_ns: Option<u64>,
) -> Result<ReplayReport, ReplayError> {
    let mut player = Player::new(recorded, decisions)?;
    let mut entries = Entries::open(&recorded.path)?;
    while let Some(entry) = entries.next() {
        match entry {
            Entry::Arrival(arrival) => player.inlets.say(arrival),
            Entry::Payload(message) if message.channel.received() => player.inlets.keep(&message),
            Entry::Payload(message) => player.recorded_on_wire(&message.channel.topic, message.data),
            Entry::Thought(thought) => player.thoughts.push_back(*thought),
            Entry::Tick(tick) if until_ns.is_some_and(|until_ns| tick.command.stamp_ns > until_ns) => break,
            Entry::Tick(tick) => {
                if !player.tick(&tick)? {
                    break;
                }
            }
            Entry::Counters(_) => {}
        }
    }
    player.report(recorded)
}

struct Player {
    clock: Clock,
    /// The rest of the world.
    world: Link,
    sent: Tap,
    spine: Spine,
    mind: Mind,
    writer: CommandWriter,
    journal: Journal,
    prompt: Option<Prompt>,
    inlets: Inlets,
    wire: Wire,
    /// Snapshots that a thought will be about.
    snapshots: BTreeMap<u64, Snapshot>,
    asked: BTreeSet<u64>,
    /// Recorded thoughts whose snapshot has not been taken yet.
    thoughts: VecDeque<ThoughtEntry>,
    /// Thoughts that were thought again and may be in force.
    made: BTreeMap<u64, Thought>,
    start_ns: u64,
    /// Number and time of the last tick, ns.
    last: Option<(u64, u64)>,
    /// Time of the last thought, ns.
    last_thought_ns: u64,
    ticks: u64,
    compared: u64,
    ticks_differ: u64,
    thoughts_differ: u64,
    first: Option<Difference>,
    gap: Option<Gap>,
}

/// Why a tick cannot be run as it was.
enum Trouble {
    Gap(String),
    Error(ReplayError),
}

impl From<ReplayError> for Trouble {
    fn from(error: ReplayError) -> Self {
        Self::Error(error)
    }
}

impl From<GiveError> for Trouble {
    fn from(error: GiveError) -> Self {
        match error {
            GiveError::Missing(missing) => Self::Gap(format!(
                "message {} on {} was used and is not in the file",
                missing.arrival, missing.topic
            )),
            GiveError::Link(error) => Self::Error(error.into()),
        }
    }
}

impl Player {
    fn new(recorded: &Recorded, decisions: Decisions) -> Result<Self, ReplayError> {
        let config = &recorded.config;
        let (bus, clock) = (Bus::new(), Clock::manual(recorded.span_ns.0));
        let link = Link::in_process(&bus, clock.clone());
        let topics = Topics::new(&config.link.namespace);
        let chain = load_chain(config)?;
        let audit =
            Audit::new(chain.clone(), config, &load_description(config)?).map_err(RuntimeError::from)?;
        let (policy, prompt): (Box<dyn Policy>, _) = match decisions {
            Decisions::Model(policy) => (policy, None),
            Decisions::Recorded => {
                let name = recorded.info.get("policy").unwrap_or_default().to_owned();
                let prompt = Prompt::default();
                (Box::new(RecordedPolicy { name, prompt: Arc::clone(&prompt) }), Some(prompt))
            }
        };
        let (journal, JournalEnds { ticks, thoughts }) = journal();
        let mut spine = Spine::new(&link, &topics, config, chain.clone())?;
        let writer = CommandWriter::new(&link, &topics, config, &chain)?;
        let mut mind = Mind::new(&link, &topics, config, &chain, audit, policy)?;
        spine.record_into(ticks);
        mind.record_into(thoughts);
        Ok(Self {
            sent: link.tap(WAITING_SENT),
            world: Link::in_process(&bus, clock.clone()),
            clock,
            spine,
            mind,
            writer,
            journal,
            prompt,
            inlets: Inlets::new(config, &topics),
            wire: Wire::default(),
            snapshots: BTreeMap::new(),
            asked: recorded.asked.clone(),
            thoughts: VecDeque::new(),
            made: BTreeMap::new(),
            start_ns: recorded.span_ns.0,
            last: None,
            last_thought_ns: 0,
            ticks: 0,
            compared: 0,
            ticks_differ: 0,
            thoughts_differ: 0,
            first: None,
            gap: None,
        })
    }

    fn time_s(&self, at_ns: u64) -> String {
        format!("{:.4}", at_ns.saturating_sub(self.start_ns) as f64 / 1e9)
    }

    /// Runs one tick as it was and compares. Says whether the next one can be run.
    fn tick(&mut self, recorded: &Tick) -> Result<bool, ReplayError> {
        match self.try_tick(recorded) {
            Ok(()) => Ok(true),
            Err(Trouble::Error(error)) => Err(error),
            Err(Trouble::Gap(why)) => {
                let (after_tick, at_ns) = self.last.unwrap_or((0, self.start_ns));
                self.gap = Some(Gap { after_tick, time_s: self.time_s(at_ns), why });
                Ok(false)
            }
        }
    }

    fn try_tick(&mut self, recorded: &Tick) -> Result<(), Trouble> {
        let (inputs, now_ns) = (&recorded.inputs, recorded.command.stamp_ns);
        let expected = self.last.map_or(1, |(number, _)| number + 1);
        if inputs.tick != expected {
            let what = if self.last.is_none() {
                format!("the file begins with tick {}, and what the loop knew then is not in it", inputs.tick)
            } else {
                format!("expected tick {expected}, found tick {}", inputs.tick)
            };
            return Err(Trouble::Gap(what));
        }
        if inputs.calls.lost() > 0 {
            return Err(Trouble::Gap(format!(
                "{} calls were not noted in tick {expected}",
                inputs.calls.lost()
            )));
        }
        for call in inputs.calls.iter() {
            match call {
                Call::Stop(cause) => self.spine.stop(cause),
                // Refused then is refused now.
                Call::Reset { now_ns } => {
                    let _ = self.spine.reset(now_ns);
                }
                Call::Enable { now_ns } => self.spine.enable(now_ns),
                Call::Warm => self.spine.warm(),
            }
        }
        self.inlets.give_tick(&self.world, &self.clock, inputs)?;
        self.clock.set_ns(now_ns);
        let snapshot = self.spine.sense(now_ns);
        if self.asked.contains(&inputs.tick) {
            self.snapshots.insert(inputs.tick, snapshot.clone());
        }
        self.think()?;
        // What was in force before is not needed again.
        self.made = self.made.split_off(&recorded.thought);
        let thought = match (recorded.thought, self.made.get(&recorded.thought)) {
            (0, _) => None,
            (number, Some(thought)) => Some((number, thought)),
            (number, None) => return Err(Trouble::Gap(format!("thought {number} is not in the file"))),
        };
        self.clock.set_ns(now_ns);
        let command = self.spine.act(now_ns, &snapshot, thought);
        self.writer.write(&command);
        self.replayed_on_wire();
        self.ticks += 1;
        self.last = Some((inputs.tick, now_ns));
        if let Some(replayed) = self.journal.ticks.take() {
            let place = first_difference(recorded, &replayed).map_err(ReplayError::from)?;
            if let Some(place) = place {
                self.ticks_differ += 1;
                self.differs(format!("tick {}", inputs.tick), now_ns, place);
            }
        }
        Ok(())
    }

    /// Thinks every recorded thought again whose snapshot has been taken.
    fn think(&mut self) -> Result<(), Trouble> {
        while let Some(entry) = self.thoughts.pop_front_if(|entry| self.snapshots.contains_key(&entry.tick)) {
            let Some(snapshot) = self.snapshots.get(&entry.tick).cloned() else { break };
            // Thoughts come in order, each about a later snapshot than the one before.
            self.snapshots = self.snapshots.split_off(&entry.tick);
            let number = self.compared + 1;
            if entry.number != number {
                return Err(Trouble::Gap(format!(
                    "expected thought {number}, found thought {}",
                    entry.number
                )));
            }
            if let Some(told) = &entry.told {
                self.inlets.give_instructions(&self.world, &self.clock, told.after)?;
                self.mind.listen();
                self.mind.instruct(&told.words);
            }
            self.inlets.give_instructions(&self.world, &self.clock, entry.instructions)?;
            if let Some(prompt) = &self.prompt {
                *prompt.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry.said.clone());
            }
            self.clock.set_ns(entry.now_ns);
            let thought = self.mind.think(entry.now_ns, &snapshot, 0);
            self.replayed_on_wire();
            self.compared += 1;
            self.last_thought_ns = entry.now_ns;
            let replayed = self.journal.thoughts.take();
            let place = match (&thought, replayed) {
                (Some(_), Some(replayed)) => {
                    let same_clock =
                        ThoughtEntry { model_ns: entry.model_ns, audit_ns: entry.audit_ns, ..replayed };
                    first_difference(&entry, &same_clock).map_err(ReplayError::from)?
                }
                _ => Some(Place {
                    field: String::new(),
                    recorded: match &entry.said {
                        Said::Goals(_) => "a decision".into(),
                        Said::Chunk(_) => "a chunk".into(),
                        Said::Error(reason) => format!("the error {reason}"),
                    },
                    replayed: "nothing: the policy was not asked".into(),
                }),
            };
            if let Some(place) = place {
                self.thoughts_differ += 1;
                self.differs(format!("thought {}", entry.number), entry.now_ns, place);
            }
            if let Some((thought, _)) = thought {
                self.made.insert(entry.number, thought);
            }
        }
        Ok(())
    }

    fn differs(&mut self, what: String, at_ns: u64, place: Place) {
        if self.first.is_none() {
            self.first = Some(Difference { what, time_s: self.time_s(at_ns), place });
        }
    }

    /// Compares a message that the recorded loop sent.
    fn recorded_on_wire(&mut self, topic: &str, bytes: &[u8]) {
        // Reports say how long things took.
        if !topic.ends_with("/diagnostics") {
            self.wire.recorded(topic, bytes);
        }
    }

    fn replayed_on_wire(&mut self) {
        while let Some(record) = self.sent.try_recv() {
            if record.outgoing {
                self.wire.replayed(&format!("/{}", record.topic_name), &record.bytes);
            }
        }
    }

    fn report(self, recorded: &Recorded) -> Result<ReplayReport, ReplayError> {
        let until_ns = self.last.map_or(0, |(_, at_ns)| at_ns);
        let (wire_same, wire_differ, wire_first) = self.wire.result(until_ns, self.last_thought_ns);
        Ok(ReplayReport {
            ticks: self.ticks,
            thoughts: self.compared,
            ticks_differ: self.ticks_differ,
            thoughts_differ: self.thoughts_differ,
            first: self.first,
            wire_same,
            wire_differ,
            wire_first,
            gap: self.gap,
            not_compared: (
                recorded.ticks.saturating_sub(self.ticks),
                recorded.thoughts.saturating_sub(self.compared),
            ),
            end: recorded.end.clone(),
        })
    }
}
