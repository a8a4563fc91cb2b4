//! Delivery over zenoh, in the form of `rmw_zenoh`.
//!
//! Latched topics: the publisher keeps its last payload and answers queries for its key; it shows
//! itself by its liveliness token. A subscription asks each publisher that shows itself, so that it
//! does not matter who came first or when the network did. A payload that comes both ways is known by
//! its sequence number.

use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use zenoh::bytes::Encoding;
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::{CongestionControl, Priority as ZenohPriority};
use zenoh::query::{ConsolidationMode, QueryTarget, Queryable};
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Config, Session, Wait};

use super::{Advertisement, Guard, Interest, LinkError, MAX_MESSAGE_BYTES, Outlet, Sink, Transport, lock};
use crate::attachment::{ATTACHMENT_BYTES, Attachment};
use crate::topic::{Priority, Qos};

/// How long a blocking put waits for a stalled peer before that peer is cut off, microseconds.
const BLOCK_US: u64 = 500_000;

/// What zenoh puts around a payload, generously, bytes.
const ENVELOPE_BYTES: usize = 4096;

/// How often a port is chosen anew when another process takes it in between.
const PORT_ATTEMPTS: usize = 8;

/// How a zenoh link is opened. The default listens on a free loopback port and connects to nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZenohConfig {
    /// Where to listen, `tcp/HOST:PORT`; port 0 takes a free one, see [`super::Link::locators`].
    /// Empty: listen nowhere.
    pub listen: Vec<String>,
    /// The peers to connect to, `tcp/HOST:PORT`. Those not there yet are tried again for ever.
    pub connect: Vec<String>,
    /// Allow endpoints beyond loopback. There is no authentication yet: whoever reaches such an
    /// endpoint can command the robot.
    pub allow_remote: bool,
    /// The ROS domain, the first part of every key.
    pub domain: u32,
    /// The node's name, as ROS 2 will show it.
    pub node: String,
}

impl Default for ZenohConfig {
    fn default() -> Self {
        Self {
            listen: vec!["tcp/127.0.0.1:0".to_owned()],
            connect: Vec::new(),
            allow_remote: false,
            domain: 0,
            node: "edge_runtime".to_owned(),
        }
    }
}

/// Splits `tcp/HOST:PORT` and checks that the host is allowed.
fn parse_endpoint(endpoint: &str, allow_remote: bool) -> Result<(&str, u16), LinkError> {
    let malformed = || LinkError::Endpoint { endpoint: endpoint.to_owned() };
    let (host, port) =
        endpoint.strip_prefix("tcp/").and_then(|address| address.rsplit_once(':')).ok_or_else(malformed)?;
    let port = port.parse().map_err(|_| malformed())?;
    let loopback = if host == "localhost" {
        true
    } else {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().map_err(|_| malformed())?.is_loopback()
    };
    if loopback || allow_remote {
        Ok((host, port))
    } else {
        Err(LinkError::NotLoopback { endpoint: endpoint.to_owned() })
    }
}

/// The endpoint with a free port in the place of 0. (zenoh would choose one itself, but its stable
/// interface does not say which.)
fn with_port(host: &str, port: u16) -> std::io::Result<String> {
    let port = if port == 0 { TcpListener::bind(format!("{host}:0"))?.local_addr()?.port() } else { port };
    Ok(format!("tcp/{host}:{port}"))
}

fn settings(listen: &[String], connect: &[String]) -> zenoh::Result<Config> {
    let mut config = Config::default();
    for (key, value) in [
        ("mode", serde_json::json!("peer")),
        ("listen/endpoints", serde_json::json!(listen)),
        ("connect/endpoints", serde_json::json!(connect)),
        ("connect/timeout_ms", serde_json::json!(-1)),
        ("connect/exit_on_failure", serde_json::json!(false)),
        (
            "connect/retry",
            serde_json::json!({"period_init_ms": 100, "period_max_ms": 1000, "period_increase_factor": 2}),
        ),
        ("scouting/multicast/enabled", serde_json::json!(false)),
        ("scouting/gossip/enabled", serde_json::json!(false)),
        ("scouting/delay", serde_json::json!(0)),
        ("adminspace/enabled", serde_json::json!(false)),
        ("transport/link/rx/max_message_size", serde_json::json!(MAX_MESSAGE_BYTES + ENVELOPE_BYTES)),
        ("transport/link/tx/queue/congestion_control/block/wait_before_close", serde_json::json!(BLOCK_US)),
    ] {
        config.insert_json5(key, &value.to_string())?;
    }
    Ok(config)
}

