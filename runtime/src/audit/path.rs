//! The way from where the tool is to the target: a straight line, with the fingers below it.
//!
//! Both ends of a straight line bound it: it is lowest, and furthest out of the workspace's box, at one of
//! them. The tool stands where it stands, so the target's end is what is judged for the table and the box.
//! What lies between the ends is the part of the line that is low: there, things stand, and the hand may only
//! come straight down among them or leave straight up.

use super::event::{Refusal, Rule};
use super::reading::{X, Z};
use crate::config::Config;

/// The bounds of a way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    low_m: [f64; 3],
    high_m: [f64; 3],
    table_z_m: f64,
    tool_reach_m: f64,
    clear_z_m: f64,
    sideways_m: f64,
}

impl Path {
    pub(super) fn new(config: &Config) -> Self {
        let (limits, audit) = (&config.limits, &config.audit);
        Self {
            low_m: limits.workspace_min_m,
            high_m: limits.workspace_max_m,
            table_z_m: audit.table_z_m,
            tool_reach_m: audit.tool_reach_m,
            clear_z_m: audit.table_z_m + audit.clear_height_m,
            sideways_m: audit.sideways_max_m,
        }
    }

    /// A target against the box, the table, and the way to it from where the tool is.
    pub(super) fn judge(&self, from_m: [f64; 3], to_m: [f64; 3]) -> Result<(), Refusal> {
        let bounds = self.low_m.iter().zip(&self.high_m);
        for (axis, (found, (low, high))) in to_m.iter().zip(bounds).enumerate() {
            if !(found >= low && found <= high) {
                let bound = if found < low { low } else { high };
                return Err(Refusal::new(Rule::Workspace, X + axis, *found, *bound));
            }
        }
        if to_m[2] < self.lowest_z_m() {
            return Err(Refusal::new(Rule::Table, Z, to_m[2] - self.tool_reach_m, self.table_z_m));
        }
        let sideways_m = self.sideways_m(from_m, to_m);
        // Not a number must not count as straight.
        if sideways_m <= self.sideways_m {
            Ok(())
        } else {
            Err(Refusal::new(Rule::Sideways, X, sideways_m, self.sideways_m))
        }
    }

    /// How far the way leads sideways while the tool is lower than what stands on the table, m.
    fn sideways_m(&self, from_m: [f64; 3], to_m: [f64; 3]) -> f64 {
        let way_m = ((to_m[0] - from_m[0]).powi(2) + (to_m[1] - from_m[1]).powi(2)).sqrt();
        let (low_m, high_m) = (from_m[2].min(to_m[2]), from_m[2].max(to_m[2]));
        if low_m >= self.clear_z_m {
            0.0
        } else if high_m <= self.clear_z_m {
            way_m
        } else {
            // The ends are on either side of it, so their heights differ.
            way_m * (self.clear_z_m - low_m) / (high_m - low_m)
        }
    }

    /// Where the tool is at an action, m outside the box and m below the table; not positive where all is
    /// well. `tip_m` is the lowest point of the hand.
    pub(super) fn excess(&self, tool_m: [f64; 3], tip_m: f64) -> (f64, f64) {
        let outside =
            (0..3).map(|axis| (self.low_m[axis] - tool_m[axis]).max(tool_m[axis] - self.high_m[axis]));
        (outside.fold(f64::NEG_INFINITY, f64::max), self.table_z_m - tip_m)
    }

    /// The box in which a target may be, base frame, m: the workspace above the table.
    pub(super) fn target_box_m(&self) -> ([f64; 3], [f64; 3]) {
        let [x, y, z] = self.low_m;
        ([x, y, z.max(self.lowest_z_m())], self.high_m)
    }

    /// The lowest that the tool may be, m.
    fn lowest_z_m(&self) -> f64 {
        self.table_z_m + self.tool_reach_m
    }

    /// Height above which nothing stands, m.
    pub(super) fn clear_z_m(&self) -> f64 {
        self.clear_z_m
    }

    /// How far a way may lead sideways below that, m.
    pub(super) fn sideways_max_m(&self) -> f64 {
        self.sideways_m
    }

    /// How far the hand reaches beyond the tool's origin, m.
    pub(super) fn tool_reach_m(&self) -> f64 {
        self.tool_reach_m
    }

    /// Height of the table, m.
    pub(super) fn table_z_m(&self) -> f64 {
        self.table_z_m
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn rule(from_m: [f64; 3], to_m: [f64; 3]) -> Option<Rule> {
        Path::new(&Config::default()).judge(from_m, to_m).err().map(|refusal| refusal.rule)
    }

    #[test]
    fn the_table_and_the_box_bound_the_target() {
        let above = [0.5, 0.0, 0.2];
        assert_eq!(rule(above, [0.5, 0.0, 0.021]), None);
        assert_eq!(rule(above, [0.5, 0.0, 0.019]), Some(Rule::Table));
        assert_eq!(rule(above, [0.76, 0.0, 0.2]), Some(Rule::Workspace));
        assert_eq!(rule(above, [0.5, -0.36, 0.2]), Some(Rule::Workspace));
        assert_eq!(rule(above, [f64::NAN, 0.0, 0.2]), Some(Rule::Workspace));
    }

    #[test]
    fn among_things_the_way_is_up_or_down() {
        assert_eq!(rule([0.5, 0.0, 0.3], [0.6, 0.2, 0.15]), None);
        assert_eq!(rule([0.5, 0.0, 0.15], [0.51, 0.01, 0.03]), None);
        assert_eq!(rule([0.5, 0.0, 0.03], [0.5, 0.0, 0.18]), None);
        assert_eq!(rule([0.5, 0.0, 0.03], [0.6, 0.0, 0.03]), Some(Rule::Sideways));
        assert_eq!(rule([0.5, 0.0, 0.15], [0.7, 0.0, 0.03]), Some(Rule::Sideways));
        assert_eq!(rule([0.5, 0.0, 0.03], [0.7, 0.0, 0.15]), Some(Rule::Sideways));
    }
}
