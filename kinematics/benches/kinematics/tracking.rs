//! Section B: tracking a Cartesian path through a near-singularity.

use nalgebra::Isometry3;
use reflexarc_kinematics::track::{Tracker, TrackerConfig};

use crate::Failure;
use crate::Size;
use crate::judge::{LIMIT_SLACK_RAD, Subject, task_name};
use crate::measure::{Micros, timed};
use crate::paths::{ACCELERATION_RAD_S2, Path, Swing};
use crate::peers::{AllAnswers, PathJob, RobotJob, pose_numbers};
use crate::table::{Table, Verdicts, figure};

/// Tick rates, 1/s.
const RATES_HZ: [u32; 2] = [240, 1000];
/// What counts as a broken velocity or acceleration limit, relative: rounding of q / dt.
const ROUNDING: f64 = 1e-6;

/// The four paths of a robot.
pub(crate) fn paths(subject: &Subject) -> Result<(Swing, Vec<Path>), Failure> {
    let swing = Swing::find(subject)?;
    let paths = RATES_HZ.iter().flat_map(|hz| [swing.loop_path(subject, *hz), swing.line_path(subject, *hz)]);
    let paths = paths.collect();
    Ok((swing, paths))
}

/// Adds the paths to the peers' job, one round of each.
pub(crate) fn ask(job: &mut RobotJob, subject: &Subject, paths: &[Path]) {
    job.paths = paths
        .iter()
        .map(|path| PathJob {
            name: path.name.clone(),
            task: task_name(subject.task()),
            dt_s: 1.0 / f64::from(path.rate_hz),
            start: path.start.clone(),
            poses: path.poses.iter().map(pose_numbers).collect(),
        })
        .collect();
}

/// What the judge sees of one tracker on one path.
#[derive(Default)]
struct Seen {
    ticks: usize,
    /// Joints outside their position limits, and above their velocity limits, counted per joint and tick.
    outside: usize,
    too_fast: usize,
    /// Changes of velocity above the acceleration limit.
    too_sudden: usize,
    /// Largest change of velocity as a multiple of what the acceleration limit allows.
    suddenness: f64,
    largest_error_m: f64,
    largest_error_rad: f64,
    /// Position error after the last tick.
    last_error_m: f64,
}

/// Looks at each tick's joint positions.
struct Judge<'a> {
    subject: &'a Subject,
    dt_s: f64,
    q: Vec<f64>,
    velocity: Vec<f64>,
    seen: Seen,
}

impl<'a> Judge<'a> {
    /// The arm rests at `start`.
    fn new(subject: &'a Subject, rate_hz: u32, start: &[f64]) -> Self {
        let dt_s = 1.0 / f64::from(rate_hz);
        Self { subject, dt_s, q: start.to_vec(), velocity: vec![0.0; start.len()], seen: Seen::default() }
    }

    /// Takes the positions at the end of a tick, and what was wanted there.
    fn look(&mut self, q: &[f64], wanted: &Isometry3<f64>) {
        let seen = &mut self.seen;
        seen.ticks += 1;
        for (i, limits) in self.subject.chain.limits().iter().enumerate() {
            let at = q.get(i).copied().unwrap_or(f64::NAN);
            let velocity = (at - self.q[i]) / self.dt_s;
            let suddenness = (velocity - self.velocity[i]).abs() / (ACCELERATION_RAD_S2 * self.dt_s);
            seen.outside += usize::from(!limits.contains(at, LIMIT_SLACK_RAD));
            seen.too_fast += usize::from(breaks(velocity.abs(), limits.velocity_rad_s));
            seen.too_sudden += usize::from(breaks(suddenness, 1.0));
            seen.suddenness = seen.suddenness.max(suddenness);
            (self.q[i], self.velocity[i]) = (at, velocity);
        }
        let (error_m, error_rad) = self.subject.errors(self.subject.task(), &self.q, wanted);
        seen.largest_error_m = seen.largest_error_m.max(error_m);
        seen.largest_error_rad = seen.largest_error_rad.max(error_rad);
        seen.last_error_m = error_m;
    }
}

/// Whether a value is above its limit; one that is not a number is.
fn breaks(value: f64, limit: f64) -> bool {
    value.is_nan() || value > limit * (1.0 + ROUNDING)
}

/// The tracker's settings for these paths: all of the joints' speed, and targets that move.
fn settings(subject: &Subject, rate_hz: u32) -> TrackerConfig {
    TrackerConfig {
        task: subject.task(),
        dt_s: 1.0 / f64::from(rate_hz),
        velocity_scale: 1.0,
        max_tool_speed_m_s: 5.0,
        max_tool_turn_rad_s: 10.0,
        task_gain_per_s: f64::from(rate_hz),
        follow_target_velocity: true,
        max_acceleration_rad_s2: ACCELERATION_RAD_S2,
        ..TrackerConfig::default()
    }
}

