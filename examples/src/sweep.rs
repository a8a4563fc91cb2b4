//! The sweep of faults: lost frames × late decisions × frozen senses, and what the robot makes of each.
//!
//! Every cell runs some seeded episodes of the suite `pick`. Nothing in it depends on the machine, so
//! that a table in the repository shows every change of behaviour. Success may fall; limits must hold in
//! every cell, and the arm must hold still within the time that its configuration promises.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use reflexarc_drivers::link::{Direction, FaultRule, Freeze};
use reflexarc_runtime::config::{ChunkConfig, Config};
use reflexarc_runtime::failsafe::{Action, Cause, Promise};
use reflexarc_runtime::fault::FaultProfile;
use reflexarc_runtime::modes::Mode;
use reflexarc_runtime::runtime::load_chain;
use reflexarc_sim::node::{Faults, TICK_HZ};
use reflexarc_sim::scene::Scene;
use reflexarc_vla_model::phrasing;

use crate::episode::{self, Decider, Episode, EpisodeResult};
use crate::translate;

/// Share of camera frames lost, percent.
pub const LOSSES_PERCENT: [u32; 4] = [0, 10, 30, 60];
/// Time from an observation to its decision, ms; `None` is one period of the mind (17 ms).
pub const DELAYS_MS: [Option<u64>; 4] = [None, Some(50), Some(150), Some(400)];
/// When senses freeze, ms after the start: the arm is on its way then.
pub const FREEZE_AT_MS: u64 = 1500;
/// Longest episode, s.
const LIMIT_S: f64 = 10.0;
/// Longest episode in which a sense never comes back, s.
const FROZEN_LIMIT_S: f64 = 4.0;
/// Episodes of a cell, unless told otherwise.
pub const EPISODES: usize = 4;
/// Seed of the first scene: none that the model was trained on.
pub const SEED: u64 = 4000;

/// Which sense freezes at [`FREEZE_AT_MS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// None.
    Nothing,
    /// Both cameras are silent for 0.3 s.
    CamerasShortly,
    /// Both cameras are silent from then on.
    CamerasForEver,
    /// The joints are silent for 0.2 s.
    JointsShortly,
    /// Both pads are silent from then on.
    PadsForEver,
}

impl Frozen {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Nothing, Self::CamerasShortly, Self::CamerasForEver, Self::JointsShortly, Self::PadsForEver];

    /// As in the tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::CamerasShortly => "cameras 0.3 s",
            Self::CamerasForEver => "cameras for ever",
            Self::JointsShortly => "joints 0.2 s",
            Self::PadsForEver => "pads for ever",
        }
    }

    fn rule(self) -> Option<FaultRule> {
        let (topic, for_ms) = match self {
            Self::Nothing => return None,
            Self::CamerasShortly => ("camera/*", Some(300)),
            Self::CamerasForEver => ("camera/*", None),
            Self::JointsShortly => ("joint_states", Some(200)),
            Self::PadsForEver => ("tactile/*", None),
        };
        Some(FaultRule {
            topics: vec![topic.to_owned()],
            direction: Direction::In,
            from_ms: FREEZE_AT_MS,
            for_ms,
            freeze: Some(Freeze::Silent),
            ..FaultRule::default()
        })
    }

    fn for_ever(self) -> bool {
        self.rule().is_some_and(|rule| rule.for_ms.is_none())
    }

    /// The promise: the arm is told to hold this long after the sense falls silent, at the latest, ms. Its
    /// last message is at most as old as the configuration allows; one tick looks at it.
    #[must_use]
    pub fn hold_within_ms(self, config: &Config) -> Option<f64> {
        let age_ms = match self {
            Self::Nothing => return None,
            Self::CamerasShortly | Self::CamerasForEver => config.senses.camera_max_age_ms,
            Self::JointsShortly => config.senses.joints_max_age_ms,
            Self::PadsForEver => config.senses.tactile_max_age_ms,
        };
        Some(age_ms as f64 + 1e3 * config.dt_s())
    }
}

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Camera frames lost, percent.
    pub loss_percent: u32,
    /// From observation to decision, ms.
    pub delay_ms: Option<u64>,
    /// What freezes.
    pub frozen: Frozen,
}

/// One episode of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The cell.
    pub cell: Cell,
    /// Seed of the scene and of the faults.
    pub seed: u64,
    /// From the freeze to the first tick of a hold, ms; absent where nothing froze or the arm was not
    /// active then.
    pub hold_after_ms: Option<f64>,
    /// The strongest action that the failsafe took once the arm had been active, and for which cause first.
    pub failsafe: Option<(Action, Cause)>,
    /// Share of the time in which it held the arm, or more than that.
    pub held_share: f64,
    /// How it went.
    pub result: EpisodeResult,
}

