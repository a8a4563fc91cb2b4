//! Where the arm was at a moment of the past: joint states of the last while, in a ring of fixed size.

use reflexarc_kinematics::{Chain, Joints};

use super::Body;

/// Joint states remembered: at 1000 Hz a quarter of a second, more than a camera frame may be old.
const REMEMBERED: usize = 256;

/// How well a moment was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// A state of that very moment.
    Exactly,
    /// Between two states.
    Between,
    /// Before the first or after the last state that is remembered, this far, ns.
    Beside(u64),
}

/// The last joint states, by capture time.
#[derive(Debug)]
pub(super) struct History {
    /// Filled once, then overwritten in place.
    ring: Vec<Body>,
    next: usize,
}

impl History {
    pub(super) fn new() -> Self {
        Self { ring: Vec::with_capacity(REMEMBERED), next: 0 }
    }

    /// Adds a state. One that is not later than the last begins the history anew: the source's clock was set.
    pub(super) fn push(&mut self, body: Body) {
        if self.newest(0).is_some_and(|newest| body.stamp_ns <= newest.stamp_ns) {
            self.ring.clear();
            self.next = 0;
        }
        if self.ring.len() < REMEMBERED {
            self.ring.push(body);
        } else {
            self.ring[self.next] = body;
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// The state so many places before the newest.
    fn newest(&self, back: usize) -> Option<&Body> {
        if back >= self.ring.len() {
            return None;
        }
        self.ring.get((self.next + REMEMBERED - 1 - back) % REMEMBERED)
    }

    /// Where the arm was at `at_ns`: a state as it was measured, or joints and opening in proportion between the
    /// two around it. Nothing before the first state ever. Work: at most one pass over the ring, as a rule a few
    /// steps; and one forward kinematics.
    pub(super) fn at(&self, at_ns: u64, chain: &Chain) -> Option<(Body, Met)> {
        let mut later: Option<&Body> = None;
        for back in 0..REMEMBERED {
            let Some(body) = self.newest(back) else { break };
            if body.stamp_ns == at_ns {
                return Some((*body, Met::Exactly));
            }
            if body.stamp_ns < at_ns {
                let Some(later) = later else {
                    return Some((*body, Met::Beside(at_ns - body.stamp_ns)));
                };
                return Some((between(body, later, at_ns, chain), Met::Between));
            }
            later = Some(body);
        }
        later.map(|first| (*first, Met::Beside(first.stamp_ns - at_ns)))
    }
}

fn between(from: &Body, to: &Body, at_ns: u64, chain: &Chain) -> Body {
    let share = (at_ns - from.stamp_ns) as f64 / (to.stamp_ns - from.stamp_ns) as f64;
    let q = Joints::from_fn(from.q.len(), |i| from.q[i] + share * (to.q[i] - from.q[i]));
    Body {
        stamp_ns: at_ns,
        q,
        gripper_width_m: from.gripper_width_m + share * (to.gripper_width_m - from.gripper_width_m),
        base_from_tool: chain.base_from_tip(&q),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF};

    #[test]
    fn moments_are_met_exactly_between_or_beside() {
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        let body = |stamp_ns: u64| {
            let mut q = Joints::from_slice(&ARM7_HOME_RAD);
            q[0] = stamp_ns as f64 / 1e4;
            Body { stamp_ns, q, gripper_width_m: 0.04, base_from_tool: chain.base_from_tip(&q) }
        };
        let mut history = History::new();
        assert!(history.at(5, &chain).is_none());
        for stamp_ns in (1000..9000).step_by(10) {
            history.push(body(stamp_ns));
        }
        let newest_ns = 8990;
        assert_eq!(history.at(newest_ns, &chain), Some((body(newest_ns), Met::Exactly)));
        let (middle, met) = history.at(8005, &chain).unwrap();
        assert_eq!(met, Met::Between);
        assert!((middle.q[0] - 0.8005).abs() < 1e-12);
        assert_eq!(middle.base_from_tool, chain.base_from_tip(&middle.q));
        assert_eq!(history.at(9100, &chain), Some((body(newest_ns), Met::Beside(110))));
        // What was overwritten is not remembered.
        let oldest_ns = newest_ns - 10 * (REMEMBERED as u64 - 1);
        assert_eq!(history.at(1000, &chain), Some((body(oldest_ns), Met::Beside(oldest_ns - 1000))));
        history.push(body(2000));
        assert_eq!(history.at(8000, &chain), Some((body(2000), Met::Beside(6000))));
    }
}
