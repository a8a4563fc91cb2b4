//! Simulated time: robot and runtime in one thread, tick by tick, for hours of the robot's life.
//!
//! To be quick, cameras and mind run at [`Lockstep::mind_hz`] instead of 60 Hz; everything else is as it is in an
//! episode of `evaluate`.

use std::time::Instant;

use anyhow::Result;
use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Bus, Clock, Link};
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF};
use reflexarc_runtime::runtime::load_chain;
use reflexarc_runtime::{Config, Mode, Runtime};
use reflexarc_sim::node::{SimNode, TICK_HZ};
use reflexarc_sim::task::{Outcome, PickTask};
use reflexarc_sim::{Scene, World};
use reflexarc_vla_model::phrasing::canonical;
use reflexarc_vla_model::policy::Policy;
use sha2::{Digest, Sha256};

use super::{Watch, balance};
use crate::panel::Panel;
use crate::peaks::PeakWatch;
use crate::translate;

/// Nanoseconds since the epoch at which simulated time begins.
const START_NS: u64 = 1_000_000_000_000_000_000;
/// Ticks from pressing the stop to another table, from there to the release, and to the enable.
const STOP_TICKS: u64 = 144;
const RELEASE_TICKS: u64 = 48;
const ENABLE_TICKS: u64 = 48;
/// The panel repeats what it says each this many ticks.
const PANEL_TICKS: u64 = 12;

/// What to run.
#[derive(Debug, Clone)]
pub struct Lockstep {
    /// How long, simulated hours.
    pub hours: f64,
    /// Not counted for memory, simulated s.
    pub warm_up_s: f64,
    /// Another table this often, simulated s.
    pub change_every_s: f64,
    /// A progress line this often, wall-clock s.
    pub tell_every_s: f64,
    /// Decisions and camera frames per second.
    pub mind_hz: u32,
    /// Seed of the first table.
    pub seed: u64,
}

fn world_of(scene: Scene) -> Result<World> {
    Ok(World::new(scene, ARM7_URDF, &ARM7_HOME_RAD, 0.08, 4)?)
}

fn words_for(scene: &Scene) -> String {
    let target = scene.target();
    canonical(translate::color(target.paint), translate::object(target.kind()))
}

