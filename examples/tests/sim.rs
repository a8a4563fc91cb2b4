//! What the job does when things go wrong, with a policy that needs no training: it always wants
//! to reach for a point above the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reflexarc_examples::casting::{scene_with, wanted};
use reflexarc_examples::job::{Ending, Job, JobReport, News, run};
use reflexarc_examples::stage::Mishaps;
use reflexarc_runtime::Config;
use reflexarc_runtime::audit::view::SceneCamera;
use reflexarc_runtime::config::DeviceChoice;
use reflexarc_runtime::load::load_policy;
use reflexarc_sim::expert::fold_yaw;
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::decision::{
    Color, Decision, Goal, Infeasible, Object, Subtask, ToolTarget, Verdict,
};
use reflexarc_vla_model::grammar::{parse, tokens_from_verdict};
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

/// Each job wants its share of the processor: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says the same whatever it sees.
struct Always(Verdict);

impl Policy for Always {
    fn name(&self) -> &str {
        "always"
    }

    fn instruct(&mut self, _instruction: &str) {}

    fn decide(&mut self, observation: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
        let tokens = tokens_from_verdict(&self.0).unwrap();
        let verdict = parse(&tokens).unwrap();
        Ok(Output::Goals(Decision { tokens, verdict, confidence: 0.9, observation_ns: observation.time_ns }))
    }
}

/// Knows where the mug stands, which no policy is told, and picks it up by what it feels.
struct Informed {
    foot_m: [f64; 2],
    yaw_rad: f64,
    grasp_height_m: f64,
}

impl Policy for Informed {
    fn name(&self) -> &str {
        "informed"
    }

    fn instruct(&mut self, _instruction: &str) {}

    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        let [x, y, z] = observation.base_from_tool.position_m.map(f64::from);
        let [foot_x, foot_y] = self.foot_m;
        let width_m = f64::from(observation.gripper_width_m);
        let touched =
            observation.tactile.iter().all(|pad| pad.taxels_n.iter().skip(2).step_by(3).sum::<f32>() > 0.5);
        let over = (x - foot_x).hypot(y - foot_y) < 0.012;
        let down = over && (z - self.grasp_height_m).abs() < 0.012;
        let (subtask, height_m, open) = if touched {
            (Subtask::Lift, 0.24, false)
        } else if down {
            (Subtask::Grasp, self.grasp_height_m, false)
        } else if over && width_m > 0.06 {
            (Subtask::Approach, self.grasp_height_m, true)
        } else {
            (Subtask::Reach, 0.16, true)
        };
        let width_m = if open { 0.08 } else { 0.0 };
        let position_m = [foot_x, foot_y, height_m];
        Always(act(subtask, position_m, self.yaw_rad, width_m, 20.0)).decide(observation, ahead)
    }
}

fn act(
    subtask: Subtask,
    position_m: [f64; 3],
    yaw_rad: f64,
    gripper_width_m: f64,
    gripper_force_n: f64,
) -> Verdict {
    // Above an object that stands on the table, or at it.
    let [x, y, z] = position_m;
    let seen_m = if subtask == Subtask::Reach { [x, y, z.min(0.05)] } else { position_m };
    Verdict::Act {
        plan: vec![Goal::Pick { color: Color::Red, object: Object::Mug }],
        subtask,
        target: ToolTarget { position_m, yaw_rad, gripper_width_m, gripper_force_n },
        pixel_uv: SceneCamera::new(&Config::default()).pixel_of(seen_m),
    }
}

fn reach() -> Verdict {
    act(Subtask::Reach, [0.5, 0.1, 0.2], 0.3, 0.08, 10.0)
}

/// A job whose senses may be older than a robot's should be: the machine that runs the tests may
/// have other things to do.
fn job(mishaps: Mishaps) -> Job {
    let mut config = Config::default();
    config.link.listen = vec!["tcp/127.0.0.1:0".to_owned()];
    for age_ms in [
        &mut config.senses.camera_max_age_ms,
        &mut config.senses.tactile_max_age_ms,
        &mut config.senses.joints_max_age_ms,
    ] {
        *age_ms = 400;
    }
    config.safety.decision_max_age_ms = 1_000;
    config.failsafe.overrun_ms = 1_000;
    Job {
        config,
        scene: scene_with(wanted("pick up the red mug"), 1).unwrap(),
        sim_listen: "tcp/127.0.0.1:0".to_owned(),
        limit_s: 20.0,
        sustain: false,
        hold_patience_s: 0.5,
        mishaps,
    }
}

fn play(job: Job, verdict: Verdict) -> JobReport {
    let begun = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let done = run(job, Box::new(Always(verdict)), &stop, |_| {}).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(done.report.success, Some(done.ending.is_success()));
    assert!(done.report.problems.is_empty(), "{:?}", done.report.problems);
    done
}

