//! What a ROS 2 node over `rmw_zenoh` sees of us, played by a bare zenoh session: tokens, identities, latched
//! values by the protocol of zenoh-ext, and the router. `.ci/ros2-node` shows the same to foreign clients.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reflexarc_drivers::link::{FaultPlan, FaultRule, LinkFaults};
use reflexarc_drivers::msg::{BoolMsg, JointState, StringMsg};
use reflexarc_drivers::{Attachment, Clock, Link, LinkError, Message, Ros, Topics, ZenohConfig};
use xxhash_rust::xxh3::xxh3_128;
use zenoh::query::{ConsolidationMode, ReplyKeyExpr};
use zenoh::sample::Sample;
use zenoh::{Session, Wait};

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

fn robot() -> Link {
    let config = ZenohConfig { node: "arm".into(), domain: 3, ..ZenohConfig::default() };
    Link::zenoh(config, Clock::system()).unwrap()
}

/// A peer that connects to `endpoints`, as a ROS 2 node does, and gossips like it.
fn foreign(endpoints: &[String]) -> Session {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("listen/endpoints", r#"["tcp/127.0.0.1:0"]"#.to_owned()),
        ("connect/endpoints", serde_json::to_string(endpoints).unwrap()),
        ("connect/timeout_ms", "-1".to_owned()),
        ("scouting/multicast/enabled", "false".to_owned()),
        ("scouting/gossip/autoconnect_strategy", r#"{"peer":{"to_peer":"greater-zid"}}"#.to_owned()),
        ("scouting/gossip/target", r#"{"router":["router","peer"],"peer":["router"]}"#.to_owned()),
    ] {
        config.insert_json5(key, &value).unwrap();
    }
    zenoh::open(config).wait().unwrap()
}

fn tokens(session: &Session, pattern: &str) -> BTreeSet<String> {
    let replies = session.liveliness().get(pattern).timeout(Duration::from_secs(1)).wait().unwrap();
    replies.iter().filter_map(|reply| reply.result().ok().map(|token| token.key_expr().to_string())).collect()
}

#[test]
fn the_graph_has_the_node_its_publishers_and_its_subscriptions() {
    let robot = robot();
    let topics = Topics::new("");
    let ros = foreign(robot.locators());
    let joints = robot.publisher(&topics.joint_states).unwrap();
    let instruction = robot.subscribe(&topics.instruction).unwrap();
    let estop = robot.subscribe_queue(&topics.estop, 4).unwrap();
    // A wrapped link is the same node.
    let faults = LinkFaults::new(FaultPlan { seed: 1, rules: vec![FaultRule::default()] }, Clock::system());
    let wrapped = faults.unwrap().wrap(&robot);
    let camera = wrapped.publisher(&topics.camera("scene")).unwrap();

    let seen = until("ROS 2 sees all five", || {
        Some(tokens(&ros, "@ros2_lv/3/**")).filter(|tokens| tokens.len() == 5)
    });
    let zid = seen.first().unwrap().split('/').nth(2).unwrap().to_owned();
    let (lv, joint_state, string) =
        (format!("@ros2_lv/3/{zid}/0"), JointState::TYPE_HASH, StringMsg::TYPE_HASH);
    let expected = BTreeSet::from([
        format!("{lv}/0/NN/%/%/arm"),
        format!(
            "{lv}/1/MP/%/%/arm/%joint_states/sensor_msgs::msg::dds_::JointState_/{joint_state}/::,10:,:,:,,"
        ),
        format!("{lv}/2/MS/%/%/arm/%instruction/std_msgs::msg::dds_::String_/{string}/:1:,1:,:,:,,"),
        format!("{lv}/3/MS/%/%/arm/%estop/std_msgs::msg::dds_::Bool_/{}/::,1:,:,:,,", BoolMsg::TYPE_HASH),
        format!(
            "{lv}/4/MP/%/%/arm/%camera%scene%image_raw/sensor_msgs::msg::dds_::Image_/\
             RIHS01_d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47/2::,1:,:,:,,"
        ),
    ]);
    assert_eq!(seen, expected);

    // The gid beside each payload is the hash of the publisher's token.
    let heard = Arc::new(Mutex::new(None));
    let callback = Arc::clone(&heard);
    let _subscriber = ros
        .declare_subscriber("3/joint_states/**")
        .callback(move |sample: Sample| {
            *callback.lock().unwrap() = sample.attachment().map(|bytes| bytes.to_bytes().into_owned());
        })
        .wait()
        .unwrap();
    let attachment = until("a joint state arrives", || {
        joints.put(&JointState::default()).unwrap();
        heard.lock().unwrap().clone()
    });
    let key = expected.iter().find(|key| key.contains("/1/MP/")).unwrap();
    assert_eq!(Attachment::decode(Some(&attachment)).unwrap().gid, xxh3_128(key.as_bytes()).to_le_bytes());

    // Each goes with what it stands for.
    drop((joints, camera, estop));
    until("they have gone", || (tokens(&ros, "@ros2_lv/3/**").len() == 2).then_some(()));
    drop((instruction, wrapped, robot));
    until("the node has gone", || tokens(&ros, "@ros2_lv/**").is_empty().then_some(()));
}

/// What zenoh-ext's `AdvancedSubscriber` does: asks all caches, then each publisher whose token it sees, and
/// tells two answers apart by their time stamps.
#[test]
fn latched_values_are_kept_as_by_an_advanced_publisher() {
    let robot = robot();
    let topics = Topics::new("");
    let instruction = robot.publisher(&topics.instruction).unwrap();
    let second = robot.publisher(&topics.instruction).unwrap();
    for text in ["first", "pick up the red mug"] {
        instruction.put(&StringMsg::new(text)).unwrap();
    }
    second.put(&StringMsg::new("second")).unwrap();
    let ros = foreign(robot.locators());
    let key = topics.instruction.key_expr(3);
    let shown = until("both show themselves", || {
        Some(tokens(&ros, &format!("{key}/@adv/pub/**"))).filter(|tokens| tokens.len() == 2)
    });
    let zid = ros.info().peers_zid().wait().next().unwrap();
    let expected = [0, 1].map(|number| format!("{key}/@adv/pub/{zid}/uhlc/{number}"));
    assert_eq!(shown, BTreeSet::from(expected.clone()));
    let ask = |selector: &str| -> Vec<Sample> {
        let replies = ros
            .get(format!("{selector}?_max=1"))
            .accept_replies(ReplyKeyExpr::Any)
            .consolidation(ConsolidationMode::None)
            .target(zenoh::query::QueryTarget::All)
            .timeout(Duration::from_secs(5))
            .wait()
            .unwrap();
        replies.iter().filter_map(|reply| reply.into_result().ok()).collect()
    };
    assert_eq!(ask(&format!("{key}/@adv/**")).len(), 2, "all caches");
    let answers = ask(&expected[0]);
    assert_eq!(answers.len(), 1, "one cache, one answer");
    let kept = &answers[0];
    assert_eq!(kept.key_expr().as_str(), key);
    assert_eq!(StringMsg::decode(&kept.payload().to_bytes()).unwrap().data, "pick up the red mug");
    let attachment = kept.attachment().unwrap().to_bytes();
    assert_eq!(Attachment::decode(Some(&attachment)).unwrap().sequence, 2);
    let stamp = *kept.timestamp().unwrap();
    assert_eq!(stamp.get_id().to_string(), zid.to_string());

    // The live payload bears the same stamp as the kept one, and stamps rise.
    let heard = Arc::new(Mutex::new(Vec::new()));
    let callback = Arc::clone(&heard);
    let _subscriber = ros
        .declare_subscriber(key)
        .callback(move |sample: Sample| callback.lock().unwrap().push(*sample.timestamp().unwrap()))
        .wait()
        .unwrap();
    until("live ones arrive", || {
        instruction.put(&StringMsg::new("stop")).unwrap();
        (heard.lock().unwrap().len() > 2).then_some(())
    });
    std::thread::sleep(Duration::from_millis(100));
    let heard = heard.lock().unwrap().clone();
    assert!(heard.iter().zip(&heard[1..]).all(|(before, after)| before < after) && heard[0] > stamp);
    assert_eq!(ask(&expected[0])[0].timestamp(), heard.last());
}

/// A foreign publisher that keeps its last value: the robot gets it, whoever came first.
#[test]
fn the_value_of_an_advanced_publisher_is_taken() {
    let robot = robot();
    let topics = Topics::new("");
    let key = topics.instruction.key_expr(3);
    let mut early = robot.subscribe_queue(&topics.instruction, 4).unwrap();
    let ros = foreign(robot.locators());
    // As of a reliable publisher of rmw_zenoh, which numbers itself instead of `uhlc`.
    let own_key = format!("{key}/@adv/pub/{}/7/_", ros.zid());
    let reply_key = key.clone();
    let attachment = Attachment { sequence: 5, source_ns: 1, gid: [9; 16] }.encode();
    let _queryable = ros
        .declare_queryable(own_key.clone())
        .callback(move |query| {
            let payload = StringMsg::new("fold the cloth").encode();
            query.reply(reply_key.clone(), payload).attachment(&attachment[..]).wait().unwrap();
        })
        .wait()
        .unwrap();
    let _token = ros.liveliness().declare_token(own_key).wait().unwrap();
    let sample = early.recv_timeout(PATIENCE).unwrap();
    assert_eq!((sample.value.data.as_str(), sample.sequence), ("fold the cloth", 5));
    let mut late = robot.subscribe(&topics.instruction).unwrap();
    assert_eq!(until("the late one has it", || late.latest()).value.data, "fold the cloth");
    assert_eq!((late.stats().malformed, late.stats().gaps), (0, 0));
}

fn joining(router: &str, ros: Ros) -> Result<Link, LinkError> {
    let config =
        ZenohConfig { ros, ros_router: router.into(), listen: vec![], domain: 3, ..ZenohConfig::default() };
    Link::zenoh(config, Clock::system())
}

/// Nodes that know only the router hear each other, ours and foreign ones; the router may come late.
#[test]
fn nodes_meet_by_the_router() {
    let router = format!("tcp/{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let topics = Topics::new("");
    let early = joining(&router, Ros::Join).unwrap();
    assert_eq!(early.locators().len(), 1, "others can connect to it");
    let mut heard_early = early.subscribe(&topics.enable).unwrap();
    let host = joining(&router, Ros::Host).unwrap();
    let error = joining(&router, Ros::Host).unwrap_err();
    assert!(matches!(error, LinkError::Open { .. }), "one router at one endpoint: {error}");
    let mut heard_host = host.subscribe(&topics.enable).unwrap();
    let late = joining(&router, Ros::Join).unwrap();
    let enable = late.publisher(&topics.enable).unwrap();
    let ros = foreign(std::slice::from_ref(&router));
    let count = Arc::new(Mutex::new(0));
    let callback = Arc::clone(&count);
    let _subscriber = ros
        .declare_subscriber(topics.enable.key_expr(3))
        .callback(move |_: Sample| *callback.lock().unwrap() += 1)
        .wait()
        .unwrap();
    until("all hear the late one", || {
        enable.put(&BoolMsg::new(true)).unwrap();
        let all = heard_early.latest().is_some() && heard_host.latest().is_some();
        (all && *count.lock().unwrap() > 0).then_some(())
    });
    let seen = until("ROS 2 sees all nodes", || {
        Some(tokens(&ros, "@ros2_lv/3/*/*/*/NN/**")).filter(|nodes| nodes.len() == 3)
    });
    assert!(seen.iter().all(|node| node.ends_with("/NN/%/%/edge_runtime")));
}
