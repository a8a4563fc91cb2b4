//! A few cells of the sweep of faults again; `evaluate --suite pick --faults sweep` runs all of them.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use reflexarc_examples::contender::Contender;
use reflexarc_examples::episode::Decider;
use reflexarc_examples::sweep::{Cell, Frozen, HEAD, SEED, read_golden};
use reflexarc_runtime::Config;
use reflexarc_runtime::failsafe::Action;
use reflexarc_vla_model::device::DeviceChoice;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The columns of the golden file's row for a cell and a seed.
fn golden(cell: Cell, seed: u64) -> Vec<String> {
    let text = read_golden(&Path::new(HERE).join("tests/data/faults-sweep.tsv")).unwrap();
    let delay = cell.delay_ms.map_or("period".to_owned(), |ms| ms.to_string());
    let key = [cell.loss_percent.to_string(), delay, cell.frozen.name().to_owned(), seed.to_string()];
    let mut rows = text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    rows.find(|row| row.starts_with(&key)).unwrap()
}

#[test]
fn cells_of_the_sweep_keep_limits_and_promises_and_take_the_failsafe_of_the_table() {
    let weights = Path::new(HERE).join("../vla-model/weights/goal.safetensors");
    let column = |name: &str| HEAD.split('\t').position(|head| head == name).unwrap();
    for (loss_percent, delay_ms, frozen, least) in [
        (0, None, Frozen::JointsShortly, Action::Hold),
        (10, Some(50), Frozen::CamerasShortly, Action::Hold),
        // So slow that nowhere the mug is lifted before the stop is due: an episode that succeeds ends in its hold.
        (0, Some(150), Frozen::CamerasForEver, Action::ControlledStop),
        (10, Some(150), Frozen::PadsForEver, Action::ControlledStop),
    ] {
        let cell = Cell { loss_percent, delay_ms, frozen };
        let policy = Contender::goal(&weights, DeviceChoice::Cpu, None).unwrap().policy;
        let row = cell.run(SEED, Decider::Policy(policy)).unwrap();
        assert_eq!(row.broken(&Config::default()), None, "{cell:?}");
        // Not the golden row to the letter, for processors without a fused multiply-add, which round otherwise.
        assert!(row.failsafe.unwrap().0 >= least, "{cell:?}: {:?}", row.failsafe);
        let golden = golden(cell, SEED);
        assert!(golden[column("failsafe")].ends_with(":sense_lost"), "{golden:?}");
        assert_eq!(golden[column("violations")], "0", "{golden:?}");
    }
}

#[test]
fn a_hold_that_comes_late_breaks_the_promise() {
    let weights = Path::new(HERE).join("../vla-model/weights/goal.safetensors");
    let cell = Cell { loss_percent: 0, delay_ms: None, frozen: Frozen::JointsShortly };
    let policy = Contender::goal(&weights, DeviceChoice::Cpu, None).unwrap().policy;
    let mut row = cell.run(SEED, Decider::Policy(policy)).unwrap();
    let config = Config::default();
    let within_ms = cell.frozen.hold_within_ms(&config).unwrap();
    assert!(row.hold_after_ms.unwrap() <= within_ms);
    row.hold_after_ms = Some(within_ms + 1.0);
    assert!(row.broken(&config).unwrap().contains("promised"));
}
