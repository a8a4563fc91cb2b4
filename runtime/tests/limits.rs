//! Whatever a policy says, no command leaves the limits: NaN, infinities, one extreme after the other,
//! times long past or yet to come, targets out of reach, in the table, in the robot itself; as goals and
//! as chunks. Once through the reflex alone, which must hold by itself, and once through the whole
//! runtime with its audit.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Rig, START_NS, Say, decide, reach, tick_ns};
use proptest::prelude::*;
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF, Chain, Joints};
use reflexarc_runtime::Config;
use reflexarc_runtime::modes::Rule;
use reflexarc_runtime::reflex::{Intent, Reflex};
use reflexarc_runtime::safety::Gate;
use reflexarc_runtime::senses::{Body, Snapshot};
use reflexarc_runtime::watch::CommandWatch;
use reflexarc_vla_model::chunk::ActionChunk;
use reflexarc_vla_model::decision::{Infeasible, ToolTarget, Verdict};
use reflexarc_vla_model::grammar::{parse, tokens_from_verdict};
use reflexarc_vla_model::policy::Output;
use reflexarc_vla_model::token::Token;

/// What an adversary says for a while.
#[derive(Clone, Debug)]
enum Said {
    /// One target; `true`: in tokens that mean it, as far as there are any.
    Target(ToolTarget, bool),
    /// Two targets in turn, decision by decision.
    Alternating(ToolTarget, ToolTarget),
    /// Tokens at random.
    Tokens(Vec<u16>),
    /// Joint targets.
    Chunk(Vec<f32>, usize, u64),
    Infeasible,
    Fails,
    Panics,
    Nothing,
    Disabled,
}

/// How old what is said claims to be, ns; negative: from the future.
type Age = i64;

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1.0..1.5f64,
        1 => prop::num::f64::ANY,
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e300), Just(-1e300)],
    ]
}

fn target(((x, y, z), yaw_rad, width_m, force_n): ((f64, f64, f64), f64, f64, f64)) -> ToolTarget {
    ToolTarget { position_m: [x, y, z], yaw_rad, gripper_width_m: width_m, gripper_force_n: force_n }
}

fn any_target() -> impl Strategy<Value = ToolTarget> {
    let wild = ((any_number(), any_number(), any_number()), any_number(), any_number(), any_number());
    let plausible = ((0.2..0.8f64, -0.4..0.4f64, -0.05..0.65f64), -4.0..4.0f64, 0.0..0.1f64, 0.0..60.0f64);
    let corner = |low: f64, high: f64| prop_oneof![Just(low), Just(high)];
    let corners = (
        (corner(0.25, 0.75), corner(-0.35, 0.35), corner(0.0, 0.6)),
        corner(-1.57, 1.57),
        corner(0.0, 0.08),
        corner(0.0, 40.0),
    );
    // Through the table, and into the robot's own foot.
    let colliding = prop_oneof![
        ((0.3..0.7f64, -0.3..0.3f64, -0.4..0.0f64), -1.5..1.5f64, Just(0.0), Just(40.0)),
        ((-0.15..0.15f64, -0.15..0.15f64, 0.0..0.2f64), -1.5..1.5f64, Just(0.0), Just(40.0)),
    ];
    prop_oneof![
        2 => wild.prop_map(target),
        3 => plausible.prop_map(target),
        2 => corners.prop_map(target),
        1 => colliding.prop_map(target),
    ]
}

