//! An arm whose joint states stop: braked, then left alone, and taken up again where it is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use common::{HZ, Rig, Say, act, reach};
use reflexarc_runtime::Config;
use reflexarc_vla_model::decision::Subtask;

fn grip() -> reflexarc_vla_model::decision::Verdict {
    act(Subtask::Grasp, [0.5, 0.1, 0.15], 0.3, 0.02, 20.0)
}

/// A rig at work whose joint states have stopped, and whose arm has been braked.
fn blind() -> Rig {
    let mut rig = Rig::new(Config::default(), reach());
    rig.run(4 * HZ);
    rig.script.says(Say::Verdict(grip()));
    rig.run(HZ);
    rig.plant.sends.joints = false;
    rig.run(HZ / 2);
    rig
}

#[test]
fn what_cannot_be_seen_is_not_commanded() {
    let mut rig = blind();
    let sent = rig.plant.commands;
    for _ in 0..HZ {
        assert!(rig.step().joints.is_none());
    }
    assert!(rig.plant.commands <= sent + 1);
}

#[test]
fn an_arm_that_comes_back_elsewhere_is_not_pulled_to_where_it_stood() {
    let mut rig = blind();
    rig.plant.sends.stuck = true;
    rig.plant.q[0] += 0.4;
    rig.plant.q[3] -= 0.3;
    rig.plant.width_m = 0.07;
    rig.plant.sends.joints = true;
    let found = rig.plant.q.clone();
    let joints = (0..HZ).find_map(|_| rig.step().joints).unwrap();
    for (q, found) in joints.q.iter().zip(&found) {
        assert!((q - found).abs() < 0.01, "commanded {q}, stands at {found}");
    }
    assert!((joints.gripper_width_m - 0.07).abs() < 0.005, "{}", joints.gripper_width_m);
}

#[test]
fn what_was_held_stays_held() {
    let mut rig = blind();
    rig.plant.sends.joints = true;
    let joints = (0..HZ).find_map(|_| rig.step().joints).unwrap();
    // As near as the grammar's tokens are.
    assert!((joints.gripper_force_n - 20.0).abs() < 0.5, "{}", joints.gripper_force_n);
    assert!((joints.gripper_width_m - 0.02).abs() < 0.005, "{}", joints.gripper_width_m);
    rig.until_active();
}
