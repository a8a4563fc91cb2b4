//! The threads against the wall clock. Only accounting is asserted, never microseconds: the
//! machine may be busy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use common::{HZ, Plant, Say, Script, act, decide, reach};
use reflexarc_drivers::msg::{DiagnosticLevel, JointTrajectory};
use reflexarc_drivers::{Bus, Clock, Link, Sample, Topics, ZenohConfig};
use reflexarc_runtime::{Config, HoldReason, Mode, Runtime, RuntimeError, realtime};
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::decision::Subtask;
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

/// Limits that a busy machine keeps.
fn patient() -> Config {
    let mut config = Config::default();
    config.senses.camera_max_age_ms = 2_000;
    config.senses.tactile_max_age_ms = 2_000;
    config.senses.joints_max_age_ms = 2_000;
    config.safety.decision_max_age_ms = 2_000;
    config.failsafe.overrun_ms = 2_000;
    config
}

#[test]
fn a_second_of_real_time_adds_up_and_ends_at_rest() {
    let (bus, clock) = (Bus::new(), Clock::system());
    let mut plant = Plant::new(Link::in_process(&bus, clock.clone()));
    let observer = Link::in_process(&bus, clock.clone());
    let mut health = observer.subscribe(&Topics::new("").diagnostics).unwrap();
    let path = std::env::temp_dir().join(format!("reflexarc-{}-live.mcap", std::process::id()));
    let mut config = patient();
    config.record.path = Some(path.clone());
    let link = Link::in_process(&bus, clock.clone());
    let runtime = Runtime::new(config, link, Box::new(Script::new(reach()))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicBool::new(false));

    let robot = Builder::new()
        .name("robot".into())
        .spawn({
            let (clock, ended) = (clock.clone(), Arc::clone(&ended));
            move || {
                let mut tick = 0;
                while !ended.load(Ordering::Acquire) {
                    plant.step(tick, clock.now_ns());
                    tick += 1;
                    std::thread::sleep(Duration::from_micros(1_000_000 / HZ));
                }
                plant
            }
        })
        .unwrap();
    let begun = Instant::now();
    let mut told = 0;
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        told += 1;
        assert!(!progress.line().is_empty());
        if progress.time_s >= 1.2 {
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    let wall_s = begun.elapsed().as_secs_f64();
    ended.store(true, Ordering::Release);
    let plant = robot.join().unwrap();

    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(told >= 4);
    // Every slot was served or skipped.
    let slots = report.duration_s * HZ as f64;
    assert!(((report.ticks + report.reflex_missed) as f64 - slots).abs() < 0.05 * slots + 20.0);
    assert!(report.duration_s > 1.1 && report.duration_s < wall_s + 0.1);
    assert!(report.decisions > 10, "{}", report.decisions);
    assert_eq!(report.audit.passed, report.decisions);
    assert!(report.modes["active"] > 10);
    assert!(report.modes["stopped"] >= 1);
    assert!(report.observation_to_command.count > 0 && report.action_age.count > 0);
    assert!(plant.commands > 0);
    let told = health.latest().unwrap();
    let names: Vec<_> = told.value.status.iter().map(|status| status.name.as_str()).collect();
    for name in [
        "reflex",
        "mind",
        "realtime",
        "audit",
        "joint_states",
        "camera/wrist/image_raw",
        "recorder",
        "ledger",
        "board",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let energy = &report.cost.usage.energy;
    assert!(energy.basis() != "assumed" && report.cost.usage.decisions == report.decisions, "{energy}");
    // Always on: every histogram has been fed.
    for latency in [&report.wake_lateness, &report.tick_execution, &report.observation_age, &report.publish] {
        assert!(latency.count > 20, "{}", report.to_text());
    }
    let parts = &report.latency_split;
    assert_eq!(parts.len(), 8);
    assert!(parts.iter().all(|part| part.latency.count == parts[0].latency.count));
    assert!(parts[0].latency.count <= report.observation_to_command.count);
    assert_eq!(report.realtime.grants.len(), 5);
    let recorder = report.recorder.unwrap();
    assert_eq!(recorder.dropped, 0);
    assert!(recorder.messages > 100);
    let bytes = std::fs::read(&path).unwrap();
    assert!(mcap::Summary::read(&bytes).unwrap().is_some());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn chunks_are_executed_between_threads() {
    let (bus, clock) = (Bus::new(), Clock::system());
    let mut plant = Plant::new(Link::in_process(&bus, clock.clone()));
    let mut config = patient();
    config.chunk.rate_hz = 50.0;
    let script = Script::new(reach());
    let home = plant.q.iter().map(|q| *q as f32).chain([0.05]);
    script.says(Say::Actions(home.cycle().take(100 * 8).collect()));
    let link = Link::in_process(&bus, clock.clone());
    let runtime = Runtime::new(config, link, Box::new(script)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicBool::new(false));
    let robot = Builder::new()
        .name("robot".into())
        .spawn({
            let (clock, ended) = (clock.clone(), Arc::clone(&ended));
            move || {
                let mut tick = 0;
                while !ended.load(Ordering::Acquire) {
                    plant.step(tick, clock.now_ns());
                    tick += 1;
                    std::thread::sleep(Duration::from_micros(1_000_000 / HZ));
                }
            }
        })
        .unwrap();
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        if progress.time_s >= 0.8 {
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    ended.store(true, Ordering::Release);
    robot.join().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let chunks = report.chunks.clone().unwrap();
    assert!(chunks.taken > 3 && chunks.late.is_empty(), "{}", report.to_text());
    assert!(report.modes["active"] > 10);
    // It has its own pace.
    assert_eq!(report.mind_missed, 0);
}

#[test]
fn a_peer_that_vanishes_leads_to_a_hold_and_an_orderly_end() {
    let clock = Clock::system();
    let server = Link::zenoh(ZenohConfig::default(), clock.clone()).unwrap();
    let connect = server.locators().to_vec();
    let mut plant = Plant::new(server);
    let link =
        Link::zenoh(ZenohConfig { listen: Vec::new(), connect, ..ZenohConfig::default() }, clock.clone())
            .unwrap();
    let mut config = patient();
    for age_ms in [
        &mut config.senses.camera_max_age_ms,
        &mut config.senses.tactile_max_age_ms,
        &mut config.senses.joints_max_age_ms,
    ] {
        *age_ms = 500;
    }
    let runtime = Runtime::new(config, link, Box::new(Script::new(reach()))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let vanish = Arc::new(AtomicBool::new(false));
    let robot = Builder::new()
        .name("robot".into())
        .spawn({
            let (clock, vanish) = (clock.clone(), Arc::clone(&vanish));
            move || {
                let mut tick = 0;
                while !vanish.load(Ordering::Acquire) {
                    plant.step(tick, clock.now_ns());
                    tick += 1;
                    std::thread::sleep(Duration::from_micros(1_000_000 / HZ));
                }
                let commands = plant.commands;
                // The session ends here, without a word to the other side.
                drop(plant);
                commands
            }
        })
        .unwrap();
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        if progress.mode == Mode::Active {
            vanish.store(true, Ordering::Release);
        }
        let held = matches!(progress.mode, Mode::Holding(HoldReason::Sense(_)));
        if held || progress.time_s > 20.0 {
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    assert!(robot.join().unwrap() > 0);
    assert!(report.modes["holding_stale"] > 0, "{}", report.to_text());
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

/// In the middle of a motion, too, the end takes half a second at most, and the arm rests.
#[test]
fn the_end_comes_within_its_bound_and_at_rest() {
    let (bus, clock) = (Bus::new(), Clock::system());
    let mut plant = Plant::new(Link::in_process(&bus, clock.clone()));
    let observer = Link::in_process(&bus, clock.clone());
    let mut commands = observer.subscribe_queue(&Topics::new("").joint_command, 8192).unwrap();
    let link = Link::in_process(&bus, clock.clone());
    let far = act(Subtask::Reach, [0.35, -0.3, 0.5], 1.2, 0.08, 10.0);
    let runtime = Runtime::new(patient(), link, Box::new(Script::new(far))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicBool::new(false));
    let robot = Builder::new()
        .name("robot".into())
        .spawn({
            let (clock, ended, stop) = (clock.clone(), Arc::clone(&ended), Arc::clone(&stop));
            move || {
                let (mut tick, home) = (0, plant.q.clone());
                while !ended.load(Ordering::Acquire) {
                    plant.step(tick, clock.now_ns());
                    let way: f64 = plant.q.iter().zip(&home).map(|(q, home)| (q - home).abs()).sum();
                    if way > 0.2 {
                        stop.store(true, Ordering::Release);
                    }
                    tick += 1;
                    std::thread::sleep(Duration::from_micros(1_000_000 / HZ));
                }
            }
        })
        .unwrap();
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        if progress.time_s > 20.0 {
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    ended.store(true, Ordering::Release);
    robot.join().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let bound = realtime::SHUTDOWN_NS * HZ / 1_000_000_000 + 1;
    assert!((1..=bound).contains(&report.modes["stopped"]), "{}", report.to_text());
    let told: Vec<_> = std::iter::from_fn(|| commands.try_recv()).collect();
    let point = |sample: &Sample<JointTrajectory>| sample.value.points[0].clone();
    let moving =
        told.iter().filter(|sample| point(sample).velocities.iter().any(|qd| qd.abs() > 0.05)).count();
    assert!(moving > 5, "it was in motion");
    let last = point(told.last().unwrap());
    // Braking is counted in ticks: a machine that skips most of them does not get through it in time.
    let rests = last.velocities.iter().all(|qd| qd.abs() < 1e-3);
    assert!(rests || report.reflex_missed > 30, "{:?}", last.velocities);
}

/// A policy that never answers again.
struct Stuck {
    asked: u64,
    hangs: Arc<AtomicBool>,
    free: Arc<AtomicBool>,
}

impl Policy for Stuck {
    fn name(&self) -> &str {
        "stuck"
    }

    fn instruct(&mut self, _: &str) {}

    fn decide(&mut self, observation: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
        self.asked += 1;
        self.hangs.store(self.asked > 20, Ordering::Release);
        while self.asked > 20 && !self.free.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Output::Goals(decide(reach(), observation.time_ns)))
    }
}

#[test]
fn a_policy_that_hangs_does_not_keep_the_arm_or_the_end_waiting() {
    let (bus, clock) = (Bus::new(), Clock::system());
    let mut plant = Plant::new(Link::in_process(&bus, clock.clone()));
    let mut config = patient();
    config.safety.decision_max_age_ms = 300;
    let (hangs, free) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let policy = Stuck { asked: 0, hangs: Arc::clone(&hangs), free: Arc::clone(&free) };
    let runtime = Runtime::new(config, Link::in_process(&bus, clock.clone()), Box::new(policy)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicBool::new(false));
    let robot = Builder::new()
        .name("robot".into())
        .spawn({
            let (clock, ended) = (clock.clone(), Arc::clone(&ended));
            move || {
                let mut tick = 0;
                while !ended.load(Ordering::Acquire) {
                    plant.step(tick, clock.now_ns());
                    tick += 1;
                    std::thread::sleep(Duration::from_micros(1_000_000 / HZ));
                }
            }
        })
        .unwrap();
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        let expired = matches!(progress.mode, Mode::Holding(HoldReason::Expired { .. }));
        if (expired && hangs.load(Ordering::Acquire)) || progress.time_s > 20.0 {
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    ended.store(true, Ordering::Release);
    robot.join().unwrap();
    free.store(true, Ordering::Release);
    assert!(report.modes["holding_expired"] > 0, "{}", report.to_text());
    assert!(
        report.problems.iter().any(|problem| problem.contains("still computing")),
        "{:?}",
        report.problems
    );
    assert_eq!(report.policy, "stuck");
}

#[test]
fn what_is_required_and_refused_ends_the_run_before_it_begins() {
    let (bus, clock) = (Bus::new(), Clock::system());
    let link = Link::in_process(&bus, clock.clone());
    let observer = Link::in_process(&bus, clock.clone());
    let commands = observer.subscribe(&Topics::new("").joint_command).unwrap();
    let mut config = patient();
    config.realtime.cpu = Some(1023);
    config.realtime.require_realtime = true;
    let runtime = Runtime::new(config, link, Box::new(Script::new(reach()))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let error = realtime::run(runtime, &clock, &stop, |_| {}).unwrap_err();
    assert!(matches!(error, RuntimeError::RealtimeRefused { .. }));
    let said = error.to_string();
    for part in ["require_realtime", "cpu = 1023 refused", "take one of the CPUs"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(commands.stats().received, 0);
}

/// Asked for and refused, but not required: it runs, and says so everywhere.
#[test]
fn a_refusal_is_told_in_report_and_diagnostics() {
    let (bus, clock) = (Bus::new(), Clock::system());
    let observer = Link::in_process(&bus, clock.clone());
    let mut health = observer.subscribe(&Topics::new("").diagnostics).unwrap();
    let mut config = patient();
    config.realtime.cpu = Some(1023);
    let link = Link::in_process(&bus, clock.clone());
    let runtime = Runtime::new(config, link, Box::new(Script::new(reach()))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        if progress.time_s >= 0.2 {
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    let refused: Vec<_> = report.realtime.refused().collect();
    assert_eq!((refused.len(), refused[0].asked), (1, Some(1023)));
    assert!(report.to_text().contains("cpu = 1023 refused"));
    let told = health.latest().unwrap();
    let status = told.value.status.iter().find(|status| status.name == "realtime").unwrap();
    assert_eq!(status.level, DiagnosticLevel::Warn as u8);
    assert!(status.message.contains("1023"), "{}", status.message);
}

#[test]
fn the_page_shows_a_run_while_it_goes_on() {
    let (bus, clock) = (Bus::new(), Clock::system());
    let link = Link::in_process(&bus, clock.clone());
    // Free a moment ago: nobody else asks for this one.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = patient();
    config.metrics.listen = address.to_string();
    config.cost.assumed_watts = Some(25.0);
    let runtime = Runtime::new(config, link, Box::new(Script::new(reach()))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut page = String::new();
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        // The first table is made before the first tick.
        if answer.contains("reflexarc_mode{mode=\"waiting_senses\"}") || progress.time_s > 30.0 {
            page = answer;
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    for series in [
        "reflexarc_mode{mode=\"waiting_senses\"} 1",
        "reflexarc_metrics_requests_total{end=\"answered\"}",
        "reflexarc_part_level{part=\"board\"}",
    ] {
        assert!(page.contains(series), "no {series} in {page}");
    }
    // Measured if this board tells, and otherwise as the configuration says.
    assert_ne!(report.cost.usage.energy.basis(), "not available");
    assert!(std::net::TcpStream::connect(address).is_err(), "the page outlives the run");
}

#[test]
fn a_robot_that_is_not_there_is_waited_for_without_a_command() {
    let (bus, clock) = (Bus::new(), Clock::system());
    let link = Link::in_process(&bus, clock.clone());
    let runtime = Runtime::new(patient(), link, Box::new(Script::new(reach()))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut message = String::new();
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        message.clone_from(&progress.message);
        if progress.time_s >= 0.2 && progress.message.contains("waiting") {
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    assert_eq!((report.commands, report.decisions), (0, 0));
    assert!(report.modes.contains_key("waiting_senses"));
    assert!(report.to_text().contains("waiting_senses"));
}
