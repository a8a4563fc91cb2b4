//! The mind: one policy, asked once per period, audited, and never waited for.
//!
//! It knows nothing of the particular model. What it produces is a [`Thought`]: a decision or a
//! chunk that passed the audit, or the reason why there is none. Durations are measured for the ledger and
//! influence nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reflexarc_drivers::msg::{Goal, Header, StringMsg};
use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Link, LinkError, Publisher, QueueSubscription};
use reflexarc_kinematics::Chain;
use reflexarc_vla_model::chunk::{ActionChunk, Ahead};
use reflexarc_vla_model::decision::{Decision, Verdict};
use reflexarc_vla_model::observation::{Camera, Observation, TACTILE_LEN, Tactile, ToolPose};
use reflexarc_vla_model::policy::{Milestone, Output, Policy, PolicyError};

use crate::audit::{Audit, AuditVerdict, Facts, Refusal, base_from_tool};
use crate::chunk::spoken::Spoken;
use crate::config::{Config, SenseConfig};
use crate::guarded::Guarded;
use crate::journal::{Leaver, Said, ThoughtEntry, Told};
use crate::ledger::{ThoughtKind, ThoughtRecord};
use crate::reflex::Intent;
use crate::senses::Snapshot;
use crate::stages::Timing;

/// Longest instruction taken from the link, bytes.
pub const INSTRUCTION_MAX: usize = 512;

/// What came of asking the policy once.
#[derive(Clone, Debug)]
pub enum Thought {
    /// A decision that passed the audit.
    Decided(Decision),
    /// A chunk that passed the audit, under a number higher than that of the one before.
    Planned(u64, Arc<ActionChunk>),
    /// The audit refused the decision or the chunk.
    Refused(Refusal),
    /// The policy gave neither.
    Failed(PolicyError),
}

impl Thought {
    /// What the reflex is told.
    #[must_use]
    pub fn intent(&self) -> Intent<'_> {
        match self {
            Self::Decided(decision) => Intent::Follow(decision),
            Self::Planned(number, chunk) => Intent::Execute(*number, chunk),
            Self::Refused(refusal) => Intent::Refused(refusal.rule),
            Self::Failed(_) => Intent::Failed,
        }
    }

    /// Why the audit refused it, if it did.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        if let Self::Refused(refusal) = self { Some(*refusal) } else { None }
    }

    /// The number of its chunk, if it is one.
    #[must_use]
    pub fn chunk(&self) -> Option<u64> {
        if let Self::Planned(number, _) = self { Some(*number) } else { None }
    }

    fn kind(&self) -> ThoughtKind {
        match self {
            Self::Decided(decision) => match &decision.verdict {
                Verdict::Act { subtask, .. } => ThoughtKind::Act(*subtask),
                Verdict::Infeasible(reason) => ThoughtKind::Infeasible(*reason),
            },
            Self::Planned(..) => ThoughtKind::Chunk,
            Self::Refused(refusal) => ThoughtKind::Refused(refusal.rule),
            Self::Failed(_) => ThoughtKind::Failed,
        }
    }
}

/// A policy with its audit and its place on the link.
pub struct Mind {
    policy: Guarded,
    audit: Audit,
    senses: SenseConfig,
    instruction: String,
    instructions: QueueSubscription<StringMsg>,
    goals: Publisher<Goal>,
    spoken: Spoken,
    decisions: u64,
    instructed: u64,
    refused_instructions: u64,
    unsent: u64,
    /// Number of arrival of the last instruction that came as a message.
    heard: u64,
    /// What the program itself said last since the last thought; kept for the journal.
    told: Option<Told>,
    journal: Option<Leaver<ThoughtEntry>>,
}

impl Mind {
    /// Takes the policy, gives it the configured instruction and connects it.
    ///
    /// # Errors
    /// [`LinkError`] if the link refuses.
    pub fn new(
        link: &Link,
        topics: &Topics,
        config: &Config,
        chain: &Chain,
        audit: Audit,
        policy: Box<dyn Policy>,
    ) -> Result<Self, LinkError> {
        let instruction = config.policy.instruction.trim().to_owned();
        let mut policy = Guarded::new(policy);
        policy.instruct(&instruction);
        Ok(Self {
            policy,
            spoken: Spoken::new(link, topics, config, chain)?,
            audit,
            senses: config.senses.clone(),
            instruction,
            instructions: link.subscribe_queue(&topics.instruction, 16)?,
            goals: link.publisher(&topics.goal)?,
            decisions: 0,
            instructed: 0,
            refused_instructions: 0,
            unsent: 0,
            heard: 0,
            told: None,
            journal: None,
        })
    }