/// Our tracker, round after round, for at least `ticks` ticks.
fn ours(subject: &Subject, path: &Path, ticks: usize) -> (Seen, Vec<f64>) {
    let mut tracker = Tracker::new(subject.chain.clone(), settings(subject, path.rate_hz), &path.start);
    tracker.reset(&path.start);
    let mut judge = Judge::new(subject, path.rate_hz, &path.start);
    let mut q = path.start.clone();
    let mut micros = Vec::with_capacity(ticks + path.poses.len());
    while micros.len() < ticks {
        for wanted in &path.poses {
            let (step, took) = timed(|| tracker.step(&q, wanted));
            micros.push(took);
            q.copy_from_slice(&step.q_next);
            judge.look(&q, wanted);
        }
    }
    (judge.seen, micros)
}

/// Prints the section.
pub(crate) fn report(
    subjects: &[Subject],
    all_paths: &[(Swing, Vec<Path>)],
    answers: &AllAnswers,
    size: &Size,
    verdicts: &mut Verdicts,
) {
    println!("\nB. Tracking a Cartesian path through a near-singularity, µs per tick");
    println!(
        "   loop: can be followed within all limits; line: leads out of reach at the singularity and back.\n   \
         pos / vel, acc: limits broken, per joint and tick; the acceleration limit is {ACCELERATION_RAD_S2} rad/s², \
         which no peer was given."
    );
    for (subject, (swing, _)) in subjects.iter().zip(all_paths) {
        println!(
            "   {}: task {}; smallest singular value {:.4} in the middle of the loop, {:.3} at its start, usually {:.3}",
            subject.robot.name,
            task_name(subject.task()),
            swing.weakest[0],
            swing.weakest[1],
            swing.weakest[2]
        );
    }
    println!();
    let mut table = Table::new(&[
        "robot, path",
        "solver",
        "ticks",
        "mean µs",
        "p50",
        "p99",
        "x ours",
        "pos / vel",
        "acc",
        "max acc x",
        "max mm",
        "max mrad",
        "end mm",
        "note",
    ]);
    let mut total = Seen::default();
    let mut compared = Vec::new();
    let rounds: usize = all_paths.iter().map(|(_, paths)| paths.len()).sum();
    for (subject, (_, paths)) in subjects.iter().zip(all_paths) {
        for path in paths {
            let (seen, micros) = ours(subject, path, size.ticks.div_ceil(rounds));
            total.ticks += seen.ticks;
            total.outside += seen.outside;
            total.too_fast += seen.too_fast;
            total.too_sudden += seen.too_sudden;
            let mean = Micros::of(&micros).mean;
            let name = format!("{}, {}", subject.robot.name, path.name);
            row(&mut table, [&name, "Reflexarc", "all limits, posture"], path, &seen, &micros, mean);
            for answer in answers.tools.iter().flat_map(|tool| &tool.track) {
                if answer.robot != subject.robot.name || answer.path != path.name {
                    continue;
                }
                let mut judge = Judge::new(subject, path.rate_hz, &path.start);
                for (q, wanted) in answer.q.iter().zip(&path.poses) {
                    judge.look(q, wanted);
                }
                row(
                    &mut table,
                    [&name, &answer.solver, &answer.note],
                    path,
                    &judge.seen,
                    &answer.micros,
                    mean,
                );
                if answer.solver.starts_with("placo") {
                    compared.push((name.clone(), mean, Micros::of(&answer.micros).mean));
                }
            }
        }
    }
    table.print();
    println!();
    let broken = total.outside + total.too_fast + total.too_sudden;
    verdicts.say(
        Some(broken == 0),
        format!(
            "{broken} broken limits of position, velocity and acceleration in {} ticks, expected 0",
            total.ticks
        ),
    );
    for (name, mean, placo) in &compared {
        verdicts.say(
            Some(mean <= placo),
            format!("{name}: mean tick {} µs, at most placo's {} µs", figure(*mean), figure(*placo)),
        );
    }
    if compared.is_empty() {
        verdicts.say(None, "mean tick at most placo's: placo was not measured".to_owned());
    }
}

/// A row of the table, named by path, solver and note; `ours` is our mean, µs.
fn row(table: &mut Table, names: [&str; 3], path: &Path, seen: &Seen, micros: &[f64], ours: f64) {
    let [name, solver, note] = names;
    let spent = Micros::of(micros);
    let error = |value: f64| if path.feasible { figure(value * 1e3) } else { "-".to_owned() };
    table.row([
        name.to_owned(),
        solver.to_owned(),
        seen.ticks.to_string(),
        figure(spent.mean),
        figure(spent.p50),
        figure(spent.p99),
        figure(spent.mean / ours),
        format!("{} / {}", seen.outside, seen.too_fast),
        seen.too_sudden.to_string(),
        figure(seen.suddenness),
        error(seen.largest_error_m),
        error(seen.largest_error_rad),
        figure(seen.last_error_m * 1e3),
        note.to_owned(),
    ]);
}
