//! The decision grammar as its users see it: what decodes, what parses, what is refused and where.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use reflexarc_vla_model::decision::{Color, Goal, Infeasible, Object, Subtask, ToolTarget, Verdict};
use reflexarc_vla_model::grammar::{
    DecodeError, Grammar, LOGITS_LEN, SLOT_COUNT, SLOTS, TargetError, decode_slots, parse,
    targets_from_verdict, tokens_from_verdict,
};
use reflexarc_vla_model::number::{Axis, decode};
use reflexarc_vla_model::token::{Token, VOCABULARY_SIZE, format_tokens, tokens_from_text};

const REACH: &str = "PLAN pick red mug LOOK u31 v40 DO reach x64 y12 z20 r64 w127 f20 END";

fn tokens(text: &str) -> Vec<Token> {
    tokens_from_text(text).unwrap()
}

fn act(bins: [usize; 8], color: Color, object: Object, subtask: Subtask) -> Verdict {
    let value = |axis: Axis| decode(axis, bins[axis as usize]);
    Verdict::Act {
        plan: vec![Goal::Pick { color, object }],
        subtask,
        target: ToolTarget {
            position_m: [value(Axis::X), value(Axis::Y), value(Axis::Z)],
            yaw_rad: value(Axis::Yaw),
            gripper_width_m: value(Axis::Width),
            gripper_force_n: value(Axis::Force),
        },
        pixel_uv: [value(Axis::U) as f32, value(Axis::V) as f32],
    }
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let bins = prop::array::uniform8(0..128_usize);
    let acts = (bins, 0..8_usize, 0..3_usize, 0..6_usize)
        .prop_map(|(bins, c, o, s)| act(bins, Color::ALL[c], Object::ALL[o], Subtask::ALL[s]));
    prop_oneof![4 => acts, 1 => (0..5_usize).prop_map(|r| Verdict::Infeasible(Infeasible::ALL[r]))]
}

/// Logits of which each wanted token is the largest in its row.
fn logits_for(wanted: &[Option<Token>; SLOT_COUNT]) -> Vec<f32> {
    let mut logits = vec![-1.0; LOGITS_LEN];
    for (row, token) in wanted.iter().enumerate() {
        if let Some(token) = token {
            logits[row * VOCABULARY_SIZE + token.index()] = 9.0;
        }
    }
    logits
}

#[test]
fn a_whole_sequence_is_understood() {
    let verdict = parse(&tokens(REACH)).unwrap();
    assert_eq!(verdict, act([31, 40, 64, 12, 20, 64, 127, 20], Color::Red, Object::Mug, Subtask::Reach));
    let refusal = parse(&tokens("PLAN infeasible absent END")).unwrap();
    assert_eq!(refusal, Verdict::Infeasible(Infeasible::Absent));
}

