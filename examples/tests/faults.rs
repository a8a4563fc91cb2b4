//! Some hundred random schedules of faults; `cargo run --release --example faults` runs thousands.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use reflexarc_examples::schedule::{Schedule, run_many};

#[test]
fn whatever_goes_wrong_limits_hold_stops_stop_and_the_arm_moves_again() {
    let tally = run_many(1_000_000, 200, 2, &|_| {}).unwrap();
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
    // The schedules do what they are for.
    assert!(tally.link_faults > 10_000 && tally.holds > 150 && tally.stops > 40, "{tally:#?}");
    assert!(tally.policy_faults.iter().filter(|count| **count > 0).count() >= 11, "{tally:#?}");
    assert!(tally.shares[0] > 0.2 && tally.shares[1] > 0.9, "{tally:#?}");
}

#[test]
fn a_seed_says_all() {
    for seed in [7, 8, 9] {
        let run = || serde_json::to_string(&Schedule::random(seed).run().unwrap()).unwrap();
        assert_eq!(run(), run());
    }
}
