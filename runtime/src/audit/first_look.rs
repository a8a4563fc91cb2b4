//! A first look: conditions under which a decision surely passes all rules, in few instructions.
//!
//! They are a little narrower than the rules, and nearly every sound decision meets them; whatever does not is judged
//! by the rules themselves. So this can only save time, and a test holds it against them.
//!
//! What makes an audit slow is not its arithmetic. A model's weights have passed through the caches since the last one,
//! and other threads' code through the branch predictor: each line of code and data has to come back, and a branch that
//! is taken is a surprise again. So all of it is said in less than thirty lines of 64 bytes, and as nearly as may be in
//! one straight run: what is compared lies side by side, and is compared several at a time; bounds of numbers are bounds
//! of tokens; squares stand for roots and products for quotients; branches lead away, to the rules; `|` and `&` stand for
//! `||` and `&&` where both sides are cheap; nothing is called, and no constant is kept elsewhere.

use std::hint::{black_box, cold_path};
use std::ops::Range;

use reflexarc_vla_model::decision::{Decision, Goal, Infeasible, Subtask, Verdict};
use reflexarc_vla_model::grammar::{Grammar, SEQUENCE_MAX};
use reflexarc_vla_model::number::{Axis, NUMBER_BINS, decode};
use reflexarc_vla_model::token::Token;

use super::Facts;
use super::order::{self, Order};
use super::path::Path;
use super::reach::{AnyTurn, ReachMap, is_sure_any_turn};
use super::reading::{COLOR, FORCE, LOOK_U, OBJECT, SUBTASK, WIDTH, X, Z};
use super::view::SceneCamera;

/// Numbers of a decision that acts, in the order of [`Axis::ALL`], two at a time: the pixel, then the target.
const PAIRS: usize = Axis::ALL.len() / 2;
/// Where the tokens of each pair begin.
const PAIR_PLACES: [usize; PAIRS] = [LOOK_U, X, X + 2, X + 4];

/// A point nearer than this to the plane of the camera's eye is left to the rules, m.
const NEAREST_M: f32 = 0.05;

/// What the first look compares with, in the order in which it does.
///
/// Of a token with offset `n` in the run of those that may stand at its place, `2 n + 1` is used, here its odd number:
/// what it says, if it is a number, is `low + (2 n + 1) half`, which is [`decode`] to the last bit, because halving is
/// exact.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct FirstLook {
    low: [[f64; 2]; PAIRS],
    half: [[f64; 2]; PAIRS],
    /// At each place, what an odd number is below twice the token's id.
    below: [u16; SEQUENCE_MAX],
    /// The odd number of the first token within the bounds of its number.
    least: [u16; SEQUENCE_MAX],
    /// How much more the odd number of the last one is.
    more: [u16; SEQUENCE_MAX],
    clear_z_m: f64,
    sideways_m2: f64,
    /// See [`SceneCamera::image_from_base`].
    image_from_base: [[f32; 4]; 4],
    nearest_m: f32,
    grip_z_m: f32,
    near_m2: f64,
    felt_n: f64,
    open_m: f64,
    any_turn: AnyTurn,
    /// What was done so far: here, because these lines are fetched anyway.
    pub(super) order: Order,
}

impl FirstLook {
    pub(super) fn new(hand: &order::Bounds, path: &Path, camera: &SceneCamera, reach: &ReachMap) -> Self {
        let (low_m, high_m) = path.target_box_m();
        let within = |place: usize, value: f64| match place {
            X..=Z => value >= low_m[place - X] && value <= high_m[place - X],
            WIDTH => value <= hand.width_max_m,
            FORCE => value <= hand.force_max_n,
            _ => true,
        };
        let (near_m, sideways_m) = (hand.near_m, path.sideways_max_m());
        let scale = |of: fn((f64, f64)) -> f64| {
            std::array::from_fn(|pair| std::array::from_fn(|i| of(Axis::ALL[2 * pair + i].range())))
        };
        let mut look = Self {
            low: scale(|(low, _)| low),
            half: scale(|(low, high)| (high - low) / (2 * NUMBER_BINS) as f64),
            // Where nothing may stand: twice an id is never odd.
            below: [0; SEQUENCE_MAX],
            least: [u16::MAX; SEQUENCE_MAX],
            more: [0; SEQUENCE_MAX],
            clear_z_m: path.clear_z_m(),
            sideways_m2: sideways_m * sideways_m,
            image_from_base: camera.image_from_base(),
            nearest_m: NEAREST_M,
            grip_z_m: camera.grip_z_m(path.table_z_m()),
            near_m2: near_m * near_m,
            felt_n: order::FELT_N,
            open_m: hand.open_m,
            any_turn: reach.any_turn(),
            order: Order::default(),
        };
        for (place, run) in acting().into_iter().enumerate() {
            let axis = axis_at(place);
            let bounded = |offset: u16| axis.is_none_or(|axis| within(place, decode(axis, offset.into())));
            let mut within = (0..run.end - run.start).filter(|offset| bounded(*offset));
            if let Some(least) = within.next() {
                look.below[place] = (2 * run.start).wrapping_sub(1);
                look.least[place] = 2 * least + 1;
                look.more[place] = within.fold(0, |more, _| more + 2);
            }
        }
        look
    }

