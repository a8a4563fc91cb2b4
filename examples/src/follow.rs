//! Following a Cartesian path with the tracker, and a picture of how it went.

use std::f64::consts::{PI, TAU};

use anyhow::{Context, Result, anyhow, bail};
use image::RgbImage;
use nalgebra::{Isometry3, Translation3, Vector3};
use reflexarc_kinematics::track::{Tracker, TrackerConfig};
use reflexarc_kinematics::{Joints, Task};
use serde::Deserialize;

use crate::arm::Arm;
use crate::arm_view::{self, Scene, slides};
use crate::batch::{place, pose};
use crate::canvas::{dashes, polyline};
use crate::lettering::{block, text_width, write};

/// What a radian of turn counts as along a path, m.
const LEVER_M: f64 = 0.3;
/// Highest over mean speed of the motion along a path, which begins and ends at rest.
const PEAK_OVER_MEAN: f64 = 1.875;
/// Longest path, ticks.
const MOST_TICKS: f64 = 1e6;

/// A waypoint in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Waypoint {
    pos: [f64; 3],
    quat: Option<[f64; 4]>,
}

/// The corners of a path from `here` on. `what` is `line` (there and back again along the base's y), `circle`
/// (about a point above, in the base's y-z plane), or the path of a file with one JSON object
/// `{"pos": [x, y, z], "quat": [x, y, z, w]}` per line; without `quat` the orientation of `here` stays.
///
/// # Errors
/// When the file cannot be read, or a line in it; the message names the line and what was expected.
pub fn corners(what: &str, here: &Isometry3<f64>) -> Result<Vec<Isometry3<f64>>> {
    let size_m = here.translation.vector.norm();
    let moved = |x_m: f64, y_m: f64, z_m: f64| {
        let to = here.translation.vector + Vector3::new(x_m, y_m, z_m);
        Isometry3::from_parts(Translation3::from(to), here.rotation)
    };
    let mut corners = vec![*here];
    match what {
        "line" => corners.extend([0.2, -0.2, 0.0].map(|share| moved(0.0, share * size_m, 0.0))),
        "circle" => {
            let radius_m = 0.12 * size_m;
            corners.extend((1..=180).map(|step| {
                let (sin, cos) = (TAU * f64::from(step) / 180.0).sin_cos();
                moved(0.0, radius_m * sin, radius_m * (1.0 - cos))
            }));
        }
        file => {
            let text = std::fs::read_to_string(file).with_context(|| {
                format!("cannot read `{file}`: expected line, circle or a file of waypoints")
            })?;
            for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
                let waypoint: Waypoint = serde_json::from_str(line).map_err(|why| {
                    anyhow!(
                        r#"{file}, line {number}: expected {{"pos": [x, y, z], "quat": [x, y, z, w]}}: {}"#,
                        place(&why)
                    )
                })?;
                let mut corner = pose(waypoint.pos, waypoint.quat.or(Some([0.0, 0.0, 0.0, 1.0])), Task::Pose)
                    .with_context(|| format!("{file}, line {number}"))?;
                if waypoint.quat.is_none() {
                    corner.rotation = here.rotation;
                }
                corners.push(corner);
            }
        }
    }
    Ok(corners)
}

/// The pose wanted at the end of each tick: along straight lines between the corners, at most at `speed_m_s`
/// (0.3 m count as a radian of turn), with rest at both ends and at each sharp corner.
///
/// # Errors
/// When the path has no length, or takes more than a million ticks.
pub fn timed(corners: &[Isometry3<f64>], speed_m_s: f64, rate_hz: u32) -> Result<Vec<Isometry3<f64>>> {
    let mut poses = Vec::new();
    let mut begin = 0;
    for at in 1..corners.len() {
        if at + 1 == corners.len() || is_sharp(&corners[at - 1], &corners[at], &corners[at + 1]) {
            poses.extend(Leg::new(&corners[begin..=at]).timed(speed_m_s, rate_hz)?);
            begin = at;
        }
    }
    if poses.is_empty() || poses.len() as f64 > MOST_TICKS {
        bail!("the path takes {} ticks at {speed_m_s} m/s, expected 1 to {MOST_TICKS}", poses.len());
    }
    Ok(poses)
}

/// Whether the way turns by more than 20 degrees, or stands still.
fn is_sharp(before: &Isometry3<f64>, corner: &Isometry3<f64>, after: &Isometry3<f64>) -> bool {
    let come = corner.translation.vector - before.translation.vector;
    let go = after.translation.vector - corner.translation.vector;
    let still = come.norm() < 1e-9 || go.norm() < 1e-9;
    still || come.angle(&go) > 20_f64.to_radians()
}

/// A stretch without a sharp corner.
struct Leg<'a> {
    corners: &'a [Isometry3<f64>],
    /// How far along the leg each corner is, m.
    at_m: Vec<f64>,
}

