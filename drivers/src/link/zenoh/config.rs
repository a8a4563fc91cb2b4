//! How a zenoh link is opened, and who could reach it then.

use std::net::{IpAddr, TcpListener};

use serde::{Deserialize, Serialize};
use serde_json::json;
use zenoh::Config;

use super::secure::Secure;
use crate::link::{LinkError, MAX_MESSAGE_BYTES};

/// How long a blocking put waits for a stalled peer before that peer is cut off, microseconds.
const BLOCK_US: u64 = 500_000;

/// What zenoh puts around a payload, generously, bytes.
const ENVELOPE_BYTES: usize = 4096;

/// Where a link listens by default: on a free port of loopback.
const FREE_PORT: &str = "tcp/127.0.0.1:0";

/// How a link meets ROS 2.
///
/// ROS 2 nodes connect to a router at `tcp/localhost:7447` and hear from it where the others are. It is not
/// for a node to guess whether there is one: taking the router's port because nobody has it yet would keep
/// `rmw_zenohd` from starting later, and who talks to whom would hang on who started first. So it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ros {
    /// No router; only those named in `listen` and `connect`.
    #[default]
    Off,
    /// Connect to the router, which may come late and come back, and to the nodes that it knows. They connect
    /// to us too, hence a link that listens nowhere else listens on a free loopback port.
    Join,
    /// Be the router: where no `rmw_zenohd` runs. One node of a machine can; the others join.
    Host,
}

/// Who can publish commands to a link, as far as its configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Programs of this machine only.
    Loopback,
    /// Programs of this machine, and whoever reaches the ROS router that is joined: `rmw_zenohd` listens on
    /// all interfaces unless its configuration says otherwise.
    Router,
    /// The network, with credentials: see [`Secure`].
    Credentials,
    /// The network: whoever reaches an endpoint can command the robot.
    Open,
}

/// How a zenoh link is opened. The default listens on a free loopback port and connects to nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZenohConfig {
    /// Where to listen, `tcp/HOST:PORT` or `tls/HOST:PORT`; port 0 takes a free one, see
    /// [`crate::Link::locators`]. Empty: listen nowhere.
    pub listen: Vec<String>,
    /// The peers to connect to, in the same form. Those not there yet are tried again for ever.
    pub connect: Vec<String>,
    /// Allow endpoints beyond loopback. Without `secure`, whoever reaches such an endpoint can command the
    /// robot.
    pub allow_remote: bool,
    /// Who is let in, and who may command. Absent: everybody who reaches an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure: Option<Secure>,
    /// Whether to join or to be the router of ROS 2. Not together with `secure`: ROS 2 nodes of the usual
    /// configuration have no credentials.
    pub ros: Ros,
    /// The router's endpoint.
    pub ros_router: String,
    /// The ROS domain, the first part of every key.
    pub domain: u32,
    /// The node's name, as ROS 2 will show it.
    pub node: String,
}

impl Default for ZenohConfig {
    fn default() -> Self {
        Self {
            listen: vec![FREE_PORT.to_owned()],
            connect: Vec::new(),
            allow_remote: false,
            secure: None,
            ros: Ros::Off,
            ros_router: "tcp/127.0.0.1:7447".to_owned(),
            domain: 0,
            node: "edge_runtime".to_owned(),
        }
    }
}

/// A checked endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
    loopback: bool,
}

impl<'a> Endpoint<'a> {
    fn parse(endpoint: &'a str, tls: bool) -> Result<Self, LinkError> {
        let malformed = || LinkError::Endpoint { endpoint: endpoint.to_owned() };
        let (scheme, address) = endpoint.split_once('/').ok_or_else(malformed)?;
        if scheme != if tls { "tls" } else { "tcp" } {
            return Err(malformed());
        }
        let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().map_err(|_| malformed())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let loopback = match bare.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) if host == "localhost" => true,
            // Certificates are made out to names.
            Err(_) if tls && is_host_name(host) => false,
            Err(_) => return Err(malformed()),
        };
        Ok(Self { scheme, host, port, loopback })
    }

    pub(super) fn wants_free_port(&self) -> bool {
        self.port == 0
    }

    /// The endpoint with a free port in the place of 0. (zenoh would choose one itself, but its stable
    /// interface does not say which.)
    pub(super) fn with_port(&self) -> std::io::Result<String> {
        let Self { scheme, host, port, .. } = *self;
        let port =
            if port == 0 { TcpListener::bind(format!("{host}:0"))?.local_addr()?.port() } else { port };
        Ok(format!("{scheme}/{host}:{port}"))
    }
}

fn is_host_name(host: &str) -> bool {
    let word_ok = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(word_ok)
}

impl ZenohConfig {
    /// All endpoints to listen on, and all to connect to.
    pub(super) fn endpoints(&self) -> (Vec<&str>, Vec<&str>) {
        let mut listen: Vec<&str> = self.listen.iter().map(String::as_str).collect();
        let mut connect: Vec<&str> = self.connect.iter().map(String::as_str).collect();
        match self.ros {
            Ros::Off => {}
            Ros::Join => {
                connect.push(&self.ros_router);
                if listen.is_empty() {
                    listen.push(FREE_PORT);
                }
            }
            Ros::Host => listen.push(&self.ros_router),
        }
        (listen, connect)
    }