/// Runs it with `policy`. Returns what is to be said at the end, and what was wrong.
///
/// # Errors
/// When the world or the runtime cannot be built, or the link fails.
pub fn run(
    run: &Lockstep,
    policy: Box<dyn Policy>,
    tell: &mut dyn FnMut(String),
) -> Result<(Vec<String>, Vec<String>)> {
    let bus = Bus::new();
    let clock = Clock::manual(START_NS);
    let mut config = Config::default();
    config.rates.mind_hz = run.mind_hz;
    let chain = load_chain(&config)?;
    let scene = Scene::pick(run.seed);
    config.policy.instruction = words_for(&scene);
    let topics = Topics::new(&config.link.namespace);
    let mut task = PickTask::new(scene.target);
    let mut node = SimNode::new(world_of(scene)?, &Link::in_process(&bus, clock.clone()), &topics)?;
    node.set_camera_hz(run.mind_hz);
    let panel = Panel::on(Link::in_process(&bus, clock.clone()))?;
    let ticks_per_decision = config.ticks_per_decision();
    let mut runtime = Runtime::new(config, Link::in_process(&bus, clock.clone()), policy)?;
    let hz = f64::from(TICK_HZ);
    let ticks = (run.hours * 3600.0 * hz) as u64;
    let change_ticks = (run.change_every_s * hz) as u64 + STOP_TICKS + RELEASE_TICKS + ENABLE_TICKS;
    let mut watch = Watch::new("lockstep", std::process::id(), run.warm_up_s);
    let mut peaks = PeakWatch::new(1.0 / hz);
    let (begun, mut told) = (Instant::now(), Instant::now());
    let (mut seed, mut since, mut tables, mut lifted) = (run.seed, 0_u64, 1_u64, 0_u64);
    let mut judged = Outcome::Running;
    let (mut blind, mut moved_while_stopped, mut presses) = (0_u64, 0_u64, 0_u64);
    let mut digest = Sha256::new();
    let mut stopped_at = None;
    for tick in 0..ticks {
        let now_ns = START_NS + tick * 1_000_000_000 / u64::from(TICK_HZ);
        clock.set_ns(now_ns);
        // The operator: work, stop, another table, release and reset, enable.
        let phase = tick - since;
        let stop_at = change_ticks - STOP_TICKS - RELEASE_TICKS - ENABLE_TICKS;
        let table_at = stop_at + STOP_TICKS;
        presses += u64::from(phase == stop_at);
        if phase == table_at {
            digest.update(node.world().digest());
            (seed, tables) = (seed + 1, tables + 1);
            let scene = Scene::pick(seed);
            panel.instruct(&words_for(&scene))?;
            (task, judged) = (PickTask::new(scene.target), Outcome::Running);
            node.faults.power_off = true;
            node.lay(world_of(scene)?);
            peaks.look(None);
        }
        if phase == table_at + RELEASE_TICKS {
            panel.say(false, false)?;
            panel.reset()?;
        }
        if phase == change_ticks {
            node.faults.power_off = false;
            since = tick;
        }
        let phase = tick - since;
        if tick.is_multiple_of(PANEL_TICKS) {
            panel.say((stop_at..table_at + RELEASE_TICKS).contains(&phase), phase < stop_at)?;
        }
        node.publish(now_ns)?;
        let command = runtime.step(now_ns);
        if tick.is_multiple_of(ticks_per_decision) {
            blind += u64::from(runtime.snapshot().health.is_err());
        }
        peaks.look(command.joints.as_ref().map(|joints| &joints.q[..]));
        // A latched stop brakes; from then on nothing may move.
        if let (Mode::Stopped(_), Some(joints)) = (command.mode, &command.joints) {
            let q: Vec<f64> = joints.q.iter().copied().collect();
            if phase >= table_at {
                moved_while_stopped += u64::from(stopped_at.as_ref().is_some_and(|at| *at != q));
                stopped_at = Some(q);
            }
        } else {
            stopped_at = None;
        }
        node.advance(now_ns);
        let outcome = task.observe(node.world(), phase as f64 / hz);
        lifted += u64::from(matches!(outcome, Outcome::Success { .. }) && judged == Outcome::Running);
        judged = outcome;
        if tick % u64::from(TICK_HZ) == 0 {
            watch.look(tick as f64 / hz);
        }
        if told.elapsed().as_secs_f64() >= run.tell_every_s {
            told = Instant::now();
            let simulated_s = tick as f64 / hz;
            tell(format!(
                "{:7.0} simulated s, {:4.1} times real time, {tables} tables, {lifted} lifted; {}",
                simulated_s,
                simulated_s / begun.elapsed().as_secs_f64(),
                watch.now()
            ));
        }
    }
    let report = runtime.report();
    let mut lines: Vec<String> = report.to_text().lines().map(str::to_owned).collect();
    let mut faults = Vec::new();
    balance(
        &mut lines,
        &mut faults,
        "ticks",
        ticks,
        &[("served", report.ticks), ("missed", report.reflex_missed)],
    );
    balance(
        &mut lines,
        &mut faults,
        "periods of the mind",
        ticks.div_ceil(ticks_per_decision),
        &[("decided", report.decisions), ("missed", report.mind_missed), ("idle", report.mind_idle)],
    );
    if report.mind_idle != blind {
        faults.push(format!("the mind idled {} times, {blind} times without good senses", report.mind_idle));
    }
    let stats = node.command_stats();
    balance(
        &mut lines,
        &mut faults,
        "commands",
        report.commands,
        &[("arrived", stats.received), ("lost", stats.gaps), ("not taken", report.commands_dropped)],
    );
    lines.push(format!("stops: {}, {presses} of them by the operator", report.stops));
    if moved_while_stopped > 0 {
        faults.push(format!("{moved_while_stopped} commands moved the arm after it had been stopped"));
    }
    let worst = peaks
        .peaks()
        .velocity_rad_s
        .iter()
        .zip(chain.limits())
        .map(|(peak, limits)| peak / limits.velocity_rad_s)
        .fold(0.0, f64::max);
    lines.push(format!("fastest joint commanded: {:.1} % of its limit", worst * 100.0));
    if worst > 1.0 + 1e-6 {
        faults.push(format!("a joint was commanded at {worst:.4} of its speed limit"));
    }
    let wall_s = begun.elapsed().as_secs_f64();
    lines.push(format!(
        "{:.2} simulated hours in {wall_s:.0} s, {:.1} times real time; {tables} tables, {lifted} lifted; digest {}",
        ticks as f64 / hz / 3600.0,
        ticks as f64 / hz / wall_s,
        digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>()
    ));
    lines.push(watch.summary());
    watch.faults(&mut faults);
    Ok((lines, faults))
}