impl<'a> Leg<'a> {
    fn new(corners: &'a [Isometry3<f64>]) -> Self {
        let mut at_m = vec![0.0];
        let mut total_m = 0.0;
        for pair in corners.windows(2) {
            let way_m = (pair[1].translation.vector - pair[0].translation.vector).norm();
            total_m += way_m.max(LEVER_M * pair[0].rotation.angle_to(&pair[1].rotation));
            at_m.push(total_m);
        }
        Self { corners, at_m }
    }

    /// From rest to rest with the least jerk.
    fn timed(&self, speed_m_s: f64, rate_hz: u32) -> Result<Vec<Isometry3<f64>>> {
        let total_m = self.at_m.last().copied().unwrap_or(0.0);
        let ticks = (PEAK_OVER_MEAN * total_m / speed_m_s * f64::from(rate_hz)).ceil();
        if ticks.is_nan() || ticks > MOST_TICKS {
            bail!("{total_m} m at {speed_m_s} m/s take {ticks} ticks, expected at most {MOST_TICKS}");
        }
        let share_at = |tick: u32| f64::from(tick) / ticks;
        let smooth = |share: f64| share.powi(3) * (10.0 - 15.0 * share + 6.0 * share * share);
        Ok((1..=ticks as u32).map(|tick| self.at(total_m * smooth(share_at(tick)))).collect())
    }

    fn at(&self, along_m: f64) -> Isometry3<f64> {
        let passed = self.at_m.partition_point(|at_m| *at_m <= along_m);
        let segment = passed.saturating_sub(1).min(self.corners.len().saturating_sub(2));
        let (from, to) = (&self.corners[segment], &self.corners[segment + 1]);
        let span_m = self.at_m[segment + 1] - self.at_m[segment];
        let within =
            if span_m > 0.0 { ((along_m - self.at_m[segment]) / span_m).clamp(0.0, 1.0) } else { 1.0 };
        // Where two orientations are opposite there is no shortest turn: then the nearer end counts.
        from.try_lerp_slerp(to, within, 1e-9).unwrap_or(if within < 0.5 { *from } else { *to })
    }
}

/// How the arm went along a path.
#[derive(Debug, Clone)]
pub struct Followed {
    /// The tracker's settings.
    pub config: TrackerConfig,
    /// The poses that were wanted, per tick.
    pub wanted: Vec<Isometry3<f64>>,
    /// Joint positions at the end of each tick.
    pub q: Vec<Joints>,
    /// Joint velocities during each tick.
    pub qd: Vec<Joints>,
    /// Distance from what was wanted at the end of each tick, m.
    pub error_m: Vec<f64>,
    /// The same for rotation, as far as the task counts it, rad.
    pub error_rad: Vec<f64>,
}

impl Followed {
    /// The largest errors: m and rad.
    #[must_use]
    pub fn largest(&self) -> (f64, f64) {
        let largest = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
        (largest(&self.error_m), largest(&self.error_rad))
    }
}

/// Follows the poses from `start`, one tick each.
#[must_use]
pub fn follow(arm: &Arm, start: &[f64], wanted: Vec<Isometry3<f64>>, rate_hz: u32, task: Task) -> Followed {
    let config = TrackerConfig {
        task,
        dt_s: 1.0 / f64::from(rate_hz),
        follow_target_velocity: true,
        ..TrackerConfig::default()
    };
    let mut tracker = Tracker::new(arm.chain.clone(), config, start);
    tracker.reset(start);
    let mut at = arm.chain.clamp(start);
    let mut followed = Followed {
        config,
        q: Vec::new(),
        qd: Vec::new(),
        error_m: Vec::new(),
        error_rad: Vec::new(),
        wanted,
    };
    for target in &followed.wanted {
        let step = tracker.step(&at, target);
        at = step.q_next;
        let tip = arm.chain.base_from_tip(&at);
        followed.error_m.push((tip.translation.vector - target.translation.vector).norm());
        followed.error_rad.push(match task {
            Task::Pose => tip.rotation.angle_to(&target.rotation),
            Task::PositionAndAxis => (tip.rotation * Vector3::z()).angle(&(target.rotation * Vector3::z())),
            Task::Position => 0.0,
        });
        followed.q.push(at);
        followed.qd.push(step.qd);
    }
    followed
}

const GAP: u32 = 16;
/// Height of a plot, pixels.
const PLOT: u32 = 76;
/// Of it, the upper part with the words.
const WORDS: u32 = 20;
const PANEL: [u8; 3] = [255; 3];
const INK: [u8; 3] = [38, 44, 56];
const FAINT: [u8; 3] = [140, 148, 162];
const LIMIT: [u8; 3] = [208, 52, 48];
const CURVE: [u8; 3] = [40, 96, 214];
const ERROR: [u8; 3] = [214, 92, 30];