    /// Checks an endpoint's form, and that it may be used.
    pub(super) fn endpoint<'a>(&self, endpoint: &'a str) -> Result<Endpoint<'a>, LinkError> {
        let tls = self.secure.as_ref().is_some_and(Secure::is_tls);
        let parsed = Endpoint::parse(endpoint, tls)?;
        if parsed.loopback || self.allow_remote {
            Ok(parsed)
        } else {
            Err(LinkError::NotLoopback { endpoint: endpoint.to_owned() })
        }
    }

    /// Checks all that can be checked without opening anything but the files of the credentials.
    ///
    /// # Errors
    /// As for [`crate::Link::zenoh`], [`LinkError::Open`] excepted.
    pub fn validate(&self) -> Result<(), LinkError> {
        let node = crate::link::graph::Node { domain: self.domain, session: "", name: &self.node };
        if !node.has_good_name() {
            return Err(LinkError::Node { node: self.node.clone() });
        }
        let (listen, connect) = self.endpoints();
        for endpoint in listen.iter().chain(&connect) {
            self.endpoint(endpoint)?;
        }
        match &self.secure {
            Some(secure) => secure.validate(self),
            None => Ok(()),
        }
    }

    /// Who can publish commands to a link of this configuration, as far as it says. An endpoint that is no
    /// endpoint counts as one of the network.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        let tls = self.secure.as_ref().is_some_and(Secure::is_tls);
        let (listen, connect) = self.endpoints();
        let mut endpoints = listen.iter().chain(&connect);
        let remote =
            endpoints.any(|endpoint| !Endpoint::parse(endpoint, tls).is_ok_and(|parsed| parsed.loopback));
        match (remote, &self.secure, self.ros) {
            (true, Some(_), _) => Exposure::Credentials,
            (true, None, _) => Exposure::Open,
            (false, _, Ros::Join) => Exposure::Router,
            (false, _, Ros::Off | Ros::Host) => Exposure::Loopback,
        }
    }

    /// zenoh's configuration for listening on `listen`.
    pub(super) fn settings(&self, listen: &[String]) -> Result<Config, LinkError> {
        let gossip = self.ros != Ros::Off;
        let mut settings = vec![
            ("mode", json!(if self.ros == Ros::Host { "router" } else { "peer" })),
            ("listen/endpoints", json!(listen)),
            ("connect/endpoints", json!(self.endpoints().1)),
            ("connect/timeout_ms", json!(-1)),
            ("connect/exit_on_failure", json!(false)),
            (
                "connect/retry",
                json!({"period_init_ms": 100, "period_max_ms": 1000, "period_increase_factor": 2}),
            ),
            ("timestamping/enabled", json!(false)),
            ("scouting/multicast/enabled", json!(false)),
            ("scouting/gossip/enabled", json!(gossip)),
            ("scouting/delay", json!(0)),
            ("adminspace/enabled", json!(false)),
            ("transport/link/rx/max_message_size", json!(MAX_MESSAGE_BYTES + ENVELOPE_BYTES)),
            ("transport/link/tx/queue/congestion_control/block/wait_before_close", json!(BLOCK_US)),
        ];
        if gossip {
            // As in rmw_zenoh's own configuration: of two peers, the one with the greater identity connects.
            settings.extend([
                ("scouting/gossip/target", json!({"router": ["router", "peer"], "peer": ["router"]})),
                ("scouting/gossip/autoconnect", json!({"router": [], "peer": ["router", "peer"]})),
                (
                    "scouting/gossip/autoconnect_strategy",
                    json!({"peer": {"to_router": "always", "to_peer": "greater-zid"}}),
                ),
            ]);
            if !self.allow_remote {
                settings.push(("access_control", loopback_only()));
            }
        }
        if let Some(secure) = &self.secure {
            settings.extend(secure.settings(self.domain)?);
        }
        let mut config = Config::default();
        for (key, value) in settings {
            // Values are not in zenoh's words about them, which tell of the key only.
            config.insert_json5(key, &value.to_string()).map_err(|error| self.failed(error.to_string()))?;
        }
        Ok(config)
    }

    /// The error of a session that cannot be opened.
    pub(super) fn failed(&self, reason: String) -> LinkError {
        let (listen, connect) = self.endpoints();
        let owned = |endpoints: Vec<&str>| endpoints.into_iter().map(str::to_owned).collect();
        LinkError::Open { listen: owned(listen), connect: owned(connect), reason }
    }
}

/// All messages, whichever way they go.
pub(super) const ALL_MESSAGES: [&str; 9] = [
    "put",
    "delete",
    "query",
    "reply",
    "declare_subscriber",
    "declare_queryable",
    "liveliness_token",
    "liveliness_query",
    "declare_liveliness_subscriber",
];

/// All keys: a part that starts with `@` is matched by no wildcard.
pub(super) const ALL_KEYS: [&str; 3] = ["**", "**/@adv/**", "@ros2_lv/**"];

