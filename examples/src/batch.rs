//! IK by the line: a pose in JSON on each line in, an answer in JSON on each line out.

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use reflexarc_kinematics::ik::{self, IkOptions};
use reflexarc_kinematics::{Chain, Task};
use serde::{Deserialize, Serialize};

/// How far the norm of a quaternion may be from 1; it is normalised.
const NORM_SLACK: f64 = 0.01;
/// Solves before the first line, so that its time is like the others'.
const WARM_UP: usize = 200;

/// One line in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// Where to start; mid-range if missing.
    seed: Option<Vec<f64>>,
    /// x, y, z in the base frame, m.
    pos: [f64; 3],
    /// x, y, z, w; may be missing only where orientation does not count.
    quat: Option<[f64; 4]>,
}

/// One line out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Joint positions, rad (or m): a solution, or the closest configuration.
    pub q: Vec<f64>,
    /// Distance from the target, m.
    pub pos_err_m: f64,
    /// Angle to the target, rad; of the axis alone, or 0, as the task says.
    pub rot_err_rad: f64,
    /// Time of the solve, µs.
    pub micros: f64,
    /// Whether `q` is a solution.
    pub reachable: bool,
}

/// What stands in the place of an answer to a line that cannot be read.
#[derive(Serialize)]
struct Refusal {
    error: String,
}

/// What a batch came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines answered.
    pub answered: usize,
    /// Of these, within reach.
    pub reachable: usize,
    /// What was wrong with each of the other lines.
    pub malformed: Vec<String>,
}

/// Answers every line of `input`, in order; blank lines are passed over. A malformed line is answered with
/// `{"error": …}` and counted.
///
/// # Errors
/// When reading or writing fails.
pub fn run(chain: &Chain, options: &IkOptions, input: impl BufRead, mut output: impl Write) -> Result<Tally> {
    warm_up(chain, options);
    let mut tally = Tally::default();
    for (index, line) in input.split(b'\n').enumerate() {
        let number = index + 1;
        let line = line.with_context(|| format!("cannot read line {number}"))?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match answer(chain, options, &line) {
            Ok(answer) => {
                tally.answered += 1;
                tally.reachable += usize::from(answer.reachable);
                serde_json::to_writer(&mut output, &answer)?;
            }
            Err(why) => {
                let error = format!("line {number}: {why:#}");
                serde_json::to_writer(&mut output, &Refusal { error: error.clone() })?;
                tally.malformed.push(error);
            }
        }
        output.write_all(b"\n").context("cannot write an answer")?;
    }
    output.flush().context("cannot write the last answers")?;
    Ok(tally)
}

fn answer(chain: &Chain, options: &IkOptions, line: &[u8]) -> Result<Answer> {
    let question: Question = serde_json::from_slice(line).map_err(|why| {
        anyhow!(r#"expected {{"seed": […], "pos": [x, y, z], "quat": [x, y, z, w]}}: {}"#, place(&why))
    })?;
    let target = pose(question.pos, question.quat, options.task)?;
    let seed = seed(chain, question.seed)?;
    let begin = Instant::now();
    let solution = std::hint::black_box(ik::solve(chain, &target, &seed, options));
    let micros = begin.elapsed().as_nanos() as f64 * 1e-3;
    Ok(Answer {
        q: solution.q.to_vec(),
        pos_err_m: solution.position_error_m,
        rot_err_rad: solution.rotation_error_rad,
        micros,
        reachable: solution.reachable,
    })
}

/// What is wrong with a line of JSON, and at which column; to its reader the line is always the first.
#[must_use]
pub fn place(why: &serde_json::Error) -> String {
    let words = why.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    format!("{words}, column {}", why.column())
}

/// A pose from numbers: `pos` in m, `quat` as x, y, z, w.
///
/// # Errors
/// When a number is not finite, the quaternion is not of unit length, or it is missing for a task that needs
/// it.
pub fn pose(pos: [f64; 3], quat: Option<[f64; 4]>, task: Task) -> Result<Isometry3<f64>> {
    if !pos.iter().all(|value| value.is_finite()) {
        bail!("`pos` is {pos:?}, expected finite numbers");
    }
    let [x, y, z, w] = match (quat, task) {
        (Some(quat), _) => quat,
        (None, Task::Position) => [0.0, 0.0, 0.0, 1.0],
        (None, _) => bail!("`quat` is missing, expected [x, y, z, w]"),
    };
    let quaternion = Quaternion::new(w, x, y, z);
    let norm = quaternion.norm();
    if norm.is_nan() || (norm - 1.0).abs() > NORM_SLACK {
        bail!("`quat` has norm {norm}, expected 1");
    }
    Ok(Isometry3::from_parts(Translation3::from(pos), UnitQuaternion::new_normalize(quaternion)))
}

/// The seed as given, or mid-range.
fn seed(chain: &Chain, given: Option<Vec<f64>>) -> Result<Vec<f64>> {
    let Some(seed) = given else {
        return Ok(chain.limits().iter().map(|joint| joint.middle()).collect());
    };
    if seed.len() != chain.dof() || !seed.iter().all(|value| value.is_finite()) {
        bail!(
            "`seed` is {seed:?}, expected {} finite numbers ({})",
            chain.dof(),
            chain.joint_names().join(", ")
        );
    }
    Ok(seed)
}

fn warm_up(chain: &Chain, options: &IkOptions) {
    let middle: Vec<f64> = chain.limits().iter().map(|joint| joint.middle()).collect();
    let away: Vec<f64> = middle.iter().map(|q| q + 0.3).collect();
    let target = chain.base_from_tip(&away);
    for _ in 0..WARM_UP {
        std::hint::black_box(ik::solve(chain, &target, &middle, options));
    }
}