/// Opens a session.
pub(super) fn open(config: &ZenohConfig) -> Result<ZenohTransport, LinkError> {
    let hosts = config
        .listen
        .iter()
        .map(|endpoint| parse_endpoint(endpoint, config.allow_remote))
        .collect::<Result<Vec<_>, _>>()?;
    for endpoint in &config.connect {
        parse_endpoint(endpoint, config.allow_remote)?;
    }
    let failed = |reason: String| LinkError::Open {
        listen: config.listen.clone(),
        connect: config.connect.clone(),
        reason,
    };
    let chooses_port = hosts.iter().any(|&(_, port)| port == 0);
    let mut attempts = if chooses_port { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let locators = hosts
            .iter()
            .map(|&(host, port)| with_port(host, port))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(error.to_string()))?;
        let settings = settings(&locators, &config.connect).map_err(|error| failed(error.to_string()))?;
        match zenoh::open(settings).wait() {
            Ok(session) => return Ok(ZenohTransport { session, locators }),
            Err(error) if attempts == 0 => return Err(failed(error.to_string())),
            Err(_) => {}
        }
    }
}

/// A zenoh session. Dropping it closes the session.
pub(super) struct ZenohTransport {
    session: Session,
    locators: Vec<String>,
}

impl ZenohTransport {
    /// The session's identity, hexadecimal.
    pub(super) fn id(&self) -> String {
        self.session.zid().to_string()
    }
}

fn congestion(qos: Qos) -> CongestionControl {
    if qos.block { CongestionControl::Block } else { CongestionControl::Drop }
}

fn priority(qos: Qos) -> ZenohPriority {
    match qos.priority {
        Priority::RealTime => ZenohPriority::RealTime,
        Priority::InteractiveHigh => ZenohPriority::InteractiveHigh,
        Priority::InteractiveLow => ZenohPriority::InteractiveLow,
        Priority::DataHigh => ZenohPriority::DataHigh,
        Priority::Data => ZenohPriority::Data,
        Priority::DataLow => ZenohPriority::DataLow,
    }
}

fn words(error: zenoh::Error) -> String {
    error.to_string()
}

/// Hands a zenoh sample to a sink.
fn pass_on(sample: &Sample, sink: &dyn Sink) {
    if sample.kind() == SampleKind::Put {
        let attachment = sample.attachment().map(zenoh::bytes::ZBytes::to_bytes);
        sink.deliver(&sample.payload().to_bytes(), attachment.as_deref());
    }
}

impl Transport for ZenohTransport {
    fn advertise(&self, advertisement: &Advertisement<'_>) -> Result<Box<dyn Outlet>, String> {
        let key = KeyExpr::new(advertisement.key.to_owned()).map_err(words)?;
        let publisher = self
            .session
            .declare_publisher(key.clone())
            .congestion_control(congestion(advertisement.qos))
            .priority(priority(advertisement.qos))
            .express(advertisement.qos.express)
            .encoding(Encoding::APPLICATION_CDR)
            .wait()
            .map_err(words)?;
        let latch = if advertisement.qos.latched {
            Some(Latch::new(&self.session, key, advertisement.liveliness_key)?)
        } else {
            None
        };
        Ok(Box::new(ZenohOutlet { publisher, latch }))
    }

    fn subscribe(&self, interest: &Interest<'_>, sink: Arc<dyn Sink>) -> Result<Guard, String> {
        let key = KeyExpr::new(interest.key.to_owned()).map_err(words)?;
        let live_sink = Arc::clone(&sink);
        let live: Subscriber<()> = self
            .session
            .declare_subscriber(key.clone())
            .callback(move |sample| pass_on(&sample, &*live_sink))
            .wait()
            .map_err(words)?;
        if !interest.qos.latched {
            return Ok(Box::new(live));
        }
        let querier = self
            .session
            .declare_querier(key)
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .wait()
            .map_err(words)?;
        let arrivals: Subscriber<()> = self
            .session
            .liveliness()
            .declare_subscriber(interest.publishers)
            .history(true)
            .callback(move |token| {
                if token.kind() == SampleKind::Put {
                    let sink = Arc::clone(&sink);
                    // The session refuses only when it is closing, and then nobody waits for the value.
                    let _closing = querier
                        .get()
                        .callback(move |reply| {
                            if let Ok(sample) = reply.result() {
                                pass_on(sample, &*sink);
                            }
                        })
                        .wait();
                }
            })
            .wait()
            .map_err(words)?;
        Ok(Box::new((live, arrivals)))
    }