/// Gossip tells us of peers anywhere, and zenoh connects to them: messages pass over loopback only, so that
/// nobody beyond it is heard who was not allowed.
fn loopback_only() -> serde_json::Value {
    json!({
        "enabled": true,
        "default_permission": "deny",
        "rules": [{
            "id": "all", "permission": "allow", "flows": ["ingress", "egress"],
            "messages": ALL_MESSAGES, "key_exprs": ALL_KEYS,
        }],
        "subjects": [{"id": "loopback", "interfaces": ["lo", "lo0"]}],
        "policies": [{"rules": ["all"], "subjects": ["loopback"]}],
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn listening(endpoint: &str, allow_remote: bool) -> ZenohConfig {
        ZenohConfig { listen: vec![endpoint.to_owned()], allow_remote, ..ZenohConfig::default() }
    }

    #[test]
    fn only_loopback_is_spoken_to_by_default() {
        for endpoint in ["tcp/127.0.0.1:7447", "tcp/localhost:0", "tcp/[::1]:7447"] {
            assert_eq!(listening(endpoint, false).validate(), Ok(()), "{endpoint}");
            assert_eq!(listening(endpoint, true).exposure(), Exposure::Loopback, "{endpoint}");
        }
        for endpoint in ["tcp/0.0.0.0:7447", "tcp/[::]:7447", "tcp/192.168.1.2:7447"] {
            let error = listening(endpoint, false).validate().unwrap_err();
            assert_eq!(error, LinkError::NotLoopback { endpoint: endpoint.to_owned() });
            assert_eq!(listening(endpoint, true).validate(), Ok(()), "{endpoint}");
            assert_eq!(listening(endpoint, true).exposure(), Exposure::Open, "{endpoint}");
            let config = ZenohConfig { connect: vec![endpoint.to_owned()], ..ZenohConfig::default() };
            assert_eq!(config.exposure(), Exposure::Open, "those we connect to can command too");
        }
        for endpoint in [
            "",
            "udp/127.0.0.1:1",
            "tcp/127.0.0.1",
            "tcp/127.0.0.1:x",
            "tcp/robot:1",
            "tcp/127.0.0.1:1#iface=x",
            "tls/127.0.0.1:1",
        ] {
            let error = listening(endpoint, true).validate().unwrap_err();
            assert_eq!(error, LinkError::Endpoint { endpoint: endpoint.to_owned() });
        }
        for endpoint in ["tls/robot.local:7447", "tls/localhost:1", "tls/10.0.0.1:1"] {
            assert!(Endpoint::parse(endpoint, true).is_ok(), "{endpoint}");
        }
        for endpoint in ["tls/robot_1:1", "tls/a..b:1", "tls/:1", "tcp/127.0.0.1:1"] {
            assert!(Endpoint::parse(endpoint, true).is_err(), "{endpoint}");
        }
    }

    #[test]
    fn all_settings_are_known_to_zenoh() {
        let config = listening("tcp/127.0.0.1:7447", false).settings(&["tcp/127.0.0.1:7447".into()]).unwrap();
        for (key, expected) in [
            ("mode", r#""peer""#),
            ("scouting/multicast/enabled", "false"),
            ("scouting/gossip/enabled", "false"),
            ("listen/endpoints", r#"["tcp/127.0.0.1:7447"]"#),
            ("connect/endpoints", "[]"),
            ("transport/link/rx/max_message_size", "8392704"),
            ("access_control/enabled", "false"),
        ] {
            assert_eq!(config.get_json(key).unwrap(), expected, "{key}");
        }
        for (ros, mode, connect) in
            [(Ros::Join, r#""peer""#, r#"["tcp/127.0.0.1:7447"]"#), (Ros::Host, r#""router""#, "[]")]
        {
            let config = ZenohConfig { ros, listen: vec![], ..ZenohConfig::default() };
            let settings = config.settings(&[]).unwrap();
            for (key, expected) in [
                ("mode", mode),
                ("connect/endpoints", connect),
                ("scouting/gossip/enabled", "true"),
                ("access_control/enabled", "true"),
                ("access_control/subjects", r#"["lo","lo0"]"#),
            ] {
                assert!(settings.get_json(key).unwrap().contains(expected), "{ros:?} {key}");
            }
        }
    }

    #[test]
    fn ros_has_its_endpoints() {
        let config = |ros| ZenohConfig { ros, listen: vec![], ..ZenohConfig::default() };
        assert_eq!(config(Ros::Off).endpoints(), (vec![], vec![]));
        assert_eq!(config(Ros::Join).endpoints(), (vec!["tcp/127.0.0.1:0"], vec!["tcp/127.0.0.1:7447"]));
        assert_eq!(config(Ros::Host).endpoints(), (vec!["tcp/127.0.0.1:7447"], vec![]));
        assert_eq!(config(Ros::Join).exposure(), Exposure::Router);
        assert_eq!(config(Ros::Host).exposure(), Exposure::Loopback);
        let bad = ZenohConfig { node: "a/b".into(), ..ZenohConfig::default() };
        assert_eq!(bad.validate(), Err(LinkError::Node { node: "a/b".into() }));
    }
}