    /// The policy's name.
    #[must_use]
    pub fn policy_name(&self) -> &str {
        self.policy.name()
    }

    /// The instruction in force.
    #[must_use]
    pub fn instruction(&self) -> &str {
        &self.instruction
    }

    /// Instructions refused because they were empty or too long.
    #[must_use]
    pub fn refused_instructions(&self) -> u64 {
        self.refused_instructions
    }

    /// Leaves every thought in `journal` from now on.
    pub fn record_into(&mut self, journal: Leaver<ThoughtEntry>) {
        self.journal = Some(journal);
    }

    /// Replaces the instruction. Returns whether it was taken: 1 to [`INSTRUCTION_MAX`] bytes.
    pub fn instruct(&mut self, instruction: &str) -> bool {
        let taken = self.take_instruction(instruction);
        if taken && self.journal.is_some() {
            self.told = Some(Told { words: self.instruction.clone(), after: self.heard });
        }
        taken
    }

    /// Takes the instructions that have come as messages; [`Mind::think`] does so first.
    pub fn listen(&mut self) {
        while let Some(sample) = self.instructions.try_recv() {
            self.heard = sample.arrival;
            self.take_instruction(&sample.value.data);
        }
    }

    fn take_instruction(&mut self, instruction: &str) -> bool {
        let words = instruction.trim();
        if words.is_empty() || words.len() > INSTRUCTION_MAX {
            self.refused_instructions += 1;
            return false;
        }
        // The same words again (a latched topic repeats them) must not restart the policy.
        if words != self.instruction {
            words.clone_into(&mut self.instruction);
            self.instructed += 1;
            self.policy.instruct(words);
            self.audit.begin();
        }
        true
    }

    /// Lets the policy decide twice about grey images, so that nothing is compiled, cached or
    /// allocated for the first time while the robot moves. The decisions are thrown away.
    ///
    /// # Errors
    /// [`PolicyError`] if the policy cannot work with the configured senses at all.
    pub fn warm_up(&mut self, dof: usize) -> Result<(), PolicyError> {
        let (width, height) = (self.senses.camera_width_px as usize, self.senses.camera_height_px as usize);
        let camera =
            |name: &String| Camera { name: name.clone(), width, height, rgb: vec![128; width * height * 3] };
        let pad = |name: &String| Tactile { name: name.clone(), taxels_n: vec![0.0; TACTILE_LEN] };
        let observation = Observation {
            time_ns: 0,
            cameras: self.senses.cameras.iter().map(camera).collect(),
            tactile: self.senses.tactile.iter().map(pad).collect(),
            joints_rad: vec![0.0; dof],
            gripper_width_m: 0.08,
            base_from_tool: ToolPose { position_m: [0.45, 0.0, 0.3], rotation_xyzw: [1.0, 0.0, 0.0, 0.0] },
        };
        for _ in 0..2 {
            self.policy.decide(&observation, &Ahead::default())?;
        }
        // A policy with a memory forgets the grey images.
        self.policy.instruct(&self.instruction);
        Ok(())
    }

