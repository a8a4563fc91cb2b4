//! The simulated robot as a peer of its own: the thread `sim`, with its own zenoh session.
//!
//! To the runtime it is what hardware would be; the two share nothing but messages. This side
//! knows the true world, so it also judges the task and keeps pictures for the filmstrip.
//!
//! The world's clock is real: ticks at absolute deadlines, and a world that was held up catches up
//! a few ticks at once, as objects do not stop falling while a program waits. What it could not
//! catch up is counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use reflexarc_drivers::arm::simulator::WireFaults;
use reflexarc_drivers::link::SubscriptionStats;
use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Clock, Link, ZenohConfig};
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF, Chain};
use reflexarc_runtime::clockwork::{Schedule, monotonic_ns, sleep_until, tighten_timer_slack};
use reflexarc_sim::node::{Actuation, ActuatorStats, TICK_HZ};
use reflexarc_sim::task::{Outcome, PickTask};
use reflexarc_sim::{Scene, SimNode, World};

/// Opening of the gripper at the start, m.
const START_WIDTH_M: f64 = 0.08;
/// Solver iterations of the physics: precise.
const SOLVER_ITERATIONS: usize = 4;
/// Ticks that are made up for at once; what is beyond is lost time of the world.
const CATCH_UP_TICKS: u64 = 4;
/// The outside sees a new [`View`] each this many ticks.
const VIEW_TICKS: u64 = 4;
/// `begun_ns` before the task has begun.
const NOT_BEGUN: u64 = u64::MAX;
/// An arm whose joints are all slower than this rests, rad/s.
const REST_RAD_S: f64 = 0.02;

/// What shall go wrong, for demonstrations and tests; times in s after the task began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mishaps {
    /// The cameras deliver nothing any more.
    pub freeze_cameras_after_s: Option<f64>,
    /// The cameras deliver black frames.
    pub black_cameras_after_s: Option<f64>,
    /// The peer vanishes: its session closes, nothing comes any more.
    pub vanish_after_s: Option<f64>,
}

/// How the arm has moved, as its own encoders and motors saw it. Instants are of the monotonic clock, ns.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ArmRecord {
    /// Since when the arm rests; absent while it moves.
    pub rest_since_ns: Option<u64>,
    /// When a command was obeyed last.
    pub last_obeyed_ns: Option<u64>,
    /// Largest measured speed of any joint, as a share of that joint's limit.
    pub speed_share: f64,
    /// Largest distance of an obeyed command from where the joint was, rad.
    pub lead_rad: f64,
    /// Tasks done: the target lifted and held.
    pub lifted: u64,
}

/// How the world looks from outside.
#[derive(Debug, Clone)]
pub struct View {
    /// The newest camera pictures, scene and wrist, 96 × 96 rgb8, as they were sent.
    pub pictures: [Vec<u8>; 2],
    /// Height of the target's foot above the table, m.
    pub height_m: f64,
    /// The same, the most so far, m.
    pub highest_m: f64,
    /// The judge's word; times in s since the task began.
    pub outcome: Outcome,
    /// Ticks of 1/240 s that the world has made.
    pub ticks: u64,
    /// Ticks that were lost because the machine was too slow.
    pub lost_ticks: u64,
    /// What the actuators obeyed and refused.
    pub actuator: ActuatorStats,
    /// What became of the commands on their way.
    pub commands: SubscriptionStats,
    /// How the arm has moved.
    pub arm: ArmRecord,
    /// The peer is gone.
    pub ended: bool,
    /// Why, where it was not asked to go.
    pub trouble: Option<String>,
}

/// A running simulator node.
pub struct Stage {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    locators: Vec<String>,
}

struct Shared {
    end: AtomicBool,
    begun_ns: AtomicU64,
    power_off: AtomicBool,
    next: Mutex<Option<World>>,
    view: Mutex<View>,
}