fn any_chunk() -> impl Strategy<Value = Said> {
    let value = prop_oneof![
        6 => -3.5..3.5f32,
        1 => prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(1e30f32)],
    ];
    let smooth = (-0.3..0.3f32, -0.05..0.05f32, 1..80usize).prop_map(|(from, step, count)| {
        let action = |index: usize| {
            ARM7_HOME_RAD.iter().map(move |q| *q as f32 + from + step * index as f32).chain([0.04])
        };
        (0..count).flat_map(action).collect::<Vec<f32>>()
    });
    let extremes = (0.05..3.5f32, 2..60usize).prop_map(|(reach, count)| {
        (0..count * 8).map(|at| if at / 8 % 2 == 0 { reach } else { -reach }).collect::<Vec<f32>>()
    });
    // All joints folded: the forearm would go through the upper arm.
    let folded = (1..60usize).prop_map(|count| {
        [0.0, 1.7, 0.0, -3.0, 0.0, 3.5, 0.0, 0.0_f32]
            .iter()
            .copied()
            .cycle()
            .take(8 * count)
            .collect::<Vec<f32>>()
    });
    let noise = prop::collection::vec(value, 0..160);
    let actions = prop_oneof![3 => smooth, 2 => extremes, 1 => folded, 2 => noise];
    let width = prop_oneof![8 => Just(8usize), 1 => 0..12usize];
    let period_ns = prop_oneof![8 => 5_000_000..60_000_000u64, 1 => Just(0), 1 => any::<u64>()];
    (actions, width, period_ns).prop_map(|(actions, width, period_ns)| Said::Chunk(actions, width, period_ns))
}

fn any_said() -> impl Strategy<Value = Said> {
    prop_oneof![
        6 => (any_target(), any::<bool>()).prop_map(|(target, honest)| Said::Target(target, honest)),
        3 => (any_target(), any_target()).prop_map(|(a, b)| Said::Alternating(a, b)),
        1 => prop::collection::vec(any::<u16>(), 0..20).prop_map(Said::Tokens),
        4 => any_chunk(),
        1 => Just(Said::Infeasible),
        1 => Just(Said::Fails),
        1 => Just(Said::Panics),
        1 => Just(Said::Nothing),
        1 => Just(Said::Disabled),
    ]
}

fn any_age() -> impl Strategy<Value = Age> {
    prop_oneof![
        6 => Just(0),
        1 => 0..300_000_000i64,
        1 => any::<i64>(),
        1 => -5_000_000_000..5_000_000_000i64,
    ]
}

/// A decision for `target`, in tokens that mean it where `honest` and possible.
fn decision(target: ToolTarget, honest: bool, observation_ns: u64) -> Output {
    let mut decision = decide(reach(), observation_ns);
    if let Verdict::Act { target: said, .. } = &mut decision.verdict {
        *said = target;
    }
    if honest && let Ok(tokens) = tokens_from_verdict(&decision.verdict) {
        if let Ok(meaning) = parse(&tokens) {
            decision.verdict = meaning;
        }
        decision.tokens = tokens;
    }
    Output::Goals(decision)
}

fn when(now_ns: u64, age: Age) -> u64 {
    now_ns.saturating_add_signed(age.saturating_neg())
}

impl Said {
    /// What is said for the `turn`th time; `None` where it is no output.
    fn output(&self, turn: u64, observation_ns: u64) -> Option<Output> {
        match self {
            Self::Target(target, honest) => Some(decision(*target, *honest, observation_ns)),
            Self::Alternating(a, b) => {
                Some(decision(if turn.is_multiple_of(2) { *a } else { *b }, true, observation_ns))
            }
            Self::Tokens(numbers) => {
                let all: Vec<Token> = Token::all().collect();
                let mut said = decide(reach(), observation_ns);
                said.tokens = numbers.iter().map(|number| all[usize::from(*number) % all.len()]).collect();
                Some(Output::Goals(said))
            }
            Self::Chunk(actions, width, period_ns) => Some(Output::Chunk(ActionChunk {
                observation_ns,
                period_ns: *period_ns,
                width: *width,
                actions: actions.clone(),
            })),
            Self::Infeasible => {
                Some(Output::Goals(decide(Verdict::Infeasible(Infeasible::Absent), observation_ns)))
            }
            Self::Fails | Self::Panics | Self::Nothing | Self::Disabled => None,
        }
    }
}

