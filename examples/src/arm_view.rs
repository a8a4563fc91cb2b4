//! A picture of an arm: from the front, from the side, and every joint between its limits.

use image::{Rgb, RgbImage};
use nalgebra::{Isometry3, Vector3};

use crate::arm::Arm;
use crate::canvas::{Point, capsule, dashes, disc, polyline};
use crate::lettering::{block, text_width, write};

/// Side of a view, pixels.
const SIDE: u32 = 440;
/// Around and between the panels, pixels.
const GAP: u32 = 16;
/// Height of the title's band, pixels.
const HEAD: u32 = 40;
/// Width of the panel with the joints, pixels.
const BARS: u32 = 380;
/// Width of the whole picture, pixels.
pub const WIDTH: u32 = 4 * GAP + 2 * SIDE + BARS;
/// Height of the whole picture, pixels.
pub const HEIGHT: u32 = HEAD + SIDE + GAP;

const PAPER: [u8; 3] = [246, 247, 249];
const PANEL: [u8; 3] = [255; 3];
const GRID: [u8; 3] = [229, 232, 237];
const INK: [u8; 3] = [38, 44, 56];
const FAINT: [u8; 3] = [140, 148, 162];
const LINK: [u8; 3] = [92, 116, 158];
const TOOL: [u8; 3] = [232, 138, 44];
const GHOST: [u8; 3] = [212, 217, 226];
const WRONG: [u8; 3] = [208, 52, 48];
const WANTED: [u8; 3] = [90, 170, 96];
const FOLLOWED: [u8; 3] = [214, 92, 30];
/// x, y and z of a frame.
const AXES: [[u8; 3]; 3] = [[214, 48, 49], [46, 158, 75], [40, 96, 214]];

/// What to show besides the arm.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// In the band at the top; letters of the small alphabet in `lettering`.
    pub title: String,
    /// Where the tip should be.
    pub base_from_target: Option<Isometry3<f64>>,
    /// Whether the tip is there; if not, a dashed line leads to the target.
    pub reached: bool,
    /// Another configuration, drawn faintly: where the arm came from.
    pub from: Option<Vec<f64>>,
    /// A path as wanted, m.
    pub wanted_m: Vec<Vector3<f64>>,
    /// A path as followed, m.
    pub followed_m: Vec<Vector3<f64>>,
}

/// Where one looks from.
#[derive(Clone, Copy)]
enum View {
    /// Facing the arm: its left (y) is to the right.
    Front,
    /// From its right side: its front (x) is to the right.
    Side,
}

impl View {
    /// To the right, upwards, and towards the one who looks.
    fn seen(self, point: &Vector3<f64>) -> [f64; 3] {
        match self {
            Self::Front => [point.y, point.z, point.x],
            Self::Side => [point.x, point.z, -point.y],
        }
    }
}

/// Origins of the links from base to tip, in the base frame.
fn origins(arm: &Arm, q: &[f64]) -> Vec<Vector3<f64>> {
    let mut origins = Vec::new();
    arm.chain.visit_links(q, |_, base_from_link| origins.push(base_from_link.translation.vector));
    origins
}

/// Draws the arm at `q`.
#[must_use]
pub fn draw(arm: &Arm, q: &[f64], scene: &Scene) -> RgbImage {
    let mut picture = RgbImage::from_pixel(WIDTH, HEIGHT, Rgb(PAPER));
    write(&mut picture, GAP, 13, 2, INK, &scene.title);
    let links = origins(arm, q);
    let ghost = scene.from.as_ref().map(|from| origins(arm, from)).unwrap_or_default();
    let target = scene.base_from_target.map(|pose| pose.translation.vector);
    let everything: Vec<&Vector3<f64>> =
        links.iter().chain(&ghost).chain(&target).chain(&scene.wanted_m).chain(&scene.followed_m).collect();
    let scale = Scale::of(&everything);
    for (place, view, name) in [(0, View::Front, "front"), (1, View::Side, "side")] {
        let panel = Panel { view, left: GAP + place * (SIDE + GAP), top: HEAD, scale: &scale };
        panel.paper(&mut picture, name);
        panel.arm(&mut picture, &ghost, true);
        polyline(&mut picture, &panel.all(&scene.wanted_m), 1.6, WANTED);
        panel.arm(&mut picture, &links, false);
        polyline(&mut picture, &panel.all(&scene.followed_m), 0.8, FOLLOWED);
        if let Some(target) = &scene.base_from_target {
            let tip = arm.chain.base_from_tip(q);
            if !scene.reached {
                let (from, to) = (&tip.translation.vector, &target.translation.vector);
                dashes(&mut picture, panel.at(from), panel.at(to), 1.2, WRONG);
            }
            panel.frame(&mut picture, target);
        } else {
            panel.frame(&mut picture, &arm.chain.base_from_tip(q));
        }
    }
    bars(&mut picture, arm, q, scene);
    picture
}

