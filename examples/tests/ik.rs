//! The `ik` example's batch mode and its paths, judged by the chain's own forward kinematics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use reflexarc_examples::arm::Arm;
use reflexarc_examples::batch::{self, Answer, Tally};
use reflexarc_examples::follow;
use reflexarc_kinematics::Task;
use reflexarc_kinematics::ik::IkOptions;
use serde_json::Value;

/// Poses for the built-in arm; line 4 is out of reach, lines 5 to 10 are wrong in one way each.
const QUESTIONS: &str = include_str!("data/poses.jsonl");

fn ask(questions: &str, options: &IkOptions) -> (Tally, Vec<Value>) {
    let arm = Arm::load("arm7", None, None).unwrap();
    let mut output = Vec::new();
    let tally = batch::run(&arm.chain, options, questions.as_bytes(), &mut output).unwrap();
    let lines = String::from_utf8(output).unwrap();
    (tally, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn answers_meet_the_pose_within_the_limits() {
    let arm = Arm::load("arm7", None, None).unwrap();
    let (_, answers) = ask(QUESTIONS, &IkOptions::default());
    let mut reached = 0;
    for (question, answer) in QUESTIONS.lines().filter(|line| !line.trim().is_empty()).zip(answers) {
        let Ok(answer) = serde_json::from_value::<Answer>(answer) else { continue };
        let question: Value = serde_json::from_str(question).unwrap();
        let number = |key: &str, at: usize| question[key][at].as_f64().unwrap();
        let target = Isometry3::from_parts(
            Translation3::new(number("pos", 0), number("pos", 1), number("pos", 2)),
            UnitQuaternion::new_normalize(Quaternion::new(
                number("quat", 3),
                number("quat", 0),
                number("quat", 1),
                number("quat", 2),
            )),
        );
        let tip = arm.chain.base_from_tip(&answer.q);
        let off_m = (tip.translation.vector - target.translation.vector).norm();
        let off_rad = tip.rotation.angle_to(&target.rotation);
        assert!((off_m - answer.pos_err_m).abs() < 1e-9, "{off_m} but it says {}", answer.pos_err_m);
        assert!((off_rad - answer.rot_err_rad).abs() < 1e-7, "{off_rad} but it says {}", answer.rot_err_rad);
        assert!(answer.q.iter().zip(arm.chain.limits()).all(|(q, limits)| limits.contains(*q, 0.0)));
        assert!(answer.micros > 0.0);
        assert_eq!(answer.reachable, off_m <= 1e-5 && off_rad <= 1e-4);
        reached += usize::from(answer.reachable);
    }
    assert_eq!(reached, 4);
}

#[test]
fn what_is_out_of_reach_is_flagged_with_the_closest_configuration() {
    let (tally, answers) = ask(QUESTIONS, &IkOptions::default());
    assert_eq!((tally.answered, tally.reachable), (5, 4));
    let far: Answer = serde_json::from_value(answers[3].clone()).unwrap();
    assert!(!far.reachable);
    // 2 m ahead at shoulder height; the arm reaches a good metre.
    assert!((0.7..1.2).contains(&far.pos_err_m), "{}", far.pos_err_m);
}

#[test]
fn malformed_lines_are_named_and_the_others_answered() {
    let (tally, answers) = ask(QUESTIONS, &IkOptions::default());
    let lines: Vec<&str> = QUESTIONS.lines().collect();
    assert_eq!(answers.len(), lines.iter().filter(|line| !line.trim().is_empty()).count());
    let expected = [
        ("line 5: ", "expected {\"seed\""),
        ("line 6: ", "invalid type: string \"near\", expected f64, column 14"),
        ("line 7: ", "expected 7 finite numbers"),
        ("line 8: ", "norm"),
        ("line 9: ", "`quat` is missing"),
        ("line 10: ", "unknown field"),
    ];
    assert_eq!(tally.malformed.len(), expected.len(), "{:?}", tally.malformed);
    for (error, (place, words)) in tally.malformed.iter().zip(expected) {
        assert!(error.starts_with(place) && error.contains(words), "{error:?} should say {place}…{words}");
        assert!(answers.iter().any(|answer| answer["error"] == error.as_str()));
    }
    assert!(answers.last().unwrap()["q"].is_array(), "the line after them is answered");
}

#[test]
fn the_orientation_may_be_missing_where_it_does_not_count() {
    let options = IkOptions { task: Task::Position, ..IkOptions::default() };
    let (tally, answers) = ask("{\"pos\":[0.4,0.2,0.3]}\n\n", &options);
    assert_eq!((tally.answered, tally.reachable, answers.len()), (1, 1, 1));
    let (tally, answers) = ask("\n \n", &options);
    assert_eq!((tally, answers.len()), (Tally::default(), 0));
    let (tally, _) = ask("not json \u{fffd}\n{\"pos\":[1e999,0,0]}", &options);
    assert_eq!(tally.malformed.len(), 2);
}

#[test]
fn built_in_paths_are_followed_closely_and_within_the_limits() {
    let arm = Arm::load("arm7", None, None).unwrap();
    let here = arm.chain.base_from_tip(&arm.home_rad);
    for what in ["line", "circle"] {
        let wanted = follow::timed(&follow::corners(what, &here).unwrap(), 0.2, 240).unwrap();
        let followed = follow::follow(&arm, &arm.home_rad, wanted, 240, Task::Pose);
        let (error_m, error_rad) = followed.largest();
        assert!(error_m < 3e-3 && error_rad < 0.02, "{what}: {error_m} m, {error_rad} rad");
        for (q, qd) in followed.q.iter().zip(&followed.qd) {
            for (i, limits) in arm.chain.limits().iter().enumerate() {
                assert!(limits.contains(q[i], 0.0) && qd[i].abs() <= limits.velocity_rad_s);
            }
        }
        let picture = follow::draw(&arm, &arm.home_rad, &followed, what);
        assert!(picture.height() > reflexarc_examples::arm_view::HEIGHT);
    }
}

#[test]
fn a_path_that_leads_nowhere_or_for_ever_is_refused() {
    let here = Isometry3::translation(0.5, 0.0, 0.3);
    assert!(follow::timed(&[here, here], 0.2, 240).is_err());
    let far = Isometry3::translation(1e6, 0.0, 0.0);
    assert!(follow::timed(&[here, far], 0.2, 240).unwrap_err().to_string().contains("ticks"));
    assert!(format!("{:#}", follow::corners("no such file", &here).unwrap_err()).contains("circle"));
}