#[test]
fn lifting_the_mug_and_holding_it_is_success() {
    let _alone = alone();
    let job = job(Mishaps::default());
    let mug = job.scene.target();
    let policy = Informed {
        foot_m: mug.position_m.map(f64::from),
        yaw_rad: fold_yaw(f64::from(mug.yaw_rad)),
        grasp_height_m: f64::from(mug.shape.grasp_height_m()),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let done = run(job, Box::new(policy), &stop, |_| {}).unwrap();
    let Ending::Lifted { time_s } = done.ending else { panic!("{}\n{}", done.ending, done.report.to_text()) };
    assert!(time_s > 1.0 && done.view.highest_m >= 0.10);
    assert_eq!(done.report.success, Some(true));
    let steps: Vec<&str> = done.report.timeline.iter().map(|entry| entry.what.as_str()).collect();
    assert!(steps.contains(&"grasp") && steps.contains(&"lift"), "{steps:?}");
}

#[test]
fn frozen_cameras_end_in_a_hold_that_names_the_camera() {
    let _alone = alone();
    let done = play(job(Mishaps { freeze_cameras_after_s: Some(0.6), ..Mishaps::default() }), reach());
    assert!(matches!(done.ending, Ending::Held { .. }), "{}", done.ending);
    let said = done.ending.to_string();
    assert!(said.contains("camera") && said.contains("ms old"), "{said}");
    assert!(said.contains("scene") || said.contains("wrist"), "{said}");
    assert!(done.report.modes["holding_stale"] > 0);
    assert!(done.report.modes["active"] > 0, "{}", done.report.to_text());
    assert!(done.view.actuator.obeyed > 0 && done.view.trouble.is_none());
}

#[test]
fn black_cameras_end_in_a_hold_that_says_so() {
    let _alone = alone();
    let done = play(job(Mishaps { black_cameras_after_s: Some(0.6), ..Mishaps::default() }), reach());
    assert!(matches!(done.ending, Ending::Held { .. }), "{}", done.ending);
    assert!(done.ending.to_string().contains("cameras are black"), "{}", done.ending);
    assert!(done.report.modes["holding_black"] > 0);
}

#[test]
fn a_simulator_that_vanishes_ends_the_job_soon_and_in_words() {
    let _alone = alone();
    let done = play(job(Mishaps { vanish_after_s: Some(0.6), ..Mishaps::default() }), reach());
    assert!(matches!(done.ending, Ending::PeerLost { trouble: None, .. }), "{}", done.ending);
    assert!(done.ending.to_string().contains("vanished"), "{}", done.ending);
    assert!(done.report.modes["holding_stale"] > 0, "{}", done.report.to_text());
    assert!(done.report.duration_s < 6.0, "{}", done.report.duration_s);
}

#[test]
fn what_the_policy_refuses_is_said_aloud_and_nothing_moves() {
    let _alone = alone();
    let done = play(job(Mishaps::default()), Verdict::Infeasible(Infeasible::UnknownAction));
    assert_eq!(done.ending, Ending::Infeasible(Infeasible::UnknownAction));
    assert!(done.ending.to_string().contains("infeasible, unknown action"), "{}", done.ending);
    assert_eq!(done.report.modes.get("active"), None);
}

#[test]
fn time_runs_out_and_the_run_is_recorded_and_drawn() {
    let _alone = alone();
    let folder = std::env::temp_dir().join(format!("reflexarc-sim-{}", std::process::id()));
    let mut job = job(Mishaps::default());
    job.limit_s = 1.5;
    job.config.record.path = Some(folder.join("run.mcap"));
    let mut told = 0;
    let mut met = false;
    let stop = Arc::new(AtomicBool::new(false));
    let done = run(job, Box::new(Always(reach())), &stop, |news| match news {
        News::Met { runtime, sim } => met = runtime.len() == 1 && sim.len() == 1,
        News::Progress(progress, view) => {
            told += 1;
            assert!(progress.time_s < 10.0 && view.height_m < 0.05);
        }
    })
    .unwrap();
    assert!(met && told >= 3, "{told}");
    assert!(matches!(done.ending, Ending::TimeOver { .. }), "{}", done.ending);
    assert!(done.report.decisions > 5 && done.report.tokens > 5);
    assert!(done.report.recorder.is_some_and(|recorder| recorder.messages > 100));
    done.film.save(&folder.join("strip.png"), "\"reach\" - failure").unwrap();
    assert!(image::open(folder.join("strip.png")).unwrap().height() > 400);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_signal_brings_the_arm_to_rest() {
    let _alone = alone();
    let stop = Arc::new(AtomicBool::new(false));
    let done = run(job(Mishaps::default()), Box::new(Always(reach())), &stop, |news| {
        if matches!(news, News::Progress(progress, _) if progress.decisions > 3) {
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    assert_eq!(done.ending, Ending::Interrupted);
    assert!(done.report.modes["stopped"] > 0);
}

#[test]
fn truncated_weights_are_refused_in_words() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/weights/goal.safetensors");
    let bytes = std::fs::read(shipped).unwrap();
    let path: PathBuf =
        std::env::temp_dir().join(format!("reflexarc-{}-cut.safetensors", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    let mut config = Config::default();
    config.policy.device = DeviceChoice::Cpu;
    assert!(load_policy(&path, &config).is_ok());
    for kept in [bytes.len() - 1, bytes.len() / 2, 4, 0] {
        std::fs::write(&path, &bytes[..kept]).unwrap();
        let error = load_policy(&path, &config).err().unwrap().to_string();
        assert!(error.contains("-cut.safetensors") && error.len() > 60, "{error}");
    }
    std::fs::remove_file(&path).unwrap();
}