/// All cells: losses, within them delays, within them freezes.
#[must_use]
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for loss_percent in LOSSES_PERCENT {
        for delay_ms in DELAYS_MS {
            for frozen in Frozen::ALL {
                cells.push(Cell { loss_percent, delay_ms, frozen });
            }
        }
    }
    cells
}

impl Cell {
    /// Runs one episode.
    ///
    /// # Errors
    /// When the scene or the runtime cannot be built.
    pub fn run(&self, seed: u64, decider: Decider) -> Result<Row> {
        let scene = Scene::pick(seed);
        let object = &scene.objects[scene.target];
        let instruction =
            phrasing::canonical(translate::color(object.paint), translate::object(object.kind()));
        let loss = FaultRule {
            topics: vec!["camera/*".to_owned()],
            direction: Direction::In,
            loss: f64::from(self.loss_percent) / 100.0,
            ..FaultRule::default()
        };
        let episode = Episode {
            instruction,
            target: scene.target,
            limit_s: if self.frozen.for_ever() { FROZEN_LIMIT_S } else { LIMIT_S },
            faults: Faults::default(),
            chunk: ChunkConfig::default(),
            profile: FaultProfile {
                seed,
                link: std::iter::once(loss).chain(self.frozen.rule()).collect(),
                ..FaultProfile::default()
            },
            delay_ms: self.delay_ms,
            servos: None,
            scene,
        };
        let frozen_tick = FREEZE_AT_MS * u64::from(TICK_HZ) / 1000;
        let (mut active, mut hold_tick) = (false, None);
        let (mut begun, mut failsafe, mut ticks, mut held) = (false, None, 0_u64, 0_u64);
        let result = episode::run_watched(&episode, decider, &mut |tick, _, command| {
            if tick < frozen_tick {
                active = command.mode == Mode::Active;
            } else if active && command.mode != Mode::Active {
                hold_tick.get_or_insert(tick);
            }
            begun |= command.mode == Mode::Active;
            let standing = command.failsafe;
            if let (true, Some(cause)) = (begun, standing.cause)
                && failsafe.is_none_or(|(action, _)| standing.action > action)
            {
                failsafe = Some((standing.action, cause));
            }
            ticks += 1;
            held += u64::from(begun && standing.action >= Action::Hold);
        })?;
        let hold_after_ms = hold_tick
            .filter(|_| self.frozen != Frozen::Nothing)
            .map(|tick| (tick - frozen_tick) as f64 * 1e3 / f64::from(TICK_HZ));
        let held_share = held as f64 / ticks.max(1) as f64;
        Ok(Row { cell: *self, seed, hold_after_ms, failsafe, held_share, result })
    }
}

impl Row {
    /// What broke a promise, if anything did.
    #[must_use]
    pub fn broken(&self, config: &Config) -> Option<String> {
        let judged = &self.result.judgement;
        if judged.violations > 0 {
            return Some(format!("{} limits broken: {:?}", judged.violations, judged.first));
        }
        // Where it froze for long enough, an active arm must have held; and in time.
        let within_ms = self.cell.frozen.hold_within_ms(config)?;
        match self.hold_after_ms {
            Some(after_ms) if after_ms > within_ms + 1e-6 => {
                Some(format!("held {after_ms:.1} ms after the freeze, promised {within_ms:.1} ms"))
            }
            _ => None,
        }
    }

    /// The failsafe's strongest action and its cause in one word.
    #[must_use]
    pub fn failsafe_word(&self) -> String {
        self.failsafe.map_or("-".to_owned(), |(action, cause)| format!("{}:{}", action.name(), cause.name()))
    }

    /// One line of the golden file.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { cell, seed, result, .. } = self;
        let delay = cell.delay_ms.map_or("period".to_owned(), |ms| ms.to_string());
        let hold = self.hold_after_ms.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
        format!(
            "{}\t{delay}\t{}\t{seed}\t{}\t{}\t{:.3}\t{}\t{:.3}\t{hold}\t{:.1}\t{}\t{}",
            cell.loss_percent,
            cell.frozen.name(),
            result.outcome,
            result.drops,
            result.judgement.velocity_share,
            self.failsafe_word(),
            self.held_share,
            1e3 * result.judgement.slowest_hold_s.max(result.judgement.slowest_stop_s),
            result.judgement.violations,
            &result.digest[..result.digest.len().min(12)],
        )
    }
}

/// The head of the golden file.
pub const HEAD: &str = "loss_percent\tdelay_ms\tfrozen\tseed\toutcome\tdrops\tvelocity_share\tfailsafe\t\
                        held_share\thold_after_ms\trest_ms\tviolations\tdigest";

/// The golden file of all rows.
#[must_use]
pub fn golden(rows: &[Row]) -> String {
    let mut text = format!("{HEAD}\n");
    for row in rows {
        text.push_str(&row.line());
        text.push('\n');
    }
    text
}

