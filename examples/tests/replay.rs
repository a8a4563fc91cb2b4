//! Recordings of the whole arc (simulator, shipped model, everything between) with faults in them come out
//! the same again, decided by the model anew.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use reflexarc_drivers::link::LinkFaults;
use reflexarc_drivers::msg::{BoolMsg, StringMsg};
use reflexarc_drivers::{Bus, Clock, Link, Topics};
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF};
use reflexarc_runtime::config::DeviceChoice;
use reflexarc_runtime::fault::FaultProfile;
use reflexarc_runtime::load::load_policy;
use reflexarc_runtime::replay::{Decisions, Recorded, replay};
use reflexarc_runtime::spine::reset_topic;
use reflexarc_runtime::{Config, Runtime};
use reflexarc_sim::node::{SimNode, TICK_HZ};
use reflexarc_sim::scene::Scene;
use reflexarc_sim::world::World;

const START_NS: u64 = 1_700_000_000_000_000_000;
/// Simulated time of each recording.
const TICKS: u64 = TICK_HZ as u64 * 5 / 4;

fn config(path: &Path) -> Config {
    let mut config = Config::default();
    config.policy.device = DeviceChoice::Cpu;
    config.policy.model =
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/weights/goal.safetensors"));
    config.record.path = Some(path.into());
    config
}

/// A run in lockstep with faults drawn from `seed`, each lasting a while.
fn record(seed: u64, path: &Path) {
    let config = config(path);
    let topics = Topics::new("");
    let (bus, clock) = (Bus::new(), Clock::manual(START_NS));
    let world = World::new(Scene::pick(seed), ARM7_URDF, &ARM7_HOME_RAD, 0.08, 4).unwrap();
    let link = Link::in_process(&bus, clock.clone());
    let mut node = SimNode::new(world, &link, &topics).unwrap();
    let (estop, reset) =
        (link.publisher(&topics.estop).unwrap(), link.publisher(&reset_topic(&topics)).unwrap());
    let (enable, instruction) =
        (link.publisher(&topics.enable).unwrap(), link.publisher(&topics.instruction).unwrap());
    let policy = load_policy(config.policy.model.as_ref().unwrap(), &config).unwrap().policy;
    // The link loses, delays, mixes up and breaks messages as one of the profiles that ship says.
    let names = FaultProfile::names();
    let profile = FaultProfile::load(&names[seed as usize % names.len()]).unwrap().with_seed(seed);
    let faults = LinkFaults::new(profile.link_plan(), clock.clone()).unwrap();
    let link_of_runtime = faults.wrap(&Link::in_process(&bus, clock.clone()));
    let mut runtime = Runtime::new(config, link_of_runtime, policy).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for tick in 0..TICKS {
        let now_ns = START_NS + tick * 1_000_000_000 / u64::from(TICK_HZ);
        clock.set_ns(now_ns);
        match random.next_u32() % 150 {
            0 => node.faults.cameras_frozen = true,
            1 => node.faults.cameras_black = true,
            2 => node.faults.tactile_frozen = true,
            3 => node.faults.joints_frozen = true,
            4..=11 => node.faults = Default::default(),
            12 => estop.put(&BoolMsg::new(true)).unwrap(),
            13..=17 => {
                estop.put(&BoolMsg::new(false)).unwrap();
                reset.put(&BoolMsg::new(true)).unwrap();
                enable.put(&BoolMsg::new(true)).unwrap();
            }
            18 => instruction.put(&StringMsg::new("pick up the blue cube")).unwrap(),
            19 => link.inject(&topics.camera("scene"), &[3; 500], None).unwrap(),
            20 => link.inject(&topics.joint_states, &[0, 1, 0, 0, 9], Some(&[1; 33])).unwrap(),
            _ => {}
        }
        node.publish(now_ns).unwrap();
        faults.pump();
        runtime.step(now_ns);
        node.advance(now_ns);
    }
    let report = runtime.finish_recording().unwrap().unwrap();
    assert_eq!((report.ticks, report.dropped), (TICKS, 0));
}

#[test]
fn ten_recordings_with_faults_come_out_the_same() {
    let mut thoughts = 0;
    for seed in 1..=10 {
        let path = std::env::temp_dir().join(format!("reflexarc-{}-arc-{seed}.mcap", std::process::id()));
        record(seed, &path);
        let recorded = Recorded::open(&path).unwrap();
        let policy = load_policy(recorded.config.policy.model.as_ref().unwrap(), &recorded.config).unwrap();
        let report = replay(&recorded, Decisions::Model(policy.policy), None).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(report.same() && report.gap.is_none(), "seed {seed}:\n{}", report.to_text());
        assert_eq!((report.ticks, report.not_compared), (TICKS, (0, 0)), "seed {seed}");
        thoughts += report.thoughts;
    }
    assert!(thoughts > 150, "{thoughts} thoughts in ten recordings");
}
