//! Section A: global IK from a random seed.

use k::InverseKinematicsSolver;
use nalgebra::{Isometry3, Translation3, UnitVector3, Vector3};
use reflexarc_kinematics::Task;
use reflexarc_kinematics::ik::{self, IkOptions, Prefer};

use crate::common::Random;
use crate::judge::{POSITION_M, ROTATION_RAD, Subject, task_name};
use crate::measure::{Micros, timed};
use crate::peers::{AllAnswers, GoalJob, RobotJob, Workshop, pose_numbers};
use crate::table::{Table, Verdicts, figure};
use crate::{Failure, Size};

/// A reachable pose, made from a configuration, and where to start.
pub(crate) struct Goal {
    pub(crate) base_from_target: Isometry3<f64>,
    pub(crate) seed: Vec<f64>,
}

/// Poses of uniformly drawn configurations, with seeds drawn independently of them.
pub(crate) fn goals(subject: &Subject, count: usize) -> Vec<Goal> {
    let mut random = Random(7);
    (0..count)
        .map(|_| Goal {
            base_from_target: (subject.forward)(&subject.configuration(&mut random)),
            seed: subject.configuration(&mut random),
        })
        .collect()
}

/// Adds the first `count` goals to the peers' job.
pub(crate) fn ask(job: &mut RobotJob, subject: &Subject, goals: &[Goal], count: usize) {
    job.tasks = tasks(subject).into_iter().map(task_name).collect();
    job.goals = goals
        .iter()
        .take(count)
        .map(|goal| GoalJob { seed: goal.seed.clone(), pose: pose_numbers(&goal.base_from_target) })
        .collect();
}

/// A five-joint arm is asked for position and axis, and also for the whole pose: the goals are made by its
/// own forward kinematics, so they can be had.
fn tasks(subject: &Subject) -> Vec<Task> {
    if subject.task() == Task::Pose { vec![Task::Pose] } else { vec![subject.task(), Task::Pose] }
}

/// A solver's answers to the first goals of one robot and task.
struct Run {
    solver: String,
    note: String,
    q: Vec<Vec<f64>>,
    micros: Vec<f64>,
}

impl Run {
    /// Solves each goal with `solve`, after a few to warm up.
    fn of(solver: &str, note: &str, goals: &[Goal], mut solve: impl FnMut(&Goal) -> Vec<f64>) -> Self {
        for goal in goals.iter().take(100) {
            std::hint::black_box(solve(goal));
        }
        let (q, micros) = goals.iter().map(|goal| timed(|| solve(goal))).unzip();
        Self { solver: solver.to_owned(), note: note.to_owned(), q, micros }
    }

    /// Share of the goals that are met within the limits, judged by the neutral forward kinematics.
    fn success(&self, subject: &Subject, task: Task, goals: &[Goal]) -> f64 {
        let good = self.q.iter().zip(goals).filter(|(q, goal)| {
            let (position_m, rotation_rad) = subject.errors(task, q, &goal.base_from_target);
            position_m <= POSITION_M && rotation_rad <= ROTATION_RAD && subject.within_limits(q)
        });
        good.count() as f64 / self.q.len().max(1) as f64
    }

    /// How far answers lie from their seeds: the mean over the goals of the largest joint's way, rad.
    fn way_rad(&self, goals: &[Goal]) -> f64 {
        let ways = self.q.iter().zip(goals).map(|(q, goal)| {
            q.iter().zip(&goal.seed).map(|(q, seed)| (q - seed).abs()).fold(0.0_f64, f64::max)
        });
        ways.sum::<f64>() / self.q.len().max(1) as f64
    }
}

/// Prints the section.
pub(crate) fn report(
    workshop: &Workshop,
    subjects: &[Subject],
    all_goals: &[Vec<Goal>],
    answers: &AllAnswers,
    size: &Size,
    verdicts: &mut Verdicts,
) -> Result<(), Failure> {
    println!("\nA. Global IK from a random seed to a reachable pose");
    println!(
        "   solved: {POSITION_M:e} m, {ROTATION_RAD:e} rad and within limits by a neutral FK; µs over all solves; \
         way: mean of the largest joint's way from the seed\n"
    );
    let mut table = Table::new(&[
        "robot, task",
        "solver",
        "n",
        "solved %",
        "mean µs",
        "p50",
        "p99",
        "x ours",
        "way rad",
        "note",
    ]);
    let mut judged = Vec::new();
    for (subject, goals) in subjects.iter().zip(all_goals) {
        for task in tasks(subject) {
            let runs = runs(workshop, subject, task, goals, answers, size)?;
            let ours = Micros::of(&runs[0].micros).mean;
            for run in &runs {
                let micros = Micros::of(&run.micros);
                table.row([
                    format!("{}, {}", subject.robot.name, task_name(task)),
                    run.solver.clone(),
                    run.q.len().to_string(),
                    format!("{:.3}", 100.0 * run.success(subject, task, goals)),
                    figure(micros.mean),
                    figure(micros.p50),
                    figure(micros.p99),
                    figure(micros.mean / ours),
                    figure(run.way_rad(goals)),
                    run.note.clone(),
                ]);
            }
            if task == subject.task() {
                judged.push((subject, runs));
            }
        }
    }
    table.print();
    println!();
    for ((subject, runs), goals) in judged.iter().zip(all_goals) {
        judge(subject, runs, goals, verdicts);
    }
    unreachable(subjects, all_goals);
    Ok(())
}

