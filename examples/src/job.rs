//! The main job: a simulated robot and the runtime as two zenoh peers of one process, one
//! instruction, and a judge who sees the true world.
//!
//! How a job can end is [`Ending`]; which comes first wins:
//!
//! ```text
//!   lifted and held ──▶ Lifted                 the policy says it cannot be done ──▶ Infeasible
//!   another object lifted ──▶ WrongObject      a hold that lasts ──▶ Held
//!   the simulator's peer is gone ──▶ PeerLost  a signal ──▶ Interrupted
//!   the time is over ──▶ TimeOver
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reflexarc_drivers::{Clock, Link, ZenohConfig};
use reflexarc_runtime::{Config, HoldReason, Mode, Outcome, Progress, Report, Runtime, realtime};
use reflexarc_sim::Scene;
use reflexarc_sim::task::{HOLD_S, LIFT_M, Outcome as Judged};
use reflexarc_vla_model::decision::Infeasible;
use reflexarc_vla_model::policy::Policy;

use crate::filmstrip::Filmstrip;
use crate::stage::{Mishaps, Stage, View};

/// How long the two peers may take to find each other.
const MEETING: Duration = Duration::from_secs(10);
/// How long the runtime may take to notice that the simulator is gone before the job ends anyway, s.
const PEER_LOST_S: f64 = 2.0;
/// The policy must stay with it for this long that it cannot be done; one glance may be wrong, s.
const INFEASIBLE_S: f64 = 0.8;

/// What to do, in which world.
#[derive(Debug, Clone)]
pub struct Job {
    /// The runtime's configuration: instruction, senses, limits, recording. Its `link` says where
    /// the runtime listens; where the simulator is, is added.
    pub config: Config,
    /// The table.
    pub scene: Scene,
    /// Where the simulator listens, `tcp/127.0.0.1:PORT`; port 0 takes a free one.
    pub sim_listen: String,
    /// The job ends after this long at the latest, s.
    pub limit_s: f64,
    /// Go on until the time is over, also after success or a hold that lasts.
    pub sustain: bool,
    /// A hold that lasts this long ends the job, s.
    pub hold_patience_s: f64,
    /// What shall go wrong.
    pub mishaps: Mishaps,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The target was lifted 10 cm and held for a second.
    Lifted {
        /// From the first tick of the runtime to the end of that second, s.
        time_s: f64,
    },
    /// Another object was lifted.
    WrongObject {
        /// Which, in words.
        name: String,
        /// When, s.
        time_s: f64,
    },
    /// The policy says that it cannot be done.
    Infeasible(Infeasible),
    /// The runtime held, or waited, for too long.
    Held {
        /// The mode's words.
        why: String,
        /// How long, s.
        held_s: f64,
    },
    /// The simulator's peer is gone.
    PeerLost {
        /// What the runtime said to that.
        said: String,
        /// Why it went, where it did not just vanish.
        trouble: Option<String>,
    },
    /// A signal asked for the end.
    Interrupted,
    /// The time was over.
    TimeOver {
        /// The time, s.
        limit_s: f64,
        /// Greatest height of the target's foot, m.
        highest_m: f64,
    },
}

impl Ending {
    /// Whether the task was done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Lifted { .. })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lift_cm = LIFT_M * 100.0;
        match self {
            Self::Lifted { time_s } => {
                write!(
                    f,
                    "lifted {lift_cm:.0} cm and held for {HOLD_S:.0} s, done {time_s:.2} s after the start"
                )
            }
            Self::WrongObject { name, time_s } => {
                write!(f, "the wrong object was lifted: the {name}, at {time_s:.2} s")
            }
            Self::Infeasible(reason) => write!(f, "the policy says: infeasible, {reason}; nothing moves"),
            Self::Held { why, held_s } => write!(f, "{why}; this lasted for {held_s:.1} s, so the job ends"),
            Self::PeerLost { said, trouble: None } => {
                write!(f, "the simulator's peer vanished; the runtime says: {said}")
            }
            Self::PeerLost { said, trouble: Some(trouble) } => {
                write!(f, "the simulator's peer failed ({trouble}); the runtime says: {said}")
            }
            Self::Interrupted => f.write_str("interrupted; the arm was brought to rest"),
            Self::TimeOver { limit_s, highest_m } => write!(
                f,
                "not lifted {lift_cm:.0} cm within {limit_s} s; the target's greatest height was {:.1} cm",
                highest_m * 100.0
            ),
        }
    }
}

/// How a job went.
#[derive(Debug)]
pub struct JobReport {
    /// How it ended.
    pub ending: Ending,
    /// The runtime's own report, with `success` filled in by the judge.
    pub report: Report,
    /// The world at the end.
    pub view: View,
    /// What the cameras saw on the way.
    pub film: Filmstrip,
}

/// What a job tells while it goes on.
#[derive(Debug)]
pub enum News<'a> {
    /// The peers have found each other; these are their endpoints.
    Met {
        /// The runtime's.
        runtime: &'a [String],
        /// The simulator's.
        sim: &'a [String],
    },
    /// A few times per second, and at each change.
    Progress(&'a Progress, &'a View),
}