fn judged(watch: &CommandWatch) -> Result<(), TestCaseError> {
    prop_assert!(watch.judgement().violations == 0, "{:#?}", watch.judgement());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_reflex_alone_keeps_every_command_within_the_limits(
        said in prop::collection::vec((any_said(), any_age(), 1..240u64), 1..12),
        offset in prop::array::uniform7(-0.15..0.15f64),
    ) {
        let config = Config::default();
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        let mut reflex = Reflex::new(chain.clone(), &config);
        let mut watch = CommandWatch::new(chain.clone(), &config);
        let mut q = Joints::from_fn(7, |i| ARM7_HOME_RAD[i] + offset[i]);
        let mut width_m = 0.05;
        let mut commanded = false;
        let (mut tick, mut number) = (0, 0);
        for (said, age, ticks) in said {
            number += 1;
            // What latched a stop is forgiven, so that the next thing said has its chance.
            if reflex.reset(tick_ns(tick), Gate::Open).is_ok() {
                commanded = false;
            }
            reflex.enable();
            let spoken_ns = when(tick_ns(tick), age);
            let mut chunk = said.output(0, spoken_ns);
            for turn in 0..ticks {
                let now_ns = tick_ns(tick);
                tick += 1;
                let body = Body {
                    stamp_ns: now_ns,
                    q,
                    gripper_width_m: width_m,
                    base_from_tool: chain.base_from_tip(&q),
                };
                let snapshot = Snapshot::of_body(now_ns, body);
                if !matches!(said, Said::Chunk(..)) {
                    // A new decision each period of the mind.
                    chunk = said.output(turn / 4, when(now_ns, age));
                }
                let (intent, gate) = match (&said, &chunk) {
                    (Said::Disabled, _) => (Intent::Nothing, Gate::NotEnabled),
                    (Said::Fails | Said::Panics, _) => (Intent::Failed, Gate::Open),
                    (Said::Tokens(_), _) => (Intent::Refused(Rule::Grammar), Gate::Open),
                    (_, Some(Output::Goals(decision))) => (Intent::Follow(decision), Gate::Open),
                    (_, Some(Output::Chunk(chunk))) => (Intent::Execute(number, chunk), Gate::Open),
                    (_, None) => (Intent::Nothing, Gate::Open),
                };
                let command = reflex.tick(now_ns, &snapshot, gate, intent);
                watch.look(&command, snapshot.body.as_ref());
                match command.joints {
                    Some(joints) => (q, width_m, commanded) = (joints.q, joints.gripper_width_m, true),
                    None => prop_assert!(!commanded, "commands must not stop coming"),
                }
            }
            judged(&watch)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_whole_runtime_keeps_every_command_within_the_limits(
        said in prop::collection::vec((any_said(), any_age(), 1..200u64), 1..10),
        offset in prop::array::uniform7(-0.15..0.15f64),
        chunk_hz in prop_oneof![Just(20.0), Just(50.0)],
    ) {
        let mut config = Config::default();
        config.chunk.rate_hz = chunk_hz;
        config.safety.require_enable = true;
        config.safety.enable_timeout_ms = 50;
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        let mut watch = CommandWatch::new(chain, &config);
        let mut rig = Rig::new(config, reach());
        for (q, offset) in rig.plant.q.iter_mut().zip(offset) {
            *q += offset;
        }
        for (said, age, ticks) in said {
            // What latched a stop is forgiven; where nothing was, there is nothing to reset.
            let _nothing_latched = rig.runtime.reset(rig.now_ns());
            for turn in 0..ticks {
                if !matches!(said, Said::Disabled) {
                    rig.runtime.enable(rig.now_ns());
                }
                if turn % 4 == 0 {
                    rig.script.says(match (&said, said.output(turn / 4, START_NS)) {
                        (_, Some(output)) => Say::Aged(output, age),
                        (Said::Panics, None) => Say::Panic,
                        (_, None) => Say::Error,
                    });
                }
                let command = rig.step();
                watch.look(&command, rig.runtime.snapshot().body.as_ref());
            }
            judged(&watch)?;
        }
    }
}