    /// One period: takes new instructions, asks the policy, audits, announces the goal or the chunk.
    /// `None` while the senses are not good enough, or enough actions are left: the policy is not asked
    /// then.
    ///
    /// `skipped` is how many periods were missed before this one, for the ledger.
    pub fn think(
        &mut self,
        now_ns: u64,
        snapshot: &Snapshot,
        skipped: u64,
    ) -> Option<(Thought, ThoughtRecord)> {
        self.listen();
        let playing = snapshot.playing.as_ref();
        if self.spoken.too_early(snapshot.heard, playing) {
            return None;
        }
        let taken = Instant::now();
        let observation = snapshot.observation(&self.senses)?;
        let body = snapshot.body.as_ref()?;
        let facts = Facts::new(body, &snapshot.touch.map(|touch| touch.normal_n));
        let asked = self.audit.asked(observation.time_ns, facts);
        let ahead = self.spoken.ahead(playing);
        // Copying the observation is a part of preparing it.
        let (begun, mut prepared_ns) = (Instant::now(), 0);
        let copied_ns = nanoseconds(begun.duration_since(taken));
        let mut reached = |milestone| match milestone {
            Milestone::Input => prepared_ns = nanoseconds(begun.elapsed()),
            Milestone::Output => asked.call_up(),
        };
        let decided = self.policy.decide_staged(&observation, &ahead, &mut reached);
        let answered = Instant::now();
        let judged = decided.as_ref().ok().map(|output| self.audit.answer(output, &asked));
        let (audited, audit_ns) = (judged.map(|(event, _)| event), judged.map_or(0, |(_, took_ns)| took_ns));
        let model_ns = nanoseconds(answered.duration_since(begun));
        let said = self.journal.is_some().then(|| Said::from(&decided));
        let (mut tokens, mut skipped) = (0, skipped);
        match &decided {
            Ok(Output::Goals(decision)) => tokens = u32::try_from(decision.tokens.len()).unwrap_or(u32::MAX),
            // A policy that speaks in chunks has its own pace: what passes while it computes is not missed.
            Ok(Output::Chunk(_)) => skipped = 0,
            Err(_) => {}
        }
        let refused = audited.and_then(|event| match event.verdict {
            AuditVerdict::Pass => None,
            AuditVerdict::Refused(refusal) => Some(refusal),
        });
        let thought = match (decided, refused) {
            (_, Some(refusal)) => Thought::Refused(refusal),
            (Err(error), None) => Thought::Failed(error),
            (Ok(Output::Goals(decision)), None) => Thought::Decided(decision),
            (Ok(Output::Chunk(chunk)), None) => {
                let (number, chunk) = self.spoken.say(chunk);
                Thought::Planned(number, chunk)
            }
        };
        self.decisions += 1;
        if let (Some(journal), Some(said)) = (&mut self.journal, said) {
            journal.leave(ThoughtEntry {
                number: self.decisions,
                tick: snapshot.tick,
                now_ns,
                instruction: self.instruction.clone(),
                instructions: self.heard,
                told: self.told.take(),
                tokens: said.tokens(),
                said,
                refused: thought.refusal(),
                chunk: thought.chunk(),
                model_ns,
                audit_ns,
            });
        }
        if let Thought::Decided(decision) = &thought {
            self.announce(now_ns, decision);
        }
        let record = ThoughtRecord {
            number: self.decisions,
            now_ns,
            kind: thought.kind(),
            model_ns,
            audit_ns,
            tokens,
            skipped,
            policy_panics: self.policy.panics(),
            instruction: self.instructed,
            audit: audited,
            timing: Timing {
                observation_ns: observation.time_ns,
                received_ns: snapshot.received_ns.unwrap_or(observation.time_ns),
                taken_ns: now_ns,
                preprocess_ns: copied_ns + prepared_ns,
                model_ns: model_ns.saturating_sub(prepared_ns),
                audit_ns,
            },
        };
        Some((thought, record))
    }

    fn announce(&mut self, now_ns: u64, decision: &Decision) {
        let mut goal = Goal {
            header: Header::new(now_ns, "base"),
            instruction: self.instruction.clone(),
            tokens: decision.tokens.iter().map(ToString::to_string).collect(),
            confidence: decision.confidence,
            decision: self.decisions,
            observation_stamp_ns: i64::try_from(decision.observation_ns).unwrap_or(i64::MAX),
            target_orientation_xyzw: [0.0, 0.0, 0.0, 1.0],
            ..Goal::default()
        };
        match &decision.verdict {
            Verdict::Infeasible(reason) => goal.infeasible_reason = reason.to_string(),
            Verdict::Act { plan, subtask, target, pixel_uv } => {
                goal.plan = plan.iter().map(ToString::to_string).collect();
                goal.subtask = subtask.to_string();
                goal.target_position_m = target.position_m;
                let turn = base_from_tool(target.position_m, target.yaw_rad).rotation.coords;
                goal.target_orientation_xyzw = [turn.x, turn.y, turn.z, turn.w];
                goal.gripper_width_m = target.gripper_width_m;
                goal.gripper_force_n = target.gripper_force_n;
                [goal.pixel_u, goal.pixel_v] = *pixel_uv;
            }
        }
        // Nobody may be listening, and a full network must not stop the mind.
        if self.goals.put(&goal).is_err() {
            self.unsent += 1;
        }
    }

    /// By how much longer than usual the last decision would have taken, see
    /// [`Policy::imitated_delay_ns`].
    pub fn imitated_delay_ns(&mut self) -> u64 {
        self.policy.imitated_delay_ns()
    }

    /// Goals and chunks that the link did not take.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent + self.spoken.unsent()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
