//! Giving a replayed loop the payloads that the recorded one had received, no earlier and no later.

use std::collections::{BTreeMap, VecDeque};

use reflexarc_drivers::attachment::ATTACHMENT_BYTES;
use reflexarc_drivers::{Attachment, Clock, Link, LinkError, Message, Topic, Topics};

use crate::config::Config;
use crate::journal::{Events, Inputs};
use crate::recorder::channels::{Arrival, from_hex};
use crate::recorder::file::FileMessage;
use crate::senses::Senses;

/// A payload that the recorded loop received.
struct Payload {
    arrival: u64,
    log_ns: u64,
    attachment: Option<[u8; ATTACHMENT_BYTES]>,
    bytes: Vec<u8>,
}

type Inject = Box<dyn Fn(&Link, &[u8], Option<&[u8]>) -> Result<(), LinkError>>;

/// One topic that the loop listens to.
struct Inlet {
    inject: Inject,
    /// Whether each message counts, as of events; otherwise only the newest does.
    every: bool,
    /// Said about the next payload.
    said: Option<Arrival>,
    last_arrival: u64,
    gid: [u8; 16],
    waiting: VecDeque<Payload>,
    given: u64,
}

fn inlet<M: Message>(topic: &Topic<M>, every: bool) -> (String, Inlet) {
    let own = topic.clone();
    let inject: Inject = Box::new(move |link, bytes, attachment| link.inject(&own, bytes, attachment));
    let inlet = Inlet {
        inject,
        every,
        said: None,
        last_arrival: 0,
        gid: [0; 16],
        waiting: VecDeque::new(),
        given: 0,
    };
    (slashed(topic), inlet)
}

/// A topic's name as in a file.
fn slashed<M: Message>(topic: &Topic<M>) -> String {
    format!("/{}", topic.name())
}

/// A payload that the loop had looked at is not in the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its topic.
    pub topic: String,
    /// Its number of arrival.
    pub arrival: u64,
}

/// All topics that a loop listens to.
pub(super) struct Inlets {
    inlets: BTreeMap<String, Inlet>,
    /// Names of the senses' topics, in their order.
    senses: Vec<String>,
    estop: String,
    enable: String,
    reset: String,
    operator_override: String,
    calibrated: String,
    instruction: String,
    /// How many events had been lost to full queues.
    lost: (u64, u64),
}

impl Inlets {
    pub(super) fn new(config: &Config, topics: &Topics) -> Self {
        let mut inlets = BTreeMap::from([
            inlet(&topics.joint_states, false),
            inlet(&topics.estop, true),
            inlet(&topics.enable, true),
            inlet(&topics.reset, true),
            inlet(&topics.operator_override, true),
            inlet(&topics.instruction, true),
            inlet(&topics.calibrated, false),
        ]);
        inlets.extend(config.senses.cameras.iter().map(|name| inlet(&topics.camera(name), false)));
        inlets.extend(config.senses.tactile.iter().map(|name| inlet(&topics.tactile(name), false)));
        let named = |name: &str| match topics.namespace() {
            "" => format!("/{name}"),
            namespace => format!("/{namespace}/{name}"),
        };
        Self {
            inlets,
            senses: Senses::names(&config.senses).iter().map(|name| named(name)).collect(),
            estop: slashed(&topics.estop),
            enable: slashed(&topics.enable),
            reset: slashed(&topics.reset),
            operator_override: slashed(&topics.operator_override),
            calibrated: slashed(&topics.calibrated),
            instruction: slashed(&topics.instruction),
            lost: (0, 0),
        }
    }

    /// Takes what the recording says about the next payload of a topic.
    pub(super) fn say(&mut self, arrival: Arrival) {
        if let Some(inlet) = self.inlets.get_mut(&arrival.topic) {
            inlet.said = Some(arrival);
        }
    }

    /// Keeps a received payload until it is due.
    pub(super) fn keep(&mut self, message: &FileMessage<'_>) {
        let Some(inlet) = self.inlets.get_mut(&message.channel.topic) else { return };
        let (arrival, attachment) = match inlet.said.take() {
            Some(said) => (said.arrival, said.attachment.as_deref().and_then(from_hex)),
            None => {
                let attachment = Attachment {
                    sequence: i64::from(message.sequence),
                    source_ns: message.publish_ns,
                    gid: inlet.gid,
                };
                (inlet.last_arrival.saturating_add(1), Some(attachment.encode()))
            }
        };
        inlet.last_arrival = arrival;
        let read = attachment.and_then(|bytes| Attachment::decode(Some(&bytes)).ok());
        inlet.gid =
            read.filter(|read| u32::try_from(read.sequence).is_ok()).map_or(inlet.gid, |read| read.gid);
        let bytes = message.data.to_vec();
        inlet.waiting.push_back(Payload { arrival, log_ns: message.log_ns, attachment, bytes });
    }

    /// Gives the loop what tick `inputs` had before it.
    pub(super) fn give_tick(&mut self, link: &Link, clock: &Clock, inputs: &Inputs) -> Result<(), GiveError> {
        let Events { estop, enable, reset, operator_override, estop_lost, enable_lost } = inputs.events;
        let others = [
            (&self.calibrated, inputs.calibrated),
            (&self.estop, estop),
            (&self.enable, enable),
            (&self.reset, reset),
            (&self.operator_override, operator_override),
        ];
        let senses = self.senses.iter().zip(inputs.seen.iter().map(|seen| seen.arrival));
        for (topic, arrival) in senses.chain(others) {
            give(&mut self.inlets, link, clock, topic, arrival)?;
        }
        // Those that did not fit then came behind those that did, and do not fit now.
        for (topic, lost, before) in
            [(&self.estop, estop_lost, self.lost.0), (&self.enable, enable_lost, self.lost.1)]
        {
            let given = self.inlets.get(topic).map_or(0, |inlet| inlet.given);
            give(&mut self.inlets, link, clock, topic, given + lost.saturating_sub(before))?;
        }
        self.lost = (estop_lost, enable_lost);
        Ok(())
    }

    /// Gives the loop the instructions that a thought had before it.
    pub(super) fn give_instructions(
        &mut self,
        link: &Link,
        clock: &Clock,
        arrival: u64,
    ) -> Result<(), GiveError> {
        give(&mut self.inlets, link, clock, &self.instruction, arrival)
    }
}

/// Gives the loop everything on `topic` up to the number `arrival`.
fn give(
    inlets: &mut BTreeMap<String, Inlet>,
    link: &Link,
    clock: &Clock,
    topic: &str,
    arrival: u64,
) -> Result<(), GiveError> {
    let missing = |arrival| GiveError::Missing(Missing { topic: topic.to_owned(), arrival });
    let Some(inlet) = inlets.get_mut(topic) else {
        return if arrival == 0 { Ok(()) } else { Err(missing(arrival)) };
    };
    while let Some(payload) = inlet.waiting.pop_front_if(|payload| payload.arrival <= arrival) {
        if inlet.every && payload.arrival != inlet.given + 1 {
            return Err(missing(inlet.given + 1));
        }
        // The loop's link notes this as the time of arrival.
        clock.set_ns(payload.log_ns);
        let attachment = payload.attachment.as_ref().map(|bytes| &bytes[..]);
        (inlet.inject)(link, &payload.bytes, attachment).map_err(GiveError::Link)?;
        inlet.given = payload.arrival;
    }
    if inlet.given < arrival { Err(missing(arrival)) } else { Ok(()) }
}

/// Why payloads could not be given.
#[derive(Debug)]
pub(super) enum GiveError {
    Missing(Missing),
    Link(LinkError),
}
