//! The spine: senses, safety and reflex of one robot as one fixed-rate step, and the messages that
//! carry its commands. It belongs to one thread; time comes in as an argument.

use reflexarc_drivers::msg::{BoolMsg, Duration, Header, JointTrajectory, JointTrajectoryPoint};
use reflexarc_drivers::topic::{Topic, Topics};
use reflexarc_drivers::{Link, LinkError, Publisher, QueueSubscription};
use reflexarc_kinematics::Chain;

use crate::chunk::PlayStats;
use crate::config::Config;
use crate::failsafe::{Action, Failsafe, Promise, ResetRefused};
use crate::journal::{Call, Calls, Inputs, Leaver, Tick};
use crate::mind::Thought;
use crate::modes::{Mode, StopCause};
use crate::reflex::{Command, Intent, Reflex};
use crate::safety::Safety;
use crate::senses::{MAX_SENSES, Senses, Snapshot, TopicStats};
use crate::touch::TouchCounts;

/// Events waiting at most; the tick empties the queues, so that they never fill in practice.
const EVENTS: usize = 64;

/// Senses, safety and reflex of one robot.
pub struct Spine {
    senses: Senses,
    safety: Safety,
    reflex: Reflex,
    estop: QueueSubscription<BoolMsg>,
    enable: QueueSubscription<BoolMsg>,
    reset: QueueSubscription<BoolMsg>,
    operator_override: QueueSubscription<BoolMsg>,
    events_lost: u64,
    resets_refused: u64,
    inputs: Inputs,
    /// What was called since the last tick.
    calls: Calls,
    journal: Option<Leaver<Tick>>,
}

/// The topic `reset`: true unlatches a stop whose cause is gone.
#[must_use]
pub fn reset_topic(topics: &Topics) -> Topic<BoolMsg> {
    topics.reset.clone()
}

impl Spine {
    /// Subscribes to all senses and to the safety topics.
    ///
    /// # Errors
    /// [`LinkError`] if the link refuses.
    pub fn new(link: &Link, topics: &Topics, config: &Config, chain: Chain) -> Result<Self, LinkError> {
        Ok(Self {
            senses: Senses::new(link, topics, config, chain.clone())?,
            safety: Safety::new(config),
            reflex: Reflex::new(chain, config),
            estop: link.subscribe_queue(&topics.estop, EVENTS)?,
            enable: link.subscribe_queue(&topics.enable, EVENTS)?,
            reset: link.subscribe_queue(&topics.reset, EVENTS)?,
            operator_override: link.subscribe_queue(&topics.operator_override, EVENTS)?,
            events_lost: 0,
            resets_refused: 0,
            inputs: Inputs::default(),
            calls: Calls::default(),
            journal: None,
        })
    }

    /// First half of a tick: reads the senses.
    pub fn sense(&mut self, now_ns: u64) -> Snapshot {
        let mut snapshot = self.senses.read(now_ns);
        self.inputs.tick += 1;
        snapshot.tick = self.inputs.tick;
        snapshot.playing = self.reflex.playing(snapshot.observation_ns);
        snapshot.heard = self.reflex.heard();
        snapshot
    }

    /// Leaves every tick in `journal` from now on.
    pub fn record_into(&mut self, journal: Leaver<Tick>) {
        self.journal = Some(journal);
    }

    /// Second half of a tick: takes events, then acts on the snapshot and on the newest thought, which comes
    /// with its number. Never blocks; does not allocate.
    pub fn act(&mut self, now_ns: u64, snapshot: &Snapshot, thought: Option<(u64, &Thought)>) -> Command {
        while let Some(sample) = self.estop.try_recv() {
            self.safety.on_estop(sample.value.data, now_ns);
            self.inputs.events.estop = sample.arrival;
        }
        // What was lost to a full queue may have been a stop, or the end of an enable.
        let (estop_lost, enable_lost) =
            (self.estop.stats().overwritten_unread, self.enable.stats().overwritten_unread);
        (self.inputs.events.estop_lost, self.inputs.events.enable_lost) = (estop_lost, enable_lost);
        if estop_lost + enable_lost > self.events_lost {
            self.events_lost = estop_lost + enable_lost;
            self.safety.strike();
        }
        while let Some(sample) = self.operator_override.try_recv() {
            self.safety.on_override(sample.value.data, now_ns);
            self.inputs.events.operator_override = sample.arrival;
        }
        let mut enabled = false;
        while let Some(sample) = self.enable.try_recv() {
            self.safety.on_enable(sample.value.data, now_ns);
            self.inputs.events.enable = sample.arrival;
            enabled |= sample.value.data;
        }
        let gate = self.safety.gate(now_ns);
        // Before the reset: an enable that came together with it is not a fresh one.
        if enabled {
            self.reflex.enable();
        }
        let mut released = false;
        while let Some(sample) = self.reset.try_recv() {
            released |= sample.value.data;
            self.inputs.events.reset = sample.arrival;
        }
        if released && self.reflex.reset(now_ns, gate).is_err() {
            self.resets_refused += 1;
        }
        self.reflex.set_override(self.safety.overridden(now_ns));
        self.inputs.seen = self.senses.seen();
        self.inputs.calibrated = self.senses.calibrated_seen();
        self.inputs.calls = std::mem::take(&mut self.calls);
        let (number, intent) =
            thought.map_or((0, Intent::Nothing), |(number, thought)| (number, thought.intent()));
        let command = self.reflex.tick(now_ns, snapshot, gate, intent);
        if let Some(journal) = &mut self.journal {
            journal.leave(Tick { inputs: self.inputs, thought: number, command });
        }
        command
    }