impl Shared {
    fn with_view<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        // A view is whole between any two statements, also after a panic of the other thread.
        change(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Stage {
    /// Lays out `scene` with the arm at rest, opens a zenoh session listening on `listen` and
    /// starts publishing. The actuators hold until the first command; with `servos` they are the arm's own driver
    /// and servos simulated down to the bytes.
    ///
    /// # Errors
    /// When the session cannot be opened or the thread cannot be started.
    pub fn start(
        scene: Scene,
        listen: &str,
        clock: &Clock,
        mishaps: Mishaps,
        servos: Option<WireFaults>,
    ) -> Result<Self> {
        let world = world_of(scene)?;
        let watch = ArmWatch::new()?;
        let config =
            ZenohConfig { listen: vec![listen.to_owned()], node: "sim".to_owned(), ..ZenohConfig::default() };
        let link = Link::zenoh(config, clock.clone()).context("the simulator's peer")?;
        let locators = link.locators().to_vec();
        let topics = Topics::new("");
        let node = match servos {
            Some(faults) => SimNode::with_servos(world, &link, &topics, faults, clock.now_ns())?,
            None => SimNode::new(world, &link, &topics)?,
        };
        let shared = Arc::new(Shared {
            end: AtomicBool::new(false),
            begun_ns: AtomicU64::new(NOT_BEGUN),
            power_off: AtomicBool::new(false),
            next: Mutex::new(None),
            view: Mutex::new(View {
                pictures: [Vec::new(), Vec::new()],
                height_m: 0.0,
                highest_m: 0.0,
                outcome: Outcome::Running,
                ticks: 0,
                lost_ticks: 0,
                actuator: ActuatorStats::default(),
                commands: SubscriptionStats::default(),
                arm: ArmRecord::default(),
                ended: false,
                trouble: None,
            }),
        });
        let thread = std::thread::Builder::new().name("sim".to_owned()).spawn({
            let (shared, clock) = (Arc::clone(&shared), clock.clone());
            move || {
                let _ended = SetEnded(&shared);
                let trouble = play(node, watch, &clock, mishaps, &shared).err();
                // Closes the session: nobody else holds it.
                drop(link);
                if let Some(error) = trouble {
                    shared.with_view(|view| view.trouble = Some(format!("{error:#}")));
                }
            }
        })?;
        Ok(Self { shared, thread: Some(thread), locators })
    }

    /// Where the peer can be reached.
    #[must_use]
    pub fn locators(&self) -> &[String] {
        &self.locators
    }

    /// The task begins at `now_ns` of the stage's clock: judging and mishaps count from here.
    /// Only the first call counts.
    pub fn begin(&self, now_ns: u64) {
        let _later =
            self.shared.begun_ns.compare_exchange(NOT_BEGUN, now_ns, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Takes the motors' power, or gives it back; without it the brakes hold the arm.
    pub fn set_power(&self, on: bool) {
        self.shared.power_off.store(!on, Ordering::Release);
    }

    /// Lays another table, and puts the arm back to where it starts, within a tick. Take the power first:
    /// motors that obey would fight it. The new task begins at once.
    ///
    /// # Errors
    /// When the world cannot be built.
    pub fn lay(&self, scene: Scene) -> Result<()> {
        let world = world_of(scene)?;
        *self.shared.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(world);
        Ok(())
    }

    /// How the world looks now.
    #[must_use]
    pub fn view(&self) -> View {
        self.shared.with_view(|view| view.clone())
    }

    /// Ends the peer and gives its last view.
    pub fn end(mut self) -> View {
        self.join();
        self.view()
    }

    fn join(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.shared.with_view(|view| view.trouble = Some("the thread `sim` panicked".to_owned()));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.join();
    }
}

/// Says that the peer is gone, also when its thread panics.
struct SetEnded<'a>(&'a Shared);

impl Drop for SetEnded<'_> {
    fn drop(&mut self) {
        self.0.with_view(|view| view.ended = true);
    }
}

fn world_of(scene: Scene) -> Result<World> {
    Ok(World::new(scene, ARM7_URDF, &ARM7_HOME_RAD, START_WIDTH_M, SOLVER_ITERATIONS)?)
}

/// Keeps the arm's record, tick by tick.
struct ArmWatch {
    speed_limits_rad_s: Vec<f64>,
    record: ArmRecord,
}

impl ArmWatch {
    fn new() -> Result<Self> {
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool")?;
        let speed_limits_rad_s = chain.limits().iter().map(|limits| limits.velocity_rad_s).collect();
        Ok(Self { speed_limits_rad_s, record: ArmRecord::default() })
    }

    /// One tick: where the joints stood before it, what the motors did, and how it is now.
    fn look(&mut self, now_ns: u64, before: &[f64; 7], did: &Actuation, world: &World) {
        let record = &mut self.record;
        let (_, qd) = world.joints();
        for (speed, limit) in qd.iter().zip(&self.speed_limits_rad_s) {
            record.speed_share = record.speed_share.max(speed.abs() / limit);
        }
        let rests = qd.iter().all(|speed| speed.abs() < REST_RAD_S);
        record.rest_since_ns = rests.then(|| record.rest_since_ns.unwrap_or(now_ns));
        if let Actuation::Obeyed { q, .. } = did {
            record.last_obeyed_ns = Some(now_ns);
            let lead_rad = q.iter().zip(before).map(|(to, from)| (to - from).abs()).fold(0.0, f64::max);
            record.lead_rad = record.lead_rad.max(lead_rad);
        }
    }
}

/// Lets the world run until it is told to end or a mishap ends it.
fn play(
    mut node: SimNode,
    mut watch: ArmWatch,
    clock: &Clock,
    mishaps: Mishaps,
    shared: &Shared,
) -> Result<()> {
    tighten_timer_slack();
    let mut schedule = Schedule::new(monotonic_ns(), TICK_HZ);
    let mut judge = PickTask::new(node.world().scene().target);
    let mut judged = Outcome::Running;
    let (mut ticks, mut lost_ticks) = (0_u64, 0_u64);
    while !shared.end.load(Ordering::Acquire) {
        sleep_until(schedule.deadline_ns());
        let skipped = schedule.wake(monotonic_ns()).skipped;
        lost_ticks += skipped.saturating_sub(CATCH_UP_TICKS);
        if let Some(world) = shared.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            judge = PickTask::new(world.scene().target);
            shared.begun_ns.store(clock.now_ns(), Ordering::Release);
            node.lay(world);
        }
        let begun_ns = shared.begun_ns.load(Ordering::Acquire);
        for _ in 0..=skipped.min(CATCH_UP_TICKS) {
            let now_ns = clock.now_ns();
            let time_s = (begun_ns != NOT_BEGUN).then(|| now_ns.saturating_sub(begun_ns) as f64 / 1e9);
            let past = |after_s: Option<f64>| matches!((time_s, after_s), (Some(t), Some(s)) if t >= s);
            if past(mishaps.vanish_after_s) {
                return Ok(());
            }
            node.faults.cameras_frozen = past(mishaps.freeze_cameras_after_s);
            node.faults.cameras_black = past(mishaps.black_cameras_after_s);
            node.faults.power_off = shared.power_off.load(Ordering::Acquire);
            node.publish(now_ns)?;
            let (before, _) = node.world().joints();
            // Drawing the pictures took a while, and this process may have been stopped in it: how old the
            // newest command is counts from now.
            let did = node.advance(clock.now_ns());
            watch.look(monotonic_ns(), &before, &did, node.world());
            ticks += 1;
            let outcome = time_s.map_or(Outcome::Running, |time_s| judge.observe(node.world(), time_s));
            let done = |outcome: Outcome| matches!(outcome, Outcome::Success { .. });
            watch.record.lifted += u64::from(done(outcome) && !done(judged));
            judged = outcome;
            if ticks % VIEW_TICKS == 1 {
                let target = node.world().object(node.world().scene().target);
                shared.with_view(|view| {
                    for (kept, frame) in view.pictures.iter_mut().zip(node.frames()) {
                        kept.clone_from(&frame.rgb);
                    }
                    view.height_m = target.position_m[2];
                    view.highest_m = judge.highest_m();
                    view.outcome = outcome;
                    view.ticks = ticks;
                    view.lost_ticks = lost_ticks;
                    view.actuator = node.actuator_stats();
                    view.commands = node.command_stats();
                    view.arm = watch.record;
                });
            }
        }
    }
    Ok(())
}
