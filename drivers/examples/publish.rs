//! Publishes joint states, goals and a camera picture for some seconds, as a robot would: something to
//! point a subscriber at when no robot is there.
//!
//! `cargo run --release -p reflexarc-drivers --example publish -- [PORT] [SECONDS]`

use std::time::{Duration, Instant};

use reflexarc_drivers::msg::{Goal, Header, Image, JointState};
use reflexarc_drivers::{Clock, Link, Topics, ZenohConfig};

#[expect(clippy::print_stdout, reason = "a program tells where it can be reached")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(10), |seconds| seconds.parse())?;

    let clock = Clock::system();
    let config = ZenohConfig {
        listen: vec![format!("tcp/127.0.0.1:{port}")],
        node: "publish_example".to_owned(),
        ..ZenohConfig::default()
    };
    let link = Link::zenoh(config, clock.clone())?;
    println!("listening on {}", link.locators().join(", "));

    let topics = Topics::new("");
    let joint_states = link.publisher(&topics.joint_states)?;
    let goals = link.publisher(&topics.goal)?;
    let camera = link.publisher(&topics.camera("scene"))?;
    let mut names: Vec<String> = (1..=7).map(|joint| format!("joint{joint}")).collect();
    names.push("gripper".to_owned());

    let start = Instant::now();
    let mut tick = 0u64;
    while start.elapsed() < Duration::from_secs(seconds) {
        let phase = tick as f64 * 0.02;
        joint_states.put(&JointState {
            header: Header::new(clock.now_ns(), "base"),
            name: names.clone(),
            position: (0..8).map(|joint| 0.04 * (phase + f64::from(joint)).sin()).collect(),
            velocity: vec![0.0; 8],
            effort: vec![0.0; 8],
        })?;
        // Joints at 240 Hz, pictures and goals at 60 Hz.
        if tick.is_multiple_of(4) {
            let pixels = (0..96 * 96 * 3).map(|byte| ((byte + tick) % 256) as u8).collect();
            camera.put(&Image::rgb8(Header::new(clock.now_ns(), "scene"), 96, 96, pixels)?)?;
            goals.put(&Goal {
                header: Header::new(clock.now_ns(), "base"),
                instruction: "pick up the red mug".to_owned(),
                plan: vec!["pick(red mug)".to_owned()],
                subtask: "reach".to_owned(),
                target_position_m: [0.5, 0.0, 0.1],
                target_orientation_xyzw: [1.0, 0.0, 0.0, 0.0],
                gripper_width_m: 0.08,
                confidence: 0.9,
                decision: tick / 4 + 1,
                ..Goal::default()
            })?;
        }
        tick += 1;
        // Paced by the tick's own due time, so that lateness does not add up.
        let due = start + Duration::from_nanos(tick * 1_000_000_000 / 240);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