#[test]
fn faults_are_found_at_their_place() {
    let cases = [
        ("", 0, "token 0: expected PLAN, found the end"),
        ("PLAN", 1, "token 1: expected pick, infeasible, found the end"),
        ("pick", 0, "token 0: expected PLAN, found `pick`"),
        (
            "PLAN pick mug",
            2,
            "token 2: expected red, green, blue, yellow, orange, purple, white, black, found `mug`",
        ),
        ("PLAN pick red mug LOOK END", 5, "token 5: expected a number, found `END`"),
        (
            "PLAN infeasible red END",
            2,
            "token 2: expected unknown_action, unknown_object, unclear, absent, blind, found `red`",
        ),
        ("PLAN infeasible absent", 3, "token 3: expected END, found the end"),
        ("PLAN infeasible absent END END", 4, "token 4: expected nothing, found `END`"),
    ];
    for (text, position, message) in cases {
        let error = parse(&tokens(text)).unwrap_err();
        assert_eq!(error.position, position, "{text}");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn outputs_that_cannot_be_read_are_refused() {
    assert_eq!(decode_slots(&[0.0; 7]), Err(DecodeError::WrongLength { expected: LOGITS_LEN, actual: 7 }));
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut logits = vec![0.0; LOGITS_LEN];
        logits[2 * VOCABULARY_SIZE + 3] = value;
        let error = decode_slots(&logits).unwrap_err();
        assert!(matches!(error, DecodeError::NotFinite { slot: 2, token: 3, .. }), "{error}");
    }
}

#[test]
fn a_sure_output_is_confident_and_neighbouring_numbers_agree() {
    let wanted = targets_from_verdict(&parse(&tokens(REACH)).unwrap()).unwrap();
    let mut logits = logits_for(&wanted);
    logits.iter_mut().for_each(|logit| *logit *= 3.0);
    let sure = decode_slots(&logits).unwrap();
    assert_eq!(format_tokens(&sure.tokens), REACH);
    assert!(sure.confidence > 0.999);
    // Torn between two bins a yaw apart across the wrap: unsure of the bin, not of the place.
    let yaw = 9 * VOCABULARY_SIZE;
    logits[yaw + Token::number(64).index()] = -3.0;
    logits[yaw + Token::number(0).index()] = 27.0;
    logits[yaw + Token::number(127).index()] = 27.0;
    let torn = decode_slots(&logits).unwrap();
    assert!((torn.probabilities[12] - 0.5).abs() < 1e-3);
    assert!(torn.confidence > 0.999);
    // Torn between two colours: unsure.
    logits[VOCABULARY_SIZE + Token::color(Color::Blue).index()] = 27.0;
    assert!((decode_slots(&logits).unwrap().confidence - 0.5).abs() < 1e-3);
}

#[test]
fn a_refusal_leaves_the_other_slots_unused() {
    let targets = targets_from_verdict(&Verdict::Infeasible(Infeasible::Blind)).unwrap();
    assert_eq!(targets.iter().flatten().count(), 2);
    let decoded = decode_slots(&logits_for(&targets)).unwrap();
    assert_eq!(format_tokens(&decoded.tokens), "PLAN infeasible blind END");
}

#[test]
fn verdicts_that_cannot_be_said_are_refused() {
    let mut verdict = act([0; 8], Color::Red, Object::Cube, Subtask::Lift);
    let Verdict::Act { plan, target, .. } = &mut verdict else { unreachable!() };
    target.position_m[1] = f64::NAN;
    plan.truncate(1);
    assert!(matches!(targets_from_verdict(&verdict), Err(TargetError::Number(_))));
    let Verdict::Act { plan, .. } = &mut verdict else { unreachable!() };
    plan.clear();
    assert_eq!(targets_from_verdict(&verdict), Err(TargetError::PlanLength { actual: 0 }));
}

#[test]
fn rows_and_slots_agree() {
    for (row, slot) in SLOTS.iter().enumerate() {
        assert_eq!(slot.row(), row);
        assert!(!slot.tokens().is_empty());
    }
}

proptest! {
    #[test]
    fn whatever_the_model_puts_out_can_be_parsed(logits in prop::collection::vec(-50.0..50.0f32, LOGITS_LEN)) {
        let decoded = decode_slots(&logits).unwrap();
        prop_assert_eq!(parse(&decoded.tokens).unwrap(), decoded.verdict);
        prop_assert_eq!(decoded.probabilities.len(), decoded.tokens.len());
        prop_assert!((0.0..=1.0).contains(&decoded.confidence));
        prop_assert!(decoded.probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
    }

    #[test]
    fn extreme_outputs_can_be_parsed(seed in prop::collection::vec(any::<bool>(), LOGITS_LEN)) {
        let logits: Vec<f32> = seed.iter().map(|high| if *high { f32::MAX } else { f32::MIN }).collect();
        let decoded = decode_slots(&logits).unwrap();
        prop_assert!(decoded.confidence.is_finite());
    }

    #[test]
    fn what_is_said_is_understood(verdict in any_verdict()) {
        let tokens = tokens_from_verdict(&verdict).unwrap();
        prop_assert_eq!(parse(&tokens).unwrap(), verdict.clone());
        prop_assert_eq!(tokens_from_text(&format_tokens(&tokens)).unwrap(), tokens.clone());
        let decoded = decode_slots(&logits_for(&targets_from_verdict(&verdict).unwrap())).unwrap();
        prop_assert_eq!(decoded.tokens, tokens);
    }

    #[test]
    fn one_wrong_token_is_found_where_it_stands(verdict in any_verdict(), place in 0..16_usize, id in 0..VOCABULARY_SIZE as u16) {
        let mut tokens = tokens_from_verdict(&verdict).unwrap();
        let place = place % tokens.len();
        let token = Token::new(id).unwrap();
        let allowed = Grammar::allowed(&tokens[..place]);
        tokens[place] = token;
        match parse(&tokens) {
            Ok(_) => prop_assert!(allowed.contains(token)),
            // PICK and INFEASIBLE are both allowed at place 1, and the fault shows one later.
            Err(error) if allowed.contains(token) => prop_assert_eq!((place, error.position), (1, 2)),
            Err(error) => {
                prop_assert_eq!(error.position, place);
                prop_assert_eq!(error.expected, allowed);
                prop_assert_eq!(error.found, Some(token));
            }
        }
    }

    #[test]
    fn any_sequence_is_parsed_or_refused(ids in prop::collection::vec(0..VOCABULARY_SIZE as u16, 0..40)) {
        let tokens: Vec<Token> = ids.into_iter().map(|id| Token::new(id).unwrap()).collect();
        if let Err(error) = parse(&tokens) {
            prop_assert!(error.position <= tokens.len());
        }
    }
}