/// What part of the world the views show: the same size in both, so that lengths can be compared.
struct Scale {
    /// Middle of what is shown.
    middle: Vector3<f64>,
    pixels_per_m: f64,
    /// From one grid line to the next, m.
    grid_m: f64,
}

impl Scale {
    fn of(points: &[&Vector3<f64>]) -> Self {
        let finite = points.iter().filter(|point| point.iter().all(|value| value.is_finite()));
        let (low, high) = finite.fold((Vector3::zeros(), Vector3::zeros()), |(low, high), point| {
            (low.inf(point), high.sup(point))
        });
        let span_m = (high - low).max().max(0.05) * 1.25;
        // The coarsest of 1, 2, 5 times a power of ten that gives at least four lines.
        let power = 10_f64.powf((span_m / 4.0).log10().floor());
        let grid_m = [5.0, 2.0, 1.0].into_iter().map(|digit| digit * power).find(|step| span_m / step >= 4.0);
        Self {
            middle: 0.5 * (low + high),
            pixels_per_m: f64::from(SIDE) / span_m,
            grid_m: grid_m.unwrap_or(power),
        }
    }
}

struct Panel<'a> {
    view: View,
    left: u32,
    top: u32,
    scale: &'a Scale,
}

impl Panel<'_> {
    fn at(&self, point: &Vector3<f64>) -> Point {
        let [right, up, _] = self.view.seen(&(point - self.scale.middle));
        let half = 0.5 * f64::from(SIDE);
        // Out of the panel there may be other panels.
        let inside = |value: f64| value.clamp(4.0, f64::from(SIDE) - 4.0);
        [
            f64::from(self.left) + inside(half + right * self.scale.pixels_per_m),
            f64::from(self.top) + inside(half - up * self.scale.pixels_per_m),
        ]
    }

    fn all(&self, points: &[Vector3<f64>]) -> Vec<Point> {
        points.iter().map(|point| self.at(point)).collect()
    }

    /// The white panel with a grid, the ground, and a scale.
    fn paper(&self, picture: &mut RgbImage, name: &str) {
        block(picture, self.left, self.top, SIDE, SIDE, PANEL);
        let [middle_right, middle_up, _] = self.view.seen(&self.scale.middle);
        let half_m = 0.5 * f64::from(SIDE) / self.scale.pixels_per_m;
        for (middle, upright) in [(middle_right, true), (middle_up, false)] {
            let first = ((middle - half_m) / self.scale.grid_m).ceil() as i64;
            let last = ((middle + half_m) / self.scale.grid_m).floor() as i64;
            for line in first..=last {
                let offset = (line as f64 * self.scale.grid_m - middle) * self.scale.pixels_per_m;
                let along = 0.5 * f64::from(SIDE) + if upright { offset } else { -offset };
                let along = along.clamp(0.0, f64::from(SIDE - 1)) as u32;
                let rgb = if line == 0 { FAINT } else { GRID };
                if upright {
                    block(picture, self.left + along, self.top, 1, SIDE, if line == 0 { GRID } else { rgb });
                } else {
                    block(picture, self.left, self.top + along, SIDE, 1, rgb);
                }
            }
        }
        let (right, up) = match self.view {
            View::Front => ("y", "z"),
            View::Side => ("x", "z"),
        };
        let words = format!("{name}: {right} to the right, {up} up");
        write(picture, self.left + 8, self.top + 8, 1, FAINT, &words);
        let step = format!("grid {} m", self.scale.grid_m);
        write(picture, self.left + SIDE - 8 - text_width(&step, 1), self.top + 8, 1, FAINT, &step);
    }

    /// The links as rods between their origins, far ones first, thinner towards the tip.
    fn arm(&self, picture: &mut RgbImage, origins: &[Vector3<f64>], ghost: bool) {
        let last = origins.len().saturating_sub(1);
        let thick = |index: usize| {
            let share = index as f64 / last.max(1) as f64;
            (11.0 - 6.0 * share) * if ghost { 0.8 } else { 1.0 }
        };
        let mut rods: Vec<usize> = (0..last).collect();
        let near = |index: usize| self.view.seen(&(origins[index] + origins[index + 1]))[2];
        rods.sort_by(|a, b| near(*a).total_cmp(&near(*b)));
        for index in rods {
            let (from, to) = (self.at(&origins[index]), self.at(&origins[index + 1]));
            let rgb = match (ghost, index + 1 == last) {
                (true, _) => GHOST,
                (false, true) => TOOL,
                (false, false) => LINK,
            };
            capsule(picture, from, to, thick(index), rgb, !ghost);
        }
        if !ghost {
            for (index, origin) in origins.iter().enumerate().take(last) {
                disc(picture, self.at(origin), 0.62 * thick(index), INK);
                disc(picture, self.at(origin), 0.3 * thick(index), PANEL);
            }
        }
    }

    /// A frame's axes: x red, y green, z blue.
    fn frame(&self, picture: &mut RgbImage, pose: &Isometry3<f64>) {
        let length_m = 44.0 / self.scale.pixels_per_m;
        let origin = pose.translation.vector;
        let mut axes: Vec<(usize, Vector3<f64>)> =
            (0..3).map(|axis| (axis, pose.rotation * (Vector3::ith(axis, length_m)))).collect();
        axes.sort_by(|a, b| self.view.seen(&a.1)[2].total_cmp(&self.view.seen(&b.1)[2]));
        for (axis, direction) in axes {
            capsule(picture, self.at(&origin), self.at(&(origin + direction)), 1.9, AXES[axis], false);
        }
        disc(picture, self.at(&origin), 3.2, INK);
    }
}

