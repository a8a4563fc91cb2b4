//! Inverse kinematics for any arm: a URDF and a pose in, joint angles and a picture out.
//!
//! `cargo run --release --example ik -- --help` teaches by examples.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that answers")]

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use image::RgbImage;
use nalgebra::{Isometry3, UnitQuaternion};
use reflexarc_examples::arm::Arm;
use reflexarc_examples::arm_view::{self, Scene, slides};
use reflexarc_examples::{batch, follow};
use reflexarc_kinematics::Task;
use reflexarc_kinematics::ik::{self, IkOptions, IkSolution, Prefer};

/// Exit code for "understood, and out of reach".
const UNREACHABLE: u8 = 2;
/// Solves to time.
const TIMED: usize = 101;

/// Which part of the pose counts.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Position and orientation.
    Pose,
    /// Position, and where the tip's z axis points: for arms with five joints.
    Axis,
    /// Position alone.
    Position,
}

/// Finds joint positions for a pose of an arm's tip, or follows a path, or answers a file of poses.
#[derive(Parser)]
#[command(after_help = "\
Without a pose it says where the tip is at the seed. Without --quat and --rpy the tip keeps the orientation that
it has at the seed.

Batch: each line in is {\"seed\": [...], \"pos\": [x, y, z], \"quat\": [x, y, z, w]}; the seed may be left out
(mid-range). Each line out, in the same order, is {\"q\": [...], \"pos_err_m\": ..., \"rot_err_rad\": ...,
\"micros\": ..., \"reachable\": ...}: the closest configuration where the pose is out of reach. A line that cannot
be read is answered with {\"error\": \"line 3: ...\"}, and the exit code is then 1.

Exit codes: 0 reached, or batch answered; 2 out of reach; 1 anything else.

Examples:
  ik --pos 0.5,0.1,0.3                               the built-in arm, tool pointing as at home
  ik --pos 0.5,0.1,0.3 --rpy 180,0,45                roll, pitch, yaw in degrees
  ik --pos 0.5,0.1,0.3 --solutions 6                 several distinct solutions, the nearest to the seed first
  ik --pos 2,0,0.3                                   out of reach: the closest configuration, exit code 2
  ik --urdf my_arm.urdf --base base_link --tip tool0 --pos 0.3,0,0.4 --quat 0,1,0,0
  ik --urdf arm5 --task axis --pos 0.22,0.05,0.08    five joints: position, and where the tool points
  ik --track circle                                  draws the path and each joint against its limits
  ik --batch poses.jsonl --out answers.jsonl         or --batch - to read from standard input")]
struct Arguments {
    /// A URDF file, or a built-in robot: arm7, arm5.
    #[arg(long, default_value = "arm7")]
    urdf: String,
    /// Link at which the chain begins. Default: the root.
    #[arg(long)]
    base: Option<String>,
    /// Link at which the chain ends. Default: the only leaf; the tool of a built-in robot.
    #[arg(long)]
    tip: Option<String>,
    /// Where the tip shall be, in the base frame, m: x,y,z.
    #[arg(long, allow_hyphen_values = true)]
    pos: Option<String>,
    /// Its orientation: x,y,z,w.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "rpy")]
    quat: Option<String>,
    /// Its orientation as roll,pitch,yaw in degrees (about the fixed axes x, y, z in turn).
    #[arg(long, allow_hyphen_values = true)]
    rpy: Option<String>,
    /// Where to start, rad: q1,q2,... Default: the home of a built-in robot, else mid-range.
    #[arg(long, allow_hyphen_values = true)]
    seed: Option<String>,
    /// Which part of the pose counts.
    #[arg(long, value_enum, default_value = "pose")]
    task: Part,
    /// Searches on for the solution nearest to the seed.
    #[arg(long)]
    nearest: bool,
    /// Lists up to so many distinct solutions.
    #[arg(long, default_value_t = 1)]
    solutions: usize,
    /// Follows a path from the seed: line, circle, or a file with {"pos": [x, y, z], "quat": [x, y, z, w]} per line.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["batch", "pos"])]
    track: Option<String>,
    /// Highest speed along the path, m/s.
    #[arg(long, default_value_t = 0.2)]
    speed: f64,
    /// Ticks per second along the path.
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    rate: u32,
    /// Answers each line of a file, or of standard input (-).
    #[arg(long, value_name = "FILE", conflicts_with = "pos")]
    batch: Option<PathBuf>,
    /// Writes the batch's answers here instead of to standard output.
    #[arg(long, value_name = "FILE", requires = "batch")]
    out: Option<PathBuf>,
    /// Writes the picture here.
    #[arg(long, default_value = "out/ik.png")]
    picture: PathBuf,
}

impl Arguments {
    fn options(&self) -> IkOptions {
        IkOptions {
            task: match self.task {
                Part::Pose => Task::Pose,
                Part::Axis => Task::PositionAndAxis,
                Part::Position => Task::Position,
            },
            prefer: if self.nearest { Prefer::NearestToSeed } else { Prefer::First },
            ..IkOptions::default()
        }
    }

    fn seed(&self, arm: &Arm) -> Result<Vec<f64>> {
        let Some(text) = &self.seed else {
            return Ok(arm.home_rad.clone());
        };
        let seed = numbers("--seed", text)?;
        if seed.len() != arm.chain.dof() {
            let names = arm.chain.joint_names().join(", ");
            bail!("--seed has {} numbers, expected {} ({names})", seed.len(), arm.chain.dof());
        }
        Ok(seed)
    }

    /// The pose that was asked for; `here` lends it what was not said.
    fn target(&self, here: &Isometry3<f64>) -> Result<Option<Isometry3<f64>>> {
        let Some(pos) = &self.pos else {
            if self.quat.is_some() || self.rpy.is_some() {
                bail!("an orientation needs a position too: --pos x,y,z");
            }
            return Ok(None);
        };
        let quat = match (&self.quat, &self.rpy) {
            (Some(quat), _) => exactly("--quat", quat)?,
            (None, Some(rpy)) => {
                let [roll, pitch, yaw] = exactly::<3>("--rpy", rpy)?.map(f64::to_radians);
                UnitQuaternion::from_euler_angles(roll, pitch, yaw).coords.into()
            }
            (None, None) => here.rotation.coords.into(),
        };
        let pose = batch::pose(exactly("--pos", pos)?, Some(quat), self.options().task);
        pose.context("the pose is refused").map(Some)
    }
}

fn numbers(option: &str, text: &str) -> Result<Vec<f64>> {
    let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
    parts
        .map(|part| match part.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => bail!("{option} has `{part}`, expected finite numbers with commas between them"),
        })
        .collect()
}

fn exactly<const N: usize>(option: &str, text: &str) -> Result<[f64; N]> {
    let found = numbers(option, text)?;
    let count = found.len();
    found.try_into().map_err(|_| anyhow::anyhow!("{option} has {count} numbers, expected {N}"))
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Its own exit code would be the one for "out of reach".
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ik: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let arm = Arm::load(&arguments.urdf, arguments.base.as_deref(), arguments.tip.as_deref())?;
    if let Some(questions) = &arguments.batch {
        return run_batch(arguments, &arm, questions);
    }
    let seed = arguments.seed(&arm)?;
    if let Some(path) = &arguments.track {
        return run_track(arguments, &arm, &seed, path);
    }
    println!("{}: {} to {}, {} joints", arm.name, arm.base, arm.tip, arm.chain.dof());
    let here = arm.chain.base_from_tip(&seed);
    match arguments.target(&here)? {
        Some(target) => solve(arguments, &arm, &seed, &target),
        None => {
            println!("at the seed the tip is at\n  {}", words(&here));
            joints(&arm, &seed);
            let title = format!("{}: {} to {}", arm.name, arm.base, arm.tip);
            save(
                &arm_view::draw(&arm, &seed, &Scene { title, reached: true, ..Scene::default() }),
                &arguments.picture,
            )?;
            println!("give a pose with --pos x,y,z; --help has examples");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn solve(arguments: &Arguments, arm: &Arm, seed: &[f64], target: &Isometry3<f64>) -> Result<ExitCode> {
    let options = arguments.options();
    let mut micros: Vec<f64> = (0..TIMED)
        .map(|_| {
            let begin = Instant::now();
            std::hint::black_box(ik::solve(&arm.chain, target, seed, &options));
            begin.elapsed().as_nanos() as f64 * 1e-3
        })
        .collect();
    micros.sort_unstable_by(f64::total_cmp);
    let best = ik::solve(&arm.chain, target, seed, &options);
    println!("target\n  {}", words(target));
    println!(
        "{best}\n  {:.1} µs (median of {TIMED}), {} restarts, {} steps",
        micros[TIMED / 2],
        best.restarts,
        best.iterations
    );
    joints(arm, &best.q);
    if arguments.solutions > 1 {
        others(arm, target, seed, &options, arguments.solutions);
    }
    let title = format!("{}: {}", arm.name, short(&best));
    let scene = Scene {
        title,
        base_from_target: Some(*target),
        reached: best.reachable,
        from: Some(seed.to_vec()),
        ..Scene::default()
    };
    save(&arm_view::draw(arm, &best.q, &scene), &arguments.picture)?;
    Ok(if best.reachable { ExitCode::SUCCESS } else { ExitCode::from(UNREACHABLE) })
}

/// For the picture's title.
fn short(solution: &IkSolution) -> String {
    let word = if solution.reachable { "reached" } else { "unreachable, the closest" };
    let (mm, mrad) = (solution.position_error_m * 1e3, solution.rotation_error_rad * 1e3);
    format!("{word}: {mm:.3} mm, {mrad:.3} mrad off")
}

fn others(arm: &Arm, target: &Isometry3<f64>, seed: &[f64], options: &IkOptions, most: usize) {
    let found = ik::solve_distinct(&arm.chain, target, seed, options, most);
    println!(
        "{} distinct solutions, the nearest to the seed first; way: of the largest joint, rad",
        found.len()
    );
    for solution in &found {
        let way = solution.q.iter().zip(seed).map(|(q, seed)| (q - seed).abs()).fold(0.0, f64::max);
        let q: Vec<String> = solution.q.iter().map(|q| format!("{q:8.4}")).collect();
        println!("  [{}]  way {way:.2}", q.join(","));
    }
}

fn run_track(arguments: &Arguments, arm: &Arm, seed: &[f64], path: &str) -> Result<ExitCode> {
    if !(arguments.speed.is_finite() && arguments.speed > 0.0) {
        bail!("--speed is {}, expected a finite number above 0", arguments.speed);
    }
    let here = arm.chain.base_from_tip(seed);
    let wanted = follow::timed(&follow::corners(path, &here)?, arguments.speed, arguments.rate)?;
    let ticks = wanted.len();
    let followed = follow::follow(arm, seed, wanted, arguments.rate, arguments.options().task);
    let (error_m, error_rad) = followed.largest();
    println!("{}: {} to {}, {path} at {} Hz", arm.name, arm.base, arm.tip, arguments.rate);
    println!(
        "{ticks} ticks, {:.2} s; largest error {:.3} mm and {:.3} mrad",
        ticks as f64 * followed.config.dt_s,
        error_m * 1e3,
        error_rad * 1e3
    );
    println!("  {:<22} {:>10} {:>10} {:>12}", "joint", "lowest", "highest", "speed");
    for (index, (name, limits)) in arm.chain.joint_names().iter().zip(arm.chain.limits()).enumerate() {
        let (unit, factor) = unit(arm, index);
        let of = |pick: fn(f64, f64) -> f64, start: f64| {
            followed.q.iter().map(|q| q[index]).fold(start, pick) * factor
        };
        let speed = followed.qd.iter().map(|qd| qd[index].abs()).fold(0.0, f64::max);
        println!(
            "  {name:<22} {:>10.1} {:>10.1} {:>8.1} {unit}/s, {:.0} % of its limit",
            of(f64::min, f64::INFINITY),
            of(f64::max, f64::NEG_INFINITY),
            speed * factor,
            100.0 * speed / limits.velocity_rad_s
        );
    }
    let title =
        format!("{}, {path}: largest error {:.2} mm, {:.2} mrad", arm.name, error_m * 1e3, error_rad * 1e3);
    save(&follow::draw(arm, seed, &followed, &title), &arguments.picture)?;
    Ok(ExitCode::SUCCESS)
}

fn run_batch(arguments: &Arguments, arm: &Arm, questions: &Path) -> Result<ExitCode> {
    let input: Box<dyn Read> = if questions.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(questions).with_context(|| format!("cannot read {}", questions.display()))?)
    };
    let output: Box<dyn Write> = match &arguments.out {
        Some(path) => {
            make_folder(path)?;
            Box::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => Box::new(std::io::stdout().lock()),
    };
    let tally = batch::run(&arm.chain, &arguments.options(), BufReader::new(input), BufWriter::new(output))?;
    eprintln!(
        "{} answered, {} within reach, {} malformed",
        tally.answered,
        tally.reachable,
        tally.malformed.len()
    );
    for error in &tally.malformed {
        eprintln!("ik: {error}");
    }
    Ok(if tally.malformed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A pose as position, quaternion and angles.
fn words(pose: &Isometry3<f64>) -> String {
    let (p, c) = (pose.translation.vector, pose.rotation.coords);
    let (roll, pitch, yaw) = pose.rotation.euler_angles();
    format!(
        "pos {:.4},{:.4},{:.4} m   quat {:.5},{:.5},{:.5},{:.5}   rpy {:.2},{:.2},{:.2} deg",
        p.x,
        p.y,
        p.z,
        c.x,
        c.y,
        c.z,
        c.w,
        degrees(roll),
        degrees(pitch),
        degrees(yaw)
    )
}

/// To two places; adding zero turns a rounded -0.0 into 0.0.
fn degrees(angle_rad: f64) -> f64 {
    (angle_rad.to_degrees() * 100.0).round() / 100.0 + 0.0
}

/// What a joint's position is told in, and what to multiply with.
fn unit(arm: &Arm, joint: usize) -> (&'static str, f64) {
    if slides(arm, joint) { ("mm", 1e3) } else { ("deg", 1_f64.to_degrees()) }
}

fn joints(arm: &Arm, q: &[f64]) {
    println!("  {:<22} {:>10} {:>10}   limits", "joint", "rad (m)", "deg (mm)");
    for (index, (name, limits)) in arm.chain.joint_names().iter().zip(arm.chain.limits()).enumerate() {
        let (unit, factor) = unit(arm, index);
        let value = q.get(index).copied().unwrap_or(f64::NAN);
        let ends = [limits.lower_rad, limits.upper_rad].map(|end| end * factor);
        println!(
            "  {name:<22} {value:>10.5} {:>10.2}   {:.1} to {:.1} {unit}",
            value * factor,
            ends[0],
            ends[1]
        );
    }
}

fn save(picture: &RgbImage, path: &Path) -> Result<()> {
    make_folder(path)?;
    picture.save(path).with_context(|| format!("cannot write {}", path.display()))?;
    println!("picture: {}", path.display());
    Ok(())
}

fn make_folder(path: &Path) -> Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
        }
        None => Ok(()),
    }
}
