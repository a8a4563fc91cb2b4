//! What only a network can do: peers that come late, vanish, stall, come back; ports that are taken.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use reflexarc_drivers::msg::{BoolMsg, Header, Image, StringMsg};
use reflexarc_drivers::{Clock, Link, LinkError, Topics, ZenohConfig};

const PATIENCE: Duration = Duration::from_secs(10);

fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn listening() -> Link {
    Link::zenoh(ZenohConfig::default(), Clock::system()).unwrap()
}

fn connecting(to: &[String]) -> Link {
    let config = ZenohConfig { listen: vec![], connect: to.to_vec(), ..ZenohConfig::default() };
    Link::zenoh(config, Clock::system()).unwrap()
}

#[test]
fn only_loopback_listens() {
    let link = listening();
    let [locator] = link.locators() else { panic!("expected one locator: {:?}", link.locators()) };
    let port: u16 = locator.strip_prefix("tcp/127.0.0.1:").unwrap().parse().unwrap();
    assert_ne!(port, 0);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    // Another loopback address of this machine stands for every other interface.
    assert!(TcpStream::connect_timeout(&([127, 0, 0, 2], port).into(), Duration::from_secs(1)).is_err());
}

#[test]
fn a_taken_port_and_a_foreign_endpoint_are_errors() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp/{}", taken.local_addr().unwrap());
    let config = ZenohConfig { listen: vec![endpoint.clone()], ..ZenohConfig::default() };
    let error = Link::zenoh(config, Clock::system()).unwrap_err();
    assert!(matches!(&error, LinkError::Open { listen, .. } if *listen == [endpoint]), "{error}");
    let config = ZenohConfig { listen: vec!["tcp/0.0.0.0:0".into()], ..ZenohConfig::default() };
    assert!(matches!(Link::zenoh(config, Clock::system()), Err(LinkError::NotLoopback { .. })));
}

/// The peer to connect to need not be there; once it is, latched values come through.
#[test]
fn a_peer_may_come_late_and_come_back() {
    let first = listening();
    let locators = first.locators().to_vec();
    drop(first);
    let start = Instant::now();
    let robot = connecting(&locators);
    assert!(start.elapsed() < Duration::from_secs(2), "opening does not wait for absent peers");
    let topics = Topics::new("");
    let mut instruction = robot.subscribe_queue(&topics.instruction, 8).unwrap();
    for text in ["once", "again"] {
        let config = ZenohConfig { listen: locators.clone(), ..ZenohConfig::default() };
        let operator = Link::zenoh(config, Clock::system()).unwrap();
        let publisher = operator.publisher(&topics.instruction).unwrap();
        // Published before the robot has found the operator.
        publisher.put(&StringMsg::new(text)).unwrap();
        let sample = instruction.recv_timeout(PATIENCE);
        assert_eq!(sample.unwrap().value.data, text);
    }
    assert_eq!(instruction.stats().gaps, 0, "a restarted publisher is not a gap");
}

/// A peer that stops reading, with its connection open: puts neither hang nor fail for long.
#[test]
fn a_stalled_peer_does_not_hold_puts() {
    let robot = listening();
    // The operator reaches the robot through a relay that can stop passing bytes on.
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let via = vec![format!("tcp/{}", relay.local_addr().unwrap())];
    let target = robot.locators()[0].strip_prefix("tcp/").unwrap().to_owned();
    let (stall, stalled) = crossbeam::channel::bounded::<()>(0);
    let thread = std::thread::Builder::new().name("relay".into());
    let relaying = thread.spawn(move || {
        let (operator, _) = relay.accept().unwrap();
        let robot = TcpStream::connect(target).unwrap();
        for stream in [&operator, &robot] {
            stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        }
        let mut buffer = vec![0; 1 << 16];
        // Until the test is told to stall; then hold both connections until it ends.
        while stalled.try_recv() == Err(crossbeam::channel::TryRecvError::Empty) {
            for (mut from, mut to) in [(&operator, &robot), (&robot, &operator)] {
                if let Ok(count) = from.read(&mut buffer) {
                    to.write_all(&buffer[..count]).unwrap();
                }
            }
        }
        (operator, robot)
    });
    let operator = connecting(&via);
    let topics = Topics::new("");
    let mut seen = operator.subscribe(&topics.camera("scene")).unwrap();
    let mut enabled = operator.subscribe(&topics.enable).unwrap();
    let camera = robot.publisher(&topics.camera("scene")).unwrap();
    let enable = robot.publisher(&topics.enable).unwrap();
    let frame = Image::rgb8(Header::new(0, "scene"), 96, 96, vec![1; 96 * 96 * 3]).unwrap();
    until("the operator hears the robot", || {
        camera.put(&frame).unwrap();
        enable.put(&BoolMsg::new(true)).unwrap();
        (seen.latest().is_some() && enabled.latest().is_some()).then_some(())
    });
    drop(stall);
    let held = relaying.unwrap().join().unwrap();
    let mut slowest = Duration::ZERO;
    // Far more than the sockets and zenoh's queues can hold.
    for _ in 0..1000 {
        let start = Instant::now();
        let _counted = camera.put(&frame);
        let _counted = enable.put(&BoolMsg::new(true));
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "a put took {slowest:?}");
    let stats = camera.stats();
    assert!(stats.sent + stats.failed >= 1000);
    drop(held);
}

/// The peer at the other end goes: nothing fails, and another can take its place.
#[test]
fn a_vanished_peer_is_no_error() {
    let robot = listening();
    let topics = Topics::new("");
    let publisher = robot.publisher(&topics.enable).unwrap();
    let operator = connecting(robot.locators());
    let mut heard = operator.subscribe(&topics.enable).unwrap();
    let instruction = operator.publisher(&topics.instruction).unwrap();
    let mut wanted = robot.subscribe(&topics.instruction).unwrap();
    instruction.put(&StringMsg::new("wave")).unwrap();
    until("both hear each other", || {
        publisher.put(&BoolMsg::new(true)).unwrap();
        (heard.latest().is_some() && wanted.latest().is_some()).then_some(())
    });
    drop((operator, heard, instruction));
    for _ in 0..100 {
        let start = Instant::now();
        publisher.put(&BoolMsg::new(true)).unwrap();
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    until("the robot sees that it is alone", || (robot.peers() == 0).then_some(()));
    assert_eq!(wanted.latest().unwrap().value.data, "wave", "the last value stays, with its age");
    // And another takes its place.
    let next = connecting(robot.locators());
    let mut heard = next.subscribe(&topics.enable).unwrap();
    until("the next operator hears the robot", || {
        publisher.put(&BoolMsg::new(false)).unwrap();
        heard.latest()
    });
}
