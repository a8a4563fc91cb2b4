//! Publishes joint states, goals and a camera picture for some seconds, as a robot would, and obeys
//! instructions as far as to repeat them in its goals: something to point a client at when no robot is there.
//!
//! `cargo run --release -p reflexarc-drivers --example publish -- --listen tcp/127.0.0.1:7447 --seconds 10`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reflexarc_drivers::msg::{BoolMsg, Goal, Header, Image, JointState};
use reflexarc_drivers::{Clock, Credentials, Link, Ros, Secure, Topics, ZenohConfig};

const USAGE: &str =
    "publish [--listen ENDPOINT]... [--connect ENDPOINT]... [--ros join|host] [--ros-router ENDPOINT] \
[--allow-remote] [--tls DIRECTORY --name NAME] [--operator NAME]... [--seconds N]
DIRECTORY has ca.pem, NAME.pem and NAME.key.";

fn options() -> Result<(ZenohConfig, u64), Box<dyn std::error::Error>> {
    let mut config = ZenohConfig { listen: vec![], node: "publish_example".into(), ..ZenohConfig::default() };
    let (mut seconds, mut tls, mut name, mut operators) = (10, None, "robot-1".to_owned(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match option.as_str() {
            "--listen" => config.listen.push(value()?),
            "--connect" => config.connect.push(value()?),
            "--ros" => {
                config.ros = match value()?.as_str() {
                    "join" => Ros::Join,
                    "host" => Ros::Host,
                    _ => return Err(USAGE.into()),
                }
            }
            "--ros-router" => config.ros_router = value()?,
            "--allow-remote" => config.allow_remote = true,
            "--tls" => tls = Some(PathBuf::from(value()?)),
            "--name" => name = value()?,
            "--operator" => operators.push(value()?),
            "--seconds" => seconds = value()?.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    if let Some(directory) = tls {
        let credentials = Credentials::Tls {
            root_ca: directory.join("ca.pem"),
            certificate: directory.join(format!("{name}.pem")),
            private_key: directory.join(format!("{name}.key")),
        };
        config.secure = Some(Secure { credentials, operators, robots: vec![name] });
    }
    if config.listen.is_empty() && config.ros == Ros::Off && config.connect.is_empty() {
        config.listen = ZenohConfig::default().listen;
    }
    Ok((config, seconds))
}

#[expect(clippy::print_stdout, reason = "a program tells where it can be reached")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (config, seconds) = options()?;
    let clock = Clock::system();
    println!("exposure: {:?}", config.exposure());
    let link = Link::zenoh(config, clock.clone())?;
    println!("listening on {}", link.locators().join(", "));

    let topics = Topics::new("");
    let joint_states = link.publisher(&topics.joint_states)?;
    let goals = link.publisher(&topics.goal)?;
    let camera = link.publisher(&topics.camera("scene"))?;
    let torque_off = link.publisher(&topics.torque_off)?;
    let mut instruction = link.subscribe(&topics.instruction)?;
    let mut names: Vec<String> = (1..=7).map(|joint| format!("joint{joint}")).collect();
    names.push("gripper".to_owned());
    torque_off.put(&BoolMsg::new(true))?;
    torque_off.put(&BoolMsg::new(false))?;

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
            let told = instruction.latest().map(|sample| sample.value.data.clone());
            let told = told.unwrap_or_else(|| "pick up the red mug".to_owned());
            goals.put(&Goal {
                header: Header::new(clock.now_ns(), "base"),
                plan: vec![told.clone()],
                instruction: told,
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