/// Does the job with `policy`. `stop` may be set at any time, for instance by a signal; the arm is
/// then brought to rest. `tell` is called on this thread and may be slow.
///
/// # Errors
/// When the peers cannot start or do not find each other, the policy does not run, or the recording
/// cannot be started. What goes wrong later is an [`Ending`] or in [`Report::problems`].
pub fn run(
    job: Job,
    policy: Box<dyn Policy>,
    stop: &Arc<AtomicBool>,
    mut tell: impl FnMut(News<'_>),
) -> Result<JobReport> {
    let clock = Clock::system();
    let Job { mut config, scene, sim_listen, limit_s, sustain, hold_patience_s, mishaps } = job;
    let names: Vec<String> =
        scene.objects.iter().map(|o| format!("{} {}", o.paint.name(), o.kind().name())).collect();
    let stage = Stage::start(scene, &sim_listen, &clock, mishaps, None)?;
    config.link.connect.extend_from_slice(stage.locators());
    let link = Link::zenoh(
        ZenohConfig {
            listen: config.link.listen.clone(),
            connect: config.link.connect.clone(),
            allow_remote: config.link.allow_remote,
            domain: config.link.domain,
            ..ZenohConfig::default()
        },
        clock.clone(),
    )
    .context("the runtime's peer")?;
    meet(&link, stop)?;
    tell(News::Met { runtime: link.locators(), sim: stage.locators() });

    let cameras = config.senses.cameras.clone();
    let runtime = Runtime::new(config, link, policy)?;
    let mut film = Filmstrip::default();
    let mut watch = Watch { limit_s, sustain, hold_patience_s, ..Watch::default() };
    let mut report = realtime::run(runtime, &clock, stop, |progress| {
        stage.begin(clock.now_ns());
        let view = stage.view();
        let words = short_words(progress);
        film.take(progress.time_s, &words, view.height_m, view.pictures.clone());
        if watch.ending.is_none() {
            watch.look(progress, &view, &names, &cameras);
            if watch.ending.is_some() {
                stop.store(true, Ordering::Release);
            }
        }
        tell(News::Progress(progress, &view));
    })?;
    let view = stage.end();
    // The judge has the last word: success may fall into the moment of stopping.
    let ending = match (view.outcome, watch.ending) {
        (Judged::Success { time_s }, _) => Ending::Lifted { time_s },
        (_, Some(ending)) => ending,
        (_, None) => Ending::Interrupted,
    };
    report.judge(ending.is_success());
    Ok(JobReport { ending, report, view, film })
}

/// Waits until the runtime's peer is connected to another one.
fn meet(link: &Link, stop: &AtomicBool) -> Result<()> {
    let begun = Instant::now();
    while link.peers() == 0 {
        if stop.load(Ordering::Acquire) {
            bail!("interrupted before the peers had found each other");
        }
        if begun.elapsed() > MEETING {
            bail!("the runtime and the simulator did not find each other within {} s", MEETING.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// What the robot is at, for a caption: the subtask, or why it stands still.
fn short_words(progress: &Progress) -> String {
    match progress.mode {
        Mode::Active => progress.message.clone(),
        Mode::Waiting(_) => "waiting".to_owned(),
        Mode::Holding(_) => match progress.mode.key().strip_prefix("holding_") {
            Some(why) => format!("hold: {}", why.replace('_', " ")),
            None => "hold".to_owned(),
        },
        Mode::Stopped(_) => "stopped".to_owned(),
    }
}

/// The mode in words, with the cameras' names instead of their numbers.
fn said(mode: Mode, cameras: &[String]) -> String {
    let mut words = mode.to_string();
    for (index, name) in cameras.iter().enumerate() {
        words = words.replace(&format!("camera {index} "), &format!("the {name} camera "));
    }
    words
}

/// Decides when a job is over.
#[derive(Default)]
struct Watch {
    limit_s: f64,
    sustain: bool,
    hold_patience_s: f64,
    still_since_s: Option<f64>,
    lost_since: Option<Instant>,
    ending: Option<Ending>,
}

impl Watch {
    fn look(&mut self, progress: &Progress, view: &View, names: &[String], cameras: &[String]) {
        let now_s = progress.time_s;
        let still = progress.mode != Mode::Active;
        if view.ended {
            let lost_s = self.lost_since.get_or_insert_with(Instant::now).elapsed().as_secs_f64();
            if still || lost_s > PEER_LOST_S {
                let said = said(progress.mode, cameras);
                self.ending = Some(Ending::PeerLost { said, trouble: view.trouble.clone() });
            }
            return;
        }
        let since_s = match (still, self.still_since_s) {
            (false, _) => None,
            (true, since_s) => Some(since_s.unwrap_or(now_s)),
        };
        self.still_since_s = since_s;
        let held_s = since_s.map_or(0.0, |since_s| now_s - since_s);
        let over = now_s >= self.limit_s;
        let decide = over || !self.sustain;
        let refusing = matches!(progress.mode, Mode::Holding(HoldReason::Infeasible { .. }));
        self.ending = match (view.outcome, progress.outcome) {
            (Judged::Success { time_s }, _) if decide => Some(Ending::Lifted { time_s }),
            (Judged::WrongObject { object, time_s }, _) if decide => {
                Some(Ending::WrongObject { name: names.get(object).cloned().unwrap_or_default(), time_s })
            }
            (_, Outcome::Infeasible(reason)) if over || decide && held_s >= INFEASIBLE_S => {
                Some(Ending::Infeasible(reason))
            }
            _ if decide && !refusing && held_s > self.hold_patience_s => {
                Some(Ending::Held { why: said(progress.mode, cameras), held_s })
            }
            _ if over => Some(Ending::TimeOver { limit_s: self.limit_s, highest_m: view.highest_m }),
            _ => None,
        };
    }
}