    /// Orders a stop, which the next tick latches: the end of the program, or as the `estop` topic would for any other
    /// cause.
    pub fn stop(&mut self, cause: StopCause) {
        self.calls.add(Call::Stop(cause));
        match cause {
            StopCause::Shutdown => self.safety.end(),
            StopCause::EmergencyStop | StopCause::EmergencyStopSilent | StopCause::Failsafe(_) => {
                self.safety.strike();
            }
        }
    }

    /// Unlatches a stop, as the `reset` topic would.
    ///
    /// # Errors
    /// [`ResetRefused`] if nothing is latched or the cause lasts.
    pub fn reset(&mut self, now_ns: u64) -> Result<(), ResetRefused> {
        self.calls.add(Call::Reset { now_ns });
        self.reflex.reset(now_ns, self.safety.look(now_ns))
    }

    /// Gives one enable, as the `enable` topic would.
    pub fn enable(&mut self, now_ns: u64) {
        self.calls.add(Call::Enable { now_ns });
        self.safety.on_enable(true, now_ns);
        self.reflex.enable();
    }

    /// The model has run, and the interlock need not wait for it.
    pub fn warm(&mut self) {
        self.calls.add(Call::Warm);
        self.reflex.warm();
    }

    /// The failsafe: state, table, last transitions.
    #[must_use]
    pub fn failsafe(&self) -> &Failsafe {
        self.reflex.failsafe()
    }

    /// How long a stop may take.
    #[must_use]
    pub fn promise(&self) -> Promise {
        self.reflex.promise()
    }

    /// What was felt so far.
    #[must_use]
    pub fn touch_counts(&self) -> TouchCounts {
        self.reflex.touch_counts()
    }

    /// What the last tick took from outside: with the payloads themselves, all that it depends on.
    #[must_use]
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The mode of the last tick.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.reflex.mode()
    }

    /// Whether the commands stand still.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        self.reflex.at_rest()
    }

    /// What became of the policy's chunks.
    #[must_use]
    pub fn play_stats(&self) -> PlayStats {
        self.reflex.play_stats()
    }

    /// Counters of every sense.
    #[must_use]
    pub fn topic_stats(&self) -> [TopicStats; MAX_SENSES] {
        self.senses.stats()
    }

    /// Stops latched so far, and resets refused.
    #[must_use]
    pub fn stops(&self) -> (u64, u64) {
        (self.reflex.failsafe().stops(), self.resets_refused)
    }
}

/// Turns commands into `joint_command` messages, and the failsafe's last resort into `torque_off`.
pub struct CommandWriter {
    publisher: Publisher<JointTrajectory>,
    torque_off: Publisher<BoolMsg>,
    lets_go: bool,
    message: JointTrajectory,
    unsent: u64,
}

impl CommandWriter {
    /// Announces the publisher.
    ///
    /// # Errors
    /// [`LinkError`] if the link refuses.
    pub fn new(link: &Link, topics: &Topics, config: &Config, chain: &Chain) -> Result<Self, LinkError> {
        let mut joint_names = chain.joint_names().to_vec();
        joint_names.push(config.robot.gripper_joint.clone());
        let count = joint_names.len();
        let point = JointTrajectoryPoint {
            positions: vec![0.0; count],
            velocities: vec![0.0; count],
            accelerations: Vec::new(),
            effort: vec![0.0; count],
            time_from_start: Duration::default(),
        };
        Ok(Self {
            publisher: link.publisher(&topics.joint_command)?,
            torque_off: link.publisher(&topics.torque_off)?,
            lets_go: false,
            message: JointTrajectory { header: Header::default(), joint_names, points: vec![point] },
            unsent: 0,
        })
    }

    /// Sends a command, if it has joints to move. Never blocks long.
    pub fn write(&mut self, command: &Command) {
        self.write_torque_off(command);
        let (Some(joints), Some(point)) = (&command.joints, self.message.points.first_mut()) else {
            return;
        };
        let with_gripper = |out: &mut [f64], values: &[f64], gripper: f64| {
            for (to, from) in out.iter_mut().zip(values.iter().chain(std::iter::once(&gripper))) {
                *to = *from;
            }
        };
        with_gripper(&mut point.positions, &joints.q, joints.gripper_width_m);
        with_gripper(&mut point.velocities, &joints.qd, 0.0);
        if let Some(effort) = point.effort.last_mut() {
            *effort = joints.gripper_force_n;
        }
        self.message.header.stamp = reflexarc_drivers::msg::Time::from_ns(command.stamp_ns);
        if self.publisher.put(&self.message).is_err() {
            self.unsent += 1;
        }
    }

    /// Says so when the drives shall let go, and when they need not any more. Only of an arm at rest.
    fn write_torque_off(&mut self, command: &Command) {
        let rests = command.joints.is_none_or(|joints| joints.qd.iter().all(|qd| *qd == 0.0));
        let lets_go = command.failsafe.action == Action::TorqueOffRequest && rests;
        if lets_go != self.lets_go {
            match self.torque_off.put(&BoolMsg::new(lets_go)) {
                Ok(()) => self.lets_go = lets_go,
                // Said again with the next command.
                Err(_) => self.unsent += 1,
            }
        }
    }

    /// Commands that the link did not take.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent
    }
}