    /// Whether the decision surely passes; remembers it then.
    #[inline(always)]
    pub(super) fn passes(&mut self, decision: &Decision, asked_ns: u64, facts: &Facts) -> bool {
        if decision.observation_ns != asked_ns || !decision.confidence.is_finite() {
            return false;
        }
        let (plan, subtask, target, [u, v]) = match &decision.verdict {
            Verdict::Act { plan, subtask, target, pixel_uv } => (plan, *subtask, target, pixel_uv),
            Verdict::Infeasible(reason) => {
                cold_path();
                return says(&decision.tokens, *reason);
            }
        };
        let Ok(tokens) = <&[Token; SEQUENCE_MAX]>::try_from(decision.tokens.as_slice()) else {
            return false;
        };
        let [Goal::Pick { color, object }] = plan.as_slice() else {
            return false;
        };

        // The grammar, and the bounds of the gripper, of the workspace and of the table.
        let odd: [u16; SEQUENCE_MAX] =
            std::array::from_fn(|place| tokens[place].id().wrapping_mul(2).wrapping_sub(self.below[place]));
        let beyond = (0..SEQUENCE_MAX).fold(0, |beyond, place| {
            beyond | odd[place].wrapping_sub(self.least[place]).saturating_sub(self.more[place])
        });
        if beyond != 0 {
            return false;
        }
        // Behind a reference that the compiler cannot see through: it would pick each out of a register, and say all the
        // above in twice the code.
        let odd = black_box(&odd);

        // What is claimed is what the tokens say.
        for (place, index) in [(COLOR, color.index()), (OBJECT, object.index()), (SUBTASK, subtask.index())] {
            if usize::from(odd[place]) != 2 * index + 1 {
                return false;
            }
        }
        let [x_m, y_m, z_m] = target.position_m;
        let claimed = [
            [f64::from(*u), f64::from(*v)],
            [x_m, y_m],
            [z_m, target.yaw_rad],
            [target.gripper_width_m, target.gripper_force_n],
        ];
        let mut differ = [false; 2];
        for (pair, place) in PAIR_PLACES.into_iter().enumerate() {
            for i in 0..2 {
                let said = self.low[pair][i] + f64::from(odd[place + i]) * self.half[pair][i];
                differ[i] |= said != claimed[pair][i];
            }
        }
        if differ[0] | differ[1] {
            return false;
        }

        // The way there.
        let (along_m, across_m, up_m) = (x_m - facts.tool_m[0], y_m - facts.tool_m[1], z_m - facts.tool_m[2]);
        let aside_m2 = along_m * along_m + across_m * across_m;
        let clear = z_m >= self.clear_z_m && facts.tool_m[2] >= self.clear_z_m;
        let straight = aside_m2 <= self.sideways_m2;
        if !(clear || straight) {
            return false;
        }

        // In reach.
        if !is_sure_any_turn(&self.any_turn, [odd[X], odd[X + 1], odd[X + 2]].map(|odd| odd >> 1)) {
            return false;
        }

        // Where the object is seen.
        if matches!(subtask, Subtask::Reach | Subtask::Approach | Subtask::Grasp) {
            let mut point_z_m = z_m as f32;
            if subtask == Subtask::Reach && point_z_m > self.grip_z_m {
                point_z_m = self.grip_z_m;
            }
            let (x_m, y_m) = (x_m as f32, y_m as f32);
            let [of_x, of_y, of_z, of_one] = &self.image_from_base;
            let seen: [f32; 4] =
                std::array::from_fn(|i| of_x[i] * x_m + of_y[i] * y_m + of_z[i] * point_z_m + of_one[i]);
            // As above: all four at a time.
            let [column_m, row_m, depth_m, most_m] = *black_box(&seen);
            let (off_u_m, off_v_m) = (column_m - u * depth_m, row_m - v * depth_m);
            let most_m2 = most_m * most_m;
            if !(depth_m > self.nearest_m && off_u_m * off_u_m <= most_m2 && off_v_m * off_v_m <= most_m2) {
                return false;
            }
        }

        // Plausible now.
        let off_m2 = if subtask == Subtask::Grasp { aside_m2 + up_m * up_m } else { aside_m2 };
        if !(off_m2 <= self.near_m2 || subtask == Subtask::Reach) {
            return false;
        }
        let lifts = subtask == Subtask::Lift;
        if lifts | (subtask == Subtask::Done) {
            let closed = lifts & (facts.gripper_width_m <= self.open_m);
            let held = (facts.felt_n >= self.felt_n) | closed | self.order.lifted();
            if !held | (target.gripper_width_m > self.open_m) {
                return false;
            }
        }
        self.order.passed(subtask);
        true
    }
}