/// The rows that the golden file has otherwise, each as "expected / found".
///
/// # Errors
/// When it has another head or another number of rows.
pub fn differences(golden: &str, rows: &[Row]) -> Result<Vec<String>> {
    let mut lines = golden.lines();
    if lines.next() != Some(HEAD) {
        bail!("the golden file has another head, expected {HEAD:?}");
    }
    let expected: Vec<&str> = lines.collect();
    if expected.len() != rows.len() {
        bail!("the golden file has {} rows, found {}", expected.len(), rows.len());
    }
    let found = rows.iter().map(Row::line);
    let different = expected.iter().zip(found).filter(|(expected, found)| *expected != found);
    Ok(different.map(|(expected, found)| format!("expected {expected}\n   found {found}")).collect())
}

/// The table for people, one line for each cell.
///
/// # Errors
/// When the robot cannot be read.
pub fn table(rows: &[Row]) -> Result<String> {
    let config = Config::default();
    let bound_ms = Promise::new(&load_chain(&config)?, &config).stop_ns() as f64 / 1e6;
    let mut text = String::new();
    let per_cell = rows.iter().take_while(|row| row.cell == rows[0].cell).count();
    writeln!(text, "# What faults do to a pick\n")?;
    writeln!(
        text,
        "Made by `cargo run --release --example evaluate -- --suite pick --faults sweep --bless`, in lockstep; a\n\
         test re-runs a part of it. {per_cell} episodes for each cell, scenes {} to {}, none of which the model\n\
         was trained on.\n",
        rows.iter().map(|row| row.seed).min().unwrap_or(0),
        rows.iter().map(|row| row.seed).max().unwrap_or(0)
    )?;
    writeln!(
        text,
        "* *loss*: camera frames lost. *delay*: from an observation to its decision. *frozen*: what falls silent\n  \
         {:.1} s after the start.\n\
         * *success*: target lifted 10 cm and held for 1 s. *dropped*: raised 3 cm or more, then on the table again.\n\
         * *speed*: largest share of its velocity limit that any joint was commanded to.\n\
         * *failsafe*: the strongest action taken, for which cause, and the largest share of the time held or more.\n\
         * *held after*: from the moment of the freeze to the first tick of a hold, the slowest episode; promised:\n  \
         the age limit of the sense and one tick.\n\
         * *rest*: the slowest way from a hold's first tick to standstill; promised: {bound_ms:.0} ms.\n\
         * *broken*: commands beyond a limit of position, velocity, acceleration, jerk, tool speed, workspace or\n  \
         gripper, holds not in time, motion after a stop.\n",
        FREEZE_AT_MS as f64 / 1e3
    )?;
    writeln!(
        text,
        "| loss | delay | frozen | success | dropped | speed | failsafe | held after | rest | broken |"
    )?;
    writeln!(text, "|---:|---:|---|---:|---:|---:|---|---:|---:|---:|")?;
    for rows in rows.chunk_by(|a, b| a.cell == b.cell) {
        let cell = rows[0].cell;
        let results = || rows.iter().map(|row| &row.result);
        let most = |of: &dyn Fn(&Row) -> f64| rows.iter().map(of).fold(0.0, f64::max);
        let delay = cell.delay_ms.map_or("1 period".to_owned(), |ms| format!("{ms} ms"));
        let strongest = rows.iter().filter_map(|row| row.failsafe).max_by_key(|(action, _)| *action);
        let failsafe = strongest.map_or("–".to_owned(), |(action, cause)| {
            let text = format!("{}: {}", action.name(), cause.name());
            format!("{}, {:.0} %", text.replace('_', " "), 100.0 * most(&|row| row.held_share))
        });
        let held = rows.iter().filter_map(|row| row.hold_after_ms).reduce(f64::max);
        let promised = cell.frozen.hold_within_ms(&config);
        let held = match (held, promised) {
            (Some(held), Some(promised)) => format!("{held:.0} of {promised:.0} ms"),
            _ => "–".to_owned(),
        };
        writeln!(
            text,
            "| {} % | {delay} | {} | {}/{} | {} | {:.0} % | {failsafe} | {held} | {:.0} ms | {} |",
            cell.loss_percent,
            cell.frozen.name(),
            results().filter(|result| result.outcome == "success").count(),
            rows.len(),
            results().map(|result| result.drops).sum::<u32>(),
            100.0 * most(&|row| row.result.judgement.velocity_share),
            1e3 * most(&|row| {
                row.result.judgement.slowest_hold_s.max(row.result.judgement.slowest_stop_s)
            }),
            rows.iter().filter(|row| row.broken(&config).is_some()).count(),
        )?;
    }
    Ok(text)
}

/// Reads the golden file.
///
/// # Errors
/// When it is not there.
pub fn read_golden(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