/// Draws the arm with both paths, and below it each joint's position and velocity against its limits, and the
/// errors.
#[must_use]
pub fn draw(arm: &Arm, start: &[f64], followed: &Followed, title: &str) -> RgbImage {
    let scene = Scene {
        title: title.to_owned(),
        base_from_target: followed.wanted.last().copied(),
        reached: true,
        from: Some(start.to_vec()),
        wanted_m: followed.wanted.iter().map(|pose| pose.translation.vector).collect(),
        followed_m: followed.q.iter().map(|q| arm.chain.base_from_tip(q).translation.vector).collect(),
    };
    let last = followed.q.last().map_or_else(|| start.to_vec(), |q| q.to_vec());
    let view = arm_view::draw(arm, &last, &scene);
    let rows = u32::try_from(arm.chain.dof()).unwrap_or(0) + 1;
    let height = view.height() + rows * (PLOT + GAP / 2) + GAP;
    let mut picture = RgbImage::from_pixel(view.width(), height, *view.get_pixel(0, 0));
    image::imageops::replace(&mut picture, &view, 0, 0);
    let width = (view.width() - 3 * GAP) / 2;
    let seconds = followed.q.len() as f64 * followed.config.dt_s;
    let mut plot = |row: u32, column: u32, name: &str, values: &[f64], range: [f64; 2], limits: &[f64]| {
        let corner = [GAP + column * (width + GAP), view.height() + row * (PLOT + GAP / 2)];
        Plot { corner, width, range }.draw(&mut picture, name, values, limits);
    };
    for (row, (joint, name)) in (0_u32..).zip(arm.chain.limits().iter().zip(arm.chain.joint_names())) {
        let index = row as usize;
        let (unit, factor) = if slides(arm, index) { ("mm", 1e3) } else { ("deg", 180.0 / PI) };
        let of =
            |values: &[Joints]| -> Vec<f64> { values.iter().map(|value| value[index] * factor).collect() };
        let (q, qd) = (of(&followed.q), of(&followed.qd));
        let ends = [joint.lower_rad * factor, joint.upper_rad * factor];
        let bounded = ends.iter().all(|end| end.is_finite());
        plot(row, 0, &format!("{name}, {unit}"), &q, if bounded { ends } else { around(&q) }, &ends);
        let top = joint.velocity_rad_s * followed.config.velocity_scale * factor;
        let range = if top.is_finite() { [-top, top] } else { around(&qd) };
        plot(row, 1, &format!("{name}, {unit}/s"), &qd, range, &[-top, top]);
    }
    let millis = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value * 1e3).collect() };
    let (error_mm, error_mrad) = (millis(&followed.error_m), millis(&followed.error_rad));
    plot(
        rows - 1,
        0,
        &format!("position error, mm, over {seconds:.1} s"),
        &error_mm,
        from_zero(&error_mm),
        &[],
    );
    plot(
        rows - 1,
        1,
        &format!("rotation error, mrad, over {seconds:.1} s"),
        &error_mrad,
        from_zero(&error_mrad),
        &[],
    );
    picture
}

fn around(values: &[f64]) -> [f64; 2] {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if high > low { [low, high] } else { [-1.0, 1.0] }
}

fn from_zero(values: &[f64]) -> [f64; 2] {
    [0.0, around(values)[1].max(1e-3)]
}

/// A small chart, all of the time from left to right.
struct Plot {
    corner: [u32; 2],
    width: u32,
    range: [f64; 2],
}

impl Plot {
    fn draw(&self, picture: &mut RgbImage, name: &str, values: &[f64], limits: &[f64]) {
        let [left, top] = self.corner;
        block(picture, left, top, self.width, PLOT, PANEL);
        let [low, high] = self.range;
        let y = |value: f64| {
            let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
            f64::from(top + PLOT - 6) - share * f64::from(PLOT - 6 - WORDS)
        };
        for limit in limits.iter().filter(|limit| limit.is_finite()) {
            dashes(
                picture,
                [f64::from(left), y(*limit)],
                [f64::from(left + self.width), y(*limit)],
                0.6,
                LIMIT,
            );
        }
        let last = values.len().saturating_sub(1).max(1);
        // No more points than pixels can show.
        let step = (values.len() / (2 * self.width as usize)).max(1);
        let points: Vec<[f64; 2]> = (0..values.len())
            .step_by(step)
            .map(|index| {
                [f64::from(left) + index as f64 / last as f64 * f64::from(self.width), y(values[index])]
            })
            .collect();
        polyline(picture, &points, 0.9, if limits.is_empty() { ERROR } else { CURVE });
        write(picture, left + 6, top + 7, 1, INK, name);
        let [lowest, highest] = around(values);
        let said = if limits.is_empty() {
            format!("max {highest:.3}")
        } else {
            format!("{lowest:.1} to {highest:.1}")
        };
        write(picture, left + self.width - 6 - text_width(&said, 1), top + 7, 1, FAINT, &said);
    }
}