/// Ours first, our nearest-to-seed mode second, then the peers.
fn runs(
    workshop: &Workshop,
    subject: &Subject,
    task: Task,
    goals: &[Goal],
    answers: &AllAnswers,
    size: &Size,
) -> Result<Vec<Run>, Failure> {
    let ours = |name: &str, prefer: Prefer, note: &str| {
        let options = IkOptions { task, prefer, ..IkOptions::default() };
        Run::of(name, note, goals, |goal| {
            ik::solve(&subject.chain, &goal.base_from_target, &goal.seed, &options).q.to_vec()
        })
    };
    let mut runs = vec![
        ours("Reflexarc", Prefer::First, "default options"),
        ours("Reflexarc, nearest to seed", Prefer::NearestToSeed, "Prefer::NearestToSeed"),
    ];
    // `k` takes its constraints along the axes of the base, so it cannot be asked for the tool's axis.
    if task == Task::Pose && subject.chain.dof() >= 6 {
        runs.push(with_k(workshop, subject, &goals[..size.slow_goals.min(goals.len())])?);
    }
    for answer in answers.tools.iter().flat_map(|tool| &tool.ik) {
        if answer.robot == subject.robot.name && answer.task == task_name(task) {
            runs.push(Run {
                solver: answer.solver.clone(),
                note: answer.note.clone(),
                q: answer.q.clone(),
                micros: answer.micros.clone(),
            });
        }
    }
    Ok(runs)
}

/// The crate `k` with random restarts, in this process.
fn with_k(workshop: &Workshop, subject: &Subject, goals: &[Goal]) -> Result<Run, Failure> {
    let tree = k::Chain::<f64>::from_urdf_file(workshop.urdf(subject)?)?;
    let end = tree.find_link(subject.robot.tip).ok_or("k does not find the tip")?;
    let arm = k::SerialChain::from_end(end);
    let solver = k::JacobianIkSolver::new(POSITION_M, ROTATION_RAD, 0.5, 100);
    let mut random = Random(11);
    Ok(Run::of("k 0.32", "gain 0.5, 100 steps, up to 100 restarts", goals, |goal| {
        let [x, y, z, i, j, l, w] = pose_numbers(&goal.base_from_target);
        let turn = k::UnitQuaternion::new_normalize(k::nalgebra::Quaternion::new(w, i, j, l));
        let target = k::Isometry3::from_parts(k::Translation3::new(x, y, z), turn);
        let mut start = goal.seed.clone();
        for _ in 0..=100 {
            if arm.set_joint_positions(&start).is_ok() && solver.solve(&arm, &target).is_ok() {
                break;
            }
            start = subject.configuration(&mut random);
        }
        arm.joint_positions()
    }))
}

fn judge(subject: &Subject, runs: &[Run], goals: &[Goal], verdicts: &mut Verdicts) {
    let (ours, peers) = (&runs[0], &runs[2..]);
    let name = format!("{}, {}", subject.robot.name, task_name(subject.task()));
    let success = 100.0 * ours.success(subject, subject.task(), goals);
    let mean = Micros::of(&ours.micros).mean;
    verdicts.say(
        Some(success >= 99.99),
        format!("{name}: {success:.3} % of {} solved, at least 99.99 %", ours.q.len()),
    );
    verdicts.say(Some(mean <= 20.0), format!("{name}: mean {} µs, at most 20 µs", figure(mean)));
    let fastest = peers
        .iter()
        .map(|run| (Micros::of(&run.micros).mean, run))
        .filter(|(_, run)| !run.micros.is_empty())
        .min_by(|a, b| a.0.total_cmp(&b.0));
    match fastest {
        Some((peer, run)) => verdicts.say(
            Some(mean <= 0.1 * peer),
            format!(
                "{name}: mean {} µs, at most 1/10 of the fastest peer's {} µs ({}, which solves {:.2} %): 1/{:.1}",
                figure(mean),
                figure(peer),
                run.solver,
                100.0 * run.success(subject, subject.task(), goals),
                peer / mean
            ),
        ),
        None => verdicts.say(None, format!("{name}: mean at most 1/10 of the fastest peer's: no peer was measured")),
    }
}

/// Poses beyond the arm's reach: how long the search takes to say so.
fn unreachable(subjects: &[Subject], all_goals: &[Vec<Goal>]) {
    println!("\n   Out of reach: 200 goals moved to 1.3 times the arm's reach");
    for (subject, goals) in subjects.iter().zip(all_goals) {
        let reach_m =
            goals.iter().map(|goal| goal.base_from_target.translation.vector.norm()).fold(0.0, f64::max);
        let far: Vec<Goal> = goals
            .iter()
            .take(200)
            .map(|goal| {
                let away = UnitVector3::try_new(goal.base_from_target.translation.vector, 1e-6);
                let away = away.unwrap_or_else(Vector3::x_axis).into_inner() * (1.3 * reach_m);
                let base_from_target =
                    Isometry3::from_parts(Translation3::from(away), goal.base_from_target.rotation);
                Goal { base_from_target, seed: goal.seed.clone() }
            })
            .collect();
        let options = IkOptions { task: subject.task(), ..IkOptions::default() };
        let (said, micros): (Vec<_>, Vec<f64>) = far
            .iter()
            .map(|goal| timed(|| ik::solve(&subject.chain, &goal.base_from_target, &goal.seed, &options)))
            .unzip();
        let flagged = said.iter().filter(|solution| !solution.reachable).count();
        let micros = Micros::of(&micros);
        println!(
            "   {}: {flagged} of {} called unreachable, mean {} µs (p99 {}); the first: \"{}\"",
            subject.robot.name,
            far.len(),
            figure(micros.mean),
            figure(micros.p99),
            said.first().map_or_else(String::new, ToString::to_string)
        );
    }
}