/// Whether the tokens say that nothing can be done, for that reason.
#[inline(always)]
fn says(tokens: &[Token], reason: Infeasible) -> bool {
    let Ok(tokens) = <&[Token; 4]>::try_from(tokens) else {
        return false;
    };
    // As numbers: a comparison of slices is a call.
    let ids =
        |tokens: &[Token; 4]| tokens.iter().rev().fold(0, |ids, token| ids << 16 | u64::from(token.id()));
    ids(tokens) == ids(&[Token::PLAN, Token::INFEASIBLE, Token::reason(reason), Token::END])
}

/// What the number at a place measures; none for words.
fn axis_at(place: usize) -> Option<Axis> {
    let pair = PAIR_PLACES.iter().position(|first| (*first..first + 2).contains(&place))?;
    Some(Axis::ALL[2 * pair + place - PAIR_PLACES[pair]])
}

/// The runs of token ids that may stand at each place of a sequence that acts, read off the grammar's own
/// automaton. All its sequences have one shape. A run of ids that are not consecutive would be cut short, and a
/// shape of another length ends in empty runs: both take fewer sequences than the grammar, never more.
fn acting() -> [Range<u16>; SEQUENCE_MAX] {
    let mut grammar = Some(Grammar::new());
    std::array::from_fn(|_| {
        let allowed = grammar.map(|grammar| grammar.expected()).unwrap_or_default();
        let token = if allowed.contains(Token::PICK) { Some(Token::PICK) } else { allowed.iter().next() };
        let (Some(now), Some(token)) = (grammar.take(), token) else {
            return 0..0;
        };
        grammar = now.next(token);
        let run = Token::all().skip(token.index()).take_while(|other| now.next(*other) == grammar);
        token.id()..token.id() + u16::try_from(run.count()).unwrap_or(0)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::audit::Audit;
    use crate::config::Config;
    use crate::runtime::{load_chain, load_description};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    use reflexarc_vla_model::grammar::parse;
    use reflexarc_vla_model::number::encode;
    use reflexarc_vla_model::token::{VOCABULARY_SIZE, tokens_from_text};

    fn audit(config: &Config) -> Audit {
        Audit::new(load_chain(config).unwrap(), config, &load_description(config).unwrap()).unwrap()
    }

    /// Numbers of a seed, as tests need them.
    struct Dice(ChaCha8Rng);

    impl Dice {
        fn below(&mut self, count: usize) -> usize {
            self.0.next_u64() as usize % count
        }

        fn between(&mut self, low: f64, high: f64) -> f64 {
            low + (high - low) * f64::from(self.0.next_u32()) / f64::from(u32::MAX)
        }

        /// One in three.
        fn third(&mut self) -> bool {
            self.below(3) == 0
        }
    }

    /// A decision that is sound more often than not, and what is known when it is made.
    fn decision(dice: &mut Dice, config: &Config) -> (Decision, Facts) {
        let reaching = dice.third();
        let tool_m = [dice.between(0.25, 0.75), dice.between(-0.35, 0.35), dice.between(0.0, 0.4)];
        let target_m = tool_m.map(|at| at + dice.between(-0.1, 0.1));
        let seen_m = [target_m[0], target_m[1], if reaching { 0.05 } else { target_m[2] }];
        let pixel = SceneCamera::new(config).pixel_of(seen_m);
        let pixel = pixel.map(|at| f64::from(at) + dice.between(-0.15, 0.15));
        let numbers = [pixel[0], pixel[1], target_m[0], target_m[1], target_m[2], dice.between(-1.5, 1.5)];
        let mut bins = numbers.iter().zip(Axis::ALL).map(|(value, axis)| encode(axis, *value).unwrap());
        let [u, v, x, y, z, yaw] = std::array::from_fn(|_| bins.next().unwrap());
        let (width, force) = (dice.below(NUMBER_BINS), dice.below(NUMBER_BINS));
        let subtask =
            if reaching { "reach" } else { ["approach", "grasp", "lift", "retreat", "done"][dice.below(5)] };
        let mut text = format!(
            "PLAN pick red mug LOOK u{u} v{v} DO {subtask} x{x} y{y} z{z} r{yaw} w{width} f{force} END"
        );
        if dice.below(6) == 0 {
            text = format!("PLAN infeasible {} END", ["absent", "unclear", "blind"][dice.below(3)]);
        }
        let mut tokens = tokens_from_text(&text).unwrap();
        let verdict = parse(&tokens).unwrap();
        let mut decision = Decision { tokens: Vec::new(), verdict, confidence: 0.9, observation_ns: 7 };
        if dice.third() {
            let place = dice.below(tokens.len());
            tokens[place] = Token::new(dice.below(VOCABULARY_SIZE) as u16).unwrap();
            if let (Ok(verdict), true) = (parse(&tokens), dice.third()) {
                decision.verdict = verdict;
            }
        }
        decision.tokens = tokens;
        let spoiled = [f64::NAN, f64::INFINITY, 0.02][dice.below(3)];
        if dice.third() {
            match (dice.below(12), &mut decision.verdict) {
                (0, _) => decision.observation_ns += 1,
                (1, _) => decision.confidence = f32::NAN,
                (2, Verdict::Act { plan, .. }) => plan.clear(),
                (3, Verdict::Act { target, .. }) => target.yaw_rad = spoiled,
                (4, Verdict::Act { target, .. }) => target.gripper_width_m = spoiled,
                (5, Verdict::Act { target, .. }) => target.gripper_force_n = spoiled,
                (axis @ 6..9, Verdict::Act { target, .. }) => target.position_m[axis - 6] = spoiled,
                _ => {}
            }
        }
        let mut facts =
            Facts { tool_m, gripper_width_m: dice.between(0.0, 0.08), felt_n: dice.between(-0.1, 0.3) };
        if dice.below(20) == 0 {
            facts.tool_m[dice.below(3)] = f64::NAN;
        }
        (decision, facts)
    }

    #[test]
    fn what_passes_at_first_look_passes_all_rules() {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(20));
        // Those that say what to do, and those that say that nothing can be done.
        let mut passed = [0; 2];
        for _ in 0..30 {
            let mut config = Config::default();
            config.limits.grip_force_n = dice.between(5.0, 60.0);
            config.limits.workspace_min_m[0] += dice.between(0.0, 0.1);
            config.limits.workspace_max_m[2] -= dice.between(0.0, 0.3);
            config.audit.table_z_m = dice.between(-0.02, 0.05);
            config.audit.view_tolerance = [0.0, 0.05, 0.2][dice.below(3)];
            let mut audit = audit(&config);
            for _ in 0..2000 {
                let (decision, facts) = decision(&mut dice, &config);
                let mut order = Order::default();
                if dice.third() {
                    order.passed(Subtask::Lift);
                }
                audit.first_look.order = order;
                if audit.first_look.passes(&decision, 7, &facts) {
                    passed[usize::from(matches!(decision.verdict, Verdict::Infeasible(_)))] += 1;
                    let after = std::mem::replace(&mut audit.first_look.order, order);
                    let mut solves = 0;
                    assert_eq!(
                        audit.judge(&decision, 7, &facts, &mut solves),
                        Ok(()),
                        "{decision:?} {facts:?}"
                    );
                    assert_eq!((solves, audit.first_look.order), (0, after));
                }
            }
        }
        // Of sixty thousand.
        assert!(passed[0] > 2000 && passed[1] > 5000, "{passed:?}");
    }

    #[test]
    fn nearly_all_decisions_of_recorded_episodes_pass_at_first_look() {
        let (known, mut unknown) = (Config::default(), Config::default());
        unknown.audit.view_tolerance = 0.0;
        // With a calibrated camera and without.
        for config in [known, unknown] {
            let (all, passed) = passed_of_recorded(&config);
            assert!(all > 500 && passed * 100 >= all * 97, "{passed} of {all}");
        }
    }

    /// How many recorded decisions there are, and how many of them pass.
    fn passed_of_recorded(config: &Config) -> (usize, usize) {
        let mut audit = audit(config);
        let (mut all, mut passed) = (0, 0);
        for line in include_str!("../../benches/audit/decisions.txt").lines() {
            let mut words = line.splitn(6, ' ');
            let mut number = || words.next().and_then(|word| word.parse::<f64>().ok());
            let (Some(x), Some(y), Some(z), Some(width), Some(felt_n)) =
                (number(), number(), number(), number(), number())
            else {
                audit.begin();
                continue;
            };
            let facts = Facts { tool_m: [x, y, z], gripper_width_m: width, felt_n };
            let tokens = tokens_from_text(words.next().unwrap()).unwrap();
            let verdict = parse(&tokens).unwrap();
            let decision = Decision { tokens, verdict, confidence: 0.9, observation_ns: 7 };
            all += 1;
            passed += usize::from(audit.first_look.passes(&decision, 7, &facts));
        }
        (all, passed)
    }
}