    fn inject(&self, key: &str, qos: Qos, payload: &[u8], attachment: Option<&[u8]>) -> Result<(), String> {
        self.session
            .put(key, payload)
            .attachment(attachment)
            .congestion_control(congestion(qos))
            .priority(priority(qos))
            .express(qos.express)
            .encoding(Encoding::APPLICATION_CDR)
            .wait()
            .map_err(words)
    }

    fn locators(&self) -> &[String] {
        &self.locators
    }

    fn peers(&self) -> usize {
        self.session.info().peers_zid().wait().count()
    }
}

type Latest = Arc<Mutex<Option<(Vec<u8>, [u8; ATTACHMENT_BYTES])>>>;

/// A latched publisher's last payload, and what makes it known.
struct Latch {
    latest: Latest,
    /// Before the queryable: nobody shall be asked who cannot answer.
    _token: LivelinessToken,
    _queryable: Queryable<()>,
}

impl Latch {
    fn new(session: &Session, key: KeyExpr<'static>, liveliness_key: &str) -> Result<Self, String> {
        let latest = Latest::default();
        let answer = Arc::clone(&latest);
        let reply_key = key.clone();
        let queryable = session
            .declare_queryable(key)
            .callback(move |query| {
                let kept = lock(&answer).clone();
                if let Some((payload, attachment)) = kept {
                    // A reply that cannot be sent has lost its asker.
                    let _gone = query.reply(reply_key.clone(), payload).attachment(&attachment[..]).wait();
                }
            })
            .wait()
            .map_err(words)?;
        // After the queryable: whoever sees the token may ask at once.
        let token = session.liveliness().declare_token(liveliness_key.to_owned()).wait().map_err(words)?;
        Ok(Self { latest, _token: token, _queryable: queryable })
    }
}

struct ZenohOutlet {
    publisher: Publisher<'static>,
    latch: Option<Latch>,
}

impl Outlet for ZenohOutlet {
    fn send(&self, payload: Vec<u8>, attachment: &Attachment) -> Result<(), String> {
        let attachment = attachment.encode();
        if let Some(latch) = &self.latch {
            *lock(&latch.latest) = Some((payload.clone(), attachment));
        }
        self.publisher.put(payload).attachment(&attachment[..]).wait().map_err(words)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn only_loopback_is_spoken_to_by_default() {
        for endpoint in ["tcp/127.0.0.1:7447", "tcp/localhost:0", "tcp/[::1]:7447"] {
            assert!(parse_endpoint(endpoint, false).is_ok(), "{endpoint}");
        }
        for endpoint in ["tcp/0.0.0.0:7447", "tcp/[::]:7447", "tcp/192.168.1.2:7447"] {
            let error = parse_endpoint(endpoint, false).unwrap_err();
            assert_eq!(error, LinkError::NotLoopback { endpoint: endpoint.to_owned() });
            assert!(parse_endpoint(endpoint, true).is_ok(), "{endpoint}");
        }
        for endpoint in [
            "",
            "udp/127.0.0.1:1",
            "tcp/127.0.0.1",
            "tcp/127.0.0.1:x",
            "tcp/robot:1",
            "tcp/127.0.0.1:1#iface=x",
        ] {
            let error = parse_endpoint(endpoint, true).unwrap_err();
            assert_eq!(error, LinkError::Endpoint { endpoint: endpoint.to_owned() });
        }
    }

    #[test]
    fn all_settings_are_known_to_zenoh() {
        let config = settings(&["tcp/127.0.0.1:7447".into()], &[]).unwrap();
        for (key, expected) in [
            ("scouting/multicast/enabled", "false"),
            ("scouting/gossip/enabled", "false"),
            ("listen/endpoints", r#"["tcp/127.0.0.1:7447"]"#),
            ("transport/link/rx/max_message_size", "8392704"),
        ] {
            assert_eq!(config.get_json(key).unwrap(), expected, "{key}");
        }
    }
}
