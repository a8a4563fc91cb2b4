//! What a policy might say if it were broken or malicious.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use reflexarc_vla_model::chunk::ActionChunk;
use reflexarc_vla_model::decision::{Color, Decision, Goal, Object, Subtask, ToolTarget, Verdict};
use reflexarc_vla_model::grammar::{parse, tokens_from_verdict};
use reflexarc_vla_model::policy::Output;
use reflexarc_vla_model::token::Token;

use super::policy::PolicyFault;

const NOT_FINITE: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// Turns a sound answer into garbage of one kind. Faults that are not garbage leave it as it is.
pub(super) fn spoil(rng: &mut ChaCha8Rng, fault: PolicyFault, output: &mut Output) {
    match output {
        Output::Goals(decision) => spoil_decision(rng, fault, decision),
        Output::Chunk(chunk) => spoil_chunk(rng, fault, chunk),
    }
}

fn spoil_decision(rng: &mut ChaCha8Rng, fault: PolicyFault, decision: &mut Decision) {
    // A policy that sees nothing to do may still be made to say something.
    let mut target = match &decision.verdict {
        Verdict::Act { target, .. } => *target,
        Verdict::Infeasible(_) => ToolTarget {
            position_m: [0.5, 0.0, 0.2],
            yaw_rad: 0.0,
            gripper_width_m: 0.08,
            gripper_force_n: 10.0,
        },
    };
    match fault {
        PolicyFault::NotFinite => {
            let value = NOT_FINITE[rng.random_range(0..NOT_FINITE.len())];
            match rng.random_range(0..6) {
                3 => target.yaw_rad = value,
                4 => target.gripper_width_m = value,
                5 => target.gripper_force_n = value,
                axis => target.position_m[axis] = value,
            }
            if let Verdict::Act { target: said, .. } = &mut decision.verdict {
                *said = target;
            }
        }
        PolicyFault::Extremes => {
            let mut end = |low: f64, high: f64| if rng.random_bool(0.5) { low } else { high };
            target.position_m = [end(0.25, 0.75), end(-0.35, 0.35), end(0.0, 0.6)];
            target.yaw_rad = end(-1.57, 1.57);
            target.gripper_width_m = end(0.0, 0.08);
            say(decision, target);
        }
        PolicyFault::Unreachable => {
            target.position_m = match rng.random_range(0..3) {
                0 => [0.75, if rng.random_bool(0.5) { 0.35 } else { -0.35 }, 0.6],
                1 => [rng.random_range(1.0..1e6), 0.0, 0.3],
                _ => [0.25, rng.random_range(-0.35..0.35), 0.6],
            };
            say(decision, target);
        }
        PolicyFault::Colliding => {
            target.position_m = match rng.random_range(0..3) {
                0 => [target.position_m[0], target.position_m[1], 0.0],
                1 => [target.position_m[0], target.position_m[1], rng.random_range(-0.3..0.0)],
                _ => [rng.random_range(-0.1..0.1), rng.random_range(-0.1..0.1), 0.1],
            };
            target.gripper_width_m = 0.0;
            say(decision, target);
        }
        PolicyFault::Tokens => {
            let all: Vec<Token> = Token::all().collect();
            for _ in 0..rng.random_range(1..=3) {
                let at = rng.random_range(0..decision.tokens.len().max(1));
                if let (Some(token), Some(other)) = (decision.tokens.get_mut(at), all.choose(rng)) {
                    *token = *other;
                }
            }
            if let Ok(meaning) = parse(&decision.tokens) {
                decision.verdict = meaning;
            }
        }
        PolicyFault::Stale | PolicyFault::Future => {
            decision.observation_ns = elsewhen(rng, fault, decision.observation_ns);
        }
        PolicyFault::Slow
        | PolicyFault::Fail
        | PolicyFault::Panic
        | PolicyFault::Hang
        | PolicyFault::Freeze => {}
    }
}

/// Lets a decision ask for `target` in words that mean it, as far as there are such words.
fn say(decision: &mut Decision, target: ToolTarget) {
    let (plan, subtask) = match &decision.verdict {
        Verdict::Act { plan, subtask, .. } => (plan.clone(), *subtask),
        Verdict::Infeasible(_) => {
            (vec![Goal::Pick { color: Color::Red, object: Object::Mug }], Subtask::Reach)
        }
    };
    let verdict = Verdict::Act { plan, subtask, target, pixel_uv: [0.5, 0.5] };
    let spoken = tokens_from_verdict(&verdict).ok().and_then(|tokens| {
        let meaning = parse(&tokens).ok()?;
        Some((tokens, meaning))
    });
    match spoken {
        Some((tokens, meaning)) => (decision.tokens, decision.verdict) = (tokens, meaning),
        None => decision.verdict = verdict,
    }
}

fn spoil_chunk(rng: &mut ChaCha8Rng, fault: PolicyFault, chunk: &mut ActionChunk) {
    let width = chunk.width.max(1);
    match fault {
        PolicyFault::NotFinite => {
            for _ in 0..rng.random_range(1..=4) {
                let at = rng.random_range(0..chunk.actions.len().max(1));
                if let Some(value) = chunk.actions.get_mut(at) {
                    *value = NOT_FINITE[rng.random_range(0..NOT_FINITE.len())] as f32;
                }
            }
        }
        PolicyFault::Extremes => {
            let reach = rng.random_range(0.1..3.0_f32);
            for (index, action) in chunk.actions.chunks_mut(width).enumerate() {
                let sign = if index % 2 == 0 { 1.0 } else { -1.0 };
                action.iter_mut().for_each(|value| *value = sign * reach);
            }
        }
        PolicyFault::Unreachable => {
            let far = [100.0, -100.0, 1e30, -1e30][rng.random_range(0..4)];
            chunk.actions.iter_mut().for_each(|value| *value = far);
        }
        // The forearm through the upper arm, or the hand into the table.
        PolicyFault::Colliding => {
            let fold = [0.0, 1.7, 0.0, -3.0, 0.0, 3.5, 0.0, 0.0_f32];
            let from: Vec<f32> = chunk.action(0).unwrap_or(&[]).to_vec();
            let count = chunk.count().max(1) as f32;
            for (index, action) in chunk.actions.chunks_mut(width).enumerate() {
                let share = index as f32 / count;
                for ((value, from), to) in action.iter_mut().zip(&from).zip(&fold) {
                    *value = from + share * (to - from);
                }
            }
        }
        // A chunk has no tokens: its values lose bits instead.
        PolicyFault::Tokens => {
            for value in &mut chunk.actions {
                if rng.random_bool(0.02) {
                    *value = f32::from_bits(value.to_bits() ^ (1 << rng.random_range(0..32)));
                }
            }
        }
        PolicyFault::Stale | PolicyFault::Future => {
            chunk.observation_ns = elsewhen(rng, fault, chunk.observation_ns);
        }
        PolicyFault::Slow
        | PolicyFault::Fail
        | PolicyFault::Panic
        | PolicyFault::Hang
        | PolicyFault::Freeze => {}
    }
}

fn elsewhen(rng: &mut ChaCha8Rng, fault: PolicyFault, at_ns: u64) -> u64 {
    let by_ns = rng.random_range(1_000_000..20_000_000_000_u64);
    if fault == PolicyFault::Stale { at_ns.saturating_sub(by_ns) } else { at_ns.saturating_add(by_ns) }
}
