//! Delivery over zenoh, in the form of `rmw_zenoh`.

mod config;
mod latch;
mod secure;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

pub use config::{Exposure, Ros, ZenohConfig};
pub use secure::{Credentials, Secure};

use zenoh::bytes::Encoding;
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::{CongestionControl, Priority as ZenohPriority};
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use self::latch::{Latch, ask_for_latched};
use super::graph::Node;
use super::{Advertisement, Guard, Interest, LinkError, Outlet, Sink, Transport};
use crate::attachment::Attachment;
use crate::topic::{Priority, Qos};

/// How often a port is chosen anew when another process takes it in between.
const PORT_ATTEMPTS: usize = 8;

/// Opens a session.
pub(super) fn open(config: &ZenohConfig) -> Result<ZenohTransport, LinkError> {
    config.validate()?;
    let listen = config.endpoints().0;
    let endpoints =
        listen.into_iter().map(|endpoint| config.endpoint(endpoint)).collect::<Result<Vec<_>, _>>()?;
    let chooses_port = endpoints.iter().any(config::Endpoint::wants_free_port);
    let mut attempts = if chooses_port { PORT_ATTEMPTS } else { 1 };
    let (session, locators) = loop {
        attempts -= 1;
        let locators = endpoints
            .iter()
            .map(config::Endpoint::with_port)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| config.failed(error.to_string()))?;
        match zenoh::open(config.settings(&locators)?).wait() {
            Ok(session) => break (session, locators),
            Err(error) if attempts == 0 => return Err(config.failed(error.to_string())),
            Err(_) => {}
        }
    };
    let id = session.zid().to_string();
    let node = Node { domain: config.domain, session: &id, name: &config.node };
    let token = session.liveliness().declare_token(node.key()).wait();
    let token = token.map_err(|error| config.failed(error.to_string()))?;
    Ok(ZenohTransport { _node: token, session, locators, next_latch: AtomicU64::new(0) })
}

/// A zenoh session. Dropping it closes the session.
pub(super) struct ZenohTransport {
    /// Shows the node to ROS 2.
    _node: LivelinessToken,
    session: Session,
    locators: Vec<String>,
    /// Counts latched publishers.
    next_latch: AtomicU64,
}

impl ZenohTransport {
    /// The session's identity, hexadecimal.
    pub(super) fn id(&self) -> String {
        self.session.zid().to_string()
    }

    /// Shows a publisher or a subscription to ROS 2 for as long as the token lives.
    fn show(&self, liveliness_key: &str) -> Result<LivelinessToken, String> {
        self.session.liveliness().declare_token(liveliness_key.to_owned()).wait().map_err(words)
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
            let number = self.next_latch.fetch_add(1, Ordering::Relaxed);
            Some((Latch::new(&self.session, &key, number)?, self.session.clone()))
        } else {
            None
        };
        let token = self.show(advertisement.liveliness_key)?;
        Ok(Box::new(ZenohOutlet { publisher, latch, _token: token }))
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
        let latched = match interest.qos.latched {
            true => Some(ask_for_latched(&self.session, &key, sink)?),
            false => None,
        };
        Ok(Box::new((live, latched, self.show(interest.liveliness_key)?)))
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
        let info = self.session.info();
        info.peers_zid().wait().count()
            + info.routers_zid().wait().filter(|id| *id != self.session.zid()).count()
    }
}

struct ZenohOutlet {
    publisher: Publisher<'static>,
    /// With the session, whose clock stamps what is kept.
    latch: Option<(Latch, Session)>,
    /// Shows the publisher to ROS 2.
    _token: LivelinessToken,
}

impl Outlet for ZenohOutlet {
    fn send(&self, payload: Vec<u8>, attachment: &Attachment) -> Result<(), String> {
        let attachment = attachment.encode();
        let stamp = self
            .latch
            .as_ref()
            .map(|(latch, session)| latch.keep(session.new_timestamp(), &payload, &attachment));
        self.publisher.put(payload).attachment(&attachment[..]).timestamp(stamp).wait().map_err(words)
    }
}