/// Each joint's position between its limits, the other configuration's in grey.
fn bars(picture: &mut RgbImage, arm: &Arm, q: &[f64], scene: &Scene) {
    let left = 3 * GAP + 2 * SIDE;
    block(picture, left, HEAD, BARS, SIDE, PANEL);
    let rows = u32::try_from(arm.chain.dof()).unwrap_or(1).max(1);
    let row = (SIDE - 2 * GAP) / rows;
    for (index, (limits, name)) in arm.chain.limits().iter().zip(arm.chain.joint_names()).enumerate() {
        let top = HEAD + GAP + row * u32::try_from(index).unwrap_or(0);
        let value = q.get(index).copied().unwrap_or(0.0);
        let name: String = name.chars().take(20).collect();
        write(picture, left + GAP, top + 4, 2, INK, &name);
        let (unit, factor) =
            if slides(arm, index) { ("mm", 1e3) } else { ("deg", 180.0 / std::f64::consts::PI) };
        // Adding zero turns a rounded -0.0 into 0.0.
        let said = format!("{:.1}", (value * factor * 10.0).round() / 10.0 + 0.0);
        write(picture, left + BARS - GAP - text_width(&said, 2), top + 4, 2, INK, &said);
        let (bar, width) = (top + 24, BARS - 2 * GAP);
        block(picture, left + GAP, bar, width, 6, GRID);
        let (low, high) = if (limits.upper_rad - limits.lower_rad).is_finite() {
            (limits.lower_rad, limits.upper_rad)
        } else {
            (value - std::f64::consts::PI, value + std::f64::consts::PI)
        };
        let x =
            |q: f64| f64::from(left + GAP) + ((q - low) / (high - low)).clamp(0.0, 1.0) * f64::from(width);
        let middle = f64::from(bar) + 3.0;
        if let Some(from) = scene.from.as_ref().and_then(|from| from.get(index)) {
            disc(picture, [x(*from), middle], 5.0, GHOST);
        }
        disc(picture, [x(value), middle], 5.5, TOOL);
        if row > 44 {
            let ends = [format!("{:.0}", low * factor), format!("{:.0} {unit}", high * factor)];
            write(picture, left + GAP, bar + 11, 1, FAINT, &ends[0]);
            write(picture, left + BARS - GAP - text_width(&ends[1], 1), bar + 11, 1, FAINT, &ends[1]);
        }
    }
}

/// Whether a joint slides: then it turns nothing.
#[must_use]
pub fn slides(arm: &Arm, joint: usize) -> bool {
    let (_, jacobian) = arm.chain.jacobian(&arm.home_rad);
    jacobian.columns().get(joint).is_some_and(|column| column.fixed_rows::<3>(3).norm() == 0.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn the_grid_has_a_readable_number_of_lines() {
        for span in [0.01, 0.13, 0.9, 1.7, 42.0] {
            let scale = Scale::of(&[&Vector3::new(0.0, 0.0, span)]);
            let lines = f64::from(SIDE) / scale.pixels_per_m / scale.grid_m;
            assert!((4.0..=10.5).contains(&lines), "{lines} lines over {span} m");
        }
    }

    #[test]
    fn both_views_show_the_arm_and_the_way_to_a_target_out_of_reach() {
        let arm = Arm::load("arm7", None, None).unwrap();
        let far = Isometry3::translation(0.0, 2.0, 0.5);
        let scene = Scene { base_from_target: Some(far), ..Scene::default() };
        let picture = draw(&arm, &arm.home_rad, &scene);
        assert_eq!(picture.dimensions(), (WIDTH, HEIGHT));
        for left in [GAP, 2 * GAP + SIDE] {
            let count = |rgb: [u8; 3]| {
                let columns = left..left + SIDE;
                columns
                    .flat_map(|x| (HEAD..HEAD + SIDE).map(move |y| (x, y)))
                    .filter(|(x, y)| picture.get_pixel(*x, *y).0 == rgb)
                    .count()
            };
            assert!(count(INK) > 50 && count(WRONG) > 20, "{} {}", count(INK), count(WRONG));
        }
        // A target that is nowhere must not hang or panic.
        let nowhere = Isometry3::translation(f64::NAN, f64::INFINITY, 1e300);
        let _ = draw(&arm, &arm.home_rad, &Scene { base_from_target: Some(nowhere), ..Scene::default() });
    }
}
