//! Who is let in, and who may command. The guide for users is `docs/secure.md`.
//!
//! The configuration holds paths and names only, so that it can be shown and recorded; keys and passwords
//! stay in their files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::{ALL_KEYS, ALL_MESSAGES, Ros, ZenohConfig};
use crate::link::LinkError;
use crate::topic::{Topics, Writers};

/// Who is let in, and who may command the robot.
///
/// Whoever is let in may read all topics. Only operators may publish instructions, stops, enables, resets and
/// overrides; only the robot's own nodes may publish what it senses and decides; joint commands,
/// `torque_off` and `calibrated` come from either. Everything else is dropped on arrival, without a word to
/// its sender. Each node checks what comes to it; nobody checks on its behalf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secure {
    /// How this node knows others, and they it.
    pub credentials: Credentials,
    /// The names of those who may command: common names of certificates, or users.
    #[serde(default)]
    pub operators: Vec<String>,
    /// The names of the robot's own nodes.
    #[serde(default)]
    pub robots: Vec<String>,
}

/// How a node knows others, and they it.
///
/// Certificates work both ways and encrypt. Passwords work one way: the one who listens knows who connects,
/// while the one who connects trusts the endpoint that it was told; and nothing is encrypted. They are for
/// networks that nobody else can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Credentials {
    /// Mutual TLS; all endpoints are `tls/HOST:PORT`. Files are in PEM.
    Tls {
        /// The certificate of the authority that signed everybody's.
        root_ca: PathBuf,
        /// This node's certificate. Its common name is the node's name to others; its alternative names must
        /// have the host of the endpoints at which others connect.
        certificate: PathBuf,
        /// Its key (PKCS #8), not readable by all users.
        private_key: PathBuf,
    },
    /// For those who listen: the users, one `user:password` a line.
    Users {
        /// The file, not readable by all users.
        file: PathBuf,
    },
    /// For those who connect: one user.
    User {
        /// The user's name.
        name: String,
        /// The file of the password, not readable by all users; a line's end after it does not count.
        password_file: PathBuf,
    },
}

fn refused(key: &'static str, value: impl ToString, expected: impl ToString) -> LinkError {
    LinkError::Secure { key, value: value.to_string(), expected: expected.to_string() }
}

/// The largest file of credentials, bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads a file of credentials; a secret one must not be readable by all users.
fn read(key: &'static str, path: &Path, secret: bool) -> Result<String, LinkError> {
    let failed = |found: &dyn std::fmt::Display| {
        refused(key, path.display(), format_args!("a readable file, found: {found}"))
    };
    let metadata = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(failed(&format_args!("{} bytes", metadata.len())));
    }
    #[cfg(unix)]
    if secret {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(refused(
                key,
                path.display(),
                format_args!("a file that others cannot read (chmod o= FILE), found mode {mode:03o}"),
            ));
        }
    }
    std::fs::read_to_string(path).map_err(|error| failed(&error))
}

fn text(key: &'static str, path: &Path) -> Result<Value, LinkError> {
    match path.to_str() {
        Some(path) => Ok(json!(path)),
        None => Err(refused(key, path.display(), "a path in UTF-8")),
    }
}

const ROOT_CA: &str = "secure.credentials.tls.root_ca";
const CERTIFICATE: &str = "secure.credentials.tls.certificate";
const PRIVATE_KEY: &str = "secure.credentials.tls.private_key";
const USERS: &str = "secure.credentials.users.file";
const PASSWORD: &str = "secure.credentials.user.password_file";

impl Secure {
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.credentials, Credentials::Tls { .. })
    }

    pub(super) fn validate(&self, config: &ZenohConfig) -> Result<(), LinkError> {
        if config.ros != Ros::Off {
            let ros = format!("{:?}", config.ros).to_lowercase();
            return Err(refused("ros", ros, "off together with secure: ROS 2 nodes have no credentials"));
        }
        for (key, names) in [("secure.operators", &self.operators), ("secure.robots", &self.robots)] {
            if let Some(name) = names.iter().find(|name| name.trim().is_empty() || name.trim() != *name) {
                return Err(refused(key, name, "names without outer spaces"));
            }
        }
        match &self.credentials {
            Credentials::Tls { root_ca, certificate, private_key } => {
                for (key, path, mark) in [
                    (ROOT_CA, root_ca, "CERTIFICATE-----"),
                    (CERTIFICATE, certificate, "CERTIFICATE-----"),
                    (PRIVATE_KEY, private_key, "PRIVATE KEY-----"),
                ] {
                    if !read(key, path, key == PRIVATE_KEY)?.contains(mark) {
                        return Err(refused(key, path.display(), format_args!("PEM with a {mark} line")));
                    }
                }
            }
            Credentials::Users { file } => {
                if !config.connect.is_empty() {
                    let expected =
                        "none where users are checked: who connects cannot know whom it reached (use tls)";
                    return Err(refused("connect", config.connect.join(" "), expected));
                }
                let users = read(USERS, file, true)?;
                // zenoh lets everybody in when it finds nobody in the file.
                let good = |line: &str| {
                    line.split_once(':').is_some_and(|(user, password)| {
                        !user.trim().is_empty() && !password.trim().is_empty()
                    })
                };
                let mut lines = users.lines().filter(|line| !line.trim().is_empty()).peekable();
                if lines.peek().is_none() || !lines.all(good) {
                    return Err(refused(USERS, file.display(), "lines of user:password, one at the least"));
                }
            }
            Credentials::User { name, password_file } => {
                if !config.listen.is_empty() {
                    let expected = "none for one user, who can only connect (listen with users, or use tls)";
                    return Err(refused("listen", config.listen.join(" "), expected));
                }
                if name.trim().is_empty() {
                    return Err(refused("secure.credentials.user.name", name, "a name"));
                }
                if read(PASSWORD, password_file, true)?.trim().is_empty() {
                    return Err(refused(PASSWORD, password_file.display(), "a file with a password"));
                }
            }
        }
        Ok(())
    }

    /// zenoh's settings. The password's is among them: they are for zenoh only.
    pub(super) fn settings(&self, domain: u32) -> Result<Vec<(&'static str, Value)>, LinkError> {
        Ok(match &self.credentials {
            Credentials::Tls { root_ca, certificate, private_key } => {
                let (certificate, key) = (text(CERTIFICATE, certificate)?, text(PRIVATE_KEY, private_key)?);
                let tls = json!({
                    "root_ca_certificate": text(ROOT_CA, root_ca)?,
                    "enable_mtls": true,
                    "listen_certificate": certificate, "listen_private_key": key,
                    "connect_certificate": certificate, "connect_private_key": key,
                    "verify_name_on_connect": true,
                    "close_link_on_expiration": true,
                });
                let access = self.access_control(domain, "cert_common_names");
                vec![("transport/link/tls", tls), ("access_control", access)]
            }
            Credentials::Users { file } => vec![
                ("transport/auth/usrpwd/dictionary_file", text(USERS, file)?),
                ("access_control", self.access_control(domain, "usernames")),
            ],
            Credentials::User { name, password_file } => {
                let password = read(PASSWORD, password_file, true)?;
                vec![
                    ("transport/auth/usrpwd/user", json!(name)),
                    ("transport/auth/usrpwd/password", json!(password.trim())),
                ]
            }
        })
    }

    /// What is let through, by the sender's name: the rest is not.
    fn access_control(&self, domain: u32, names: &str) -> Value {
        let topics = Topics::new("**").writers(domain);
        let keys = |wanted: Writers| -> Vec<String> {
            let of = topics.iter().filter(|(writers, _)| *writers == wanted || *writers == Writers::Both);
            // Beside the topic's own key: where latched values are kept.
            of.flat_map(|(_, key)| [key.clone(), format!("{key}/@adv/**")]).collect()
        };
        let publish = ["put", "reply", "declare_queryable", "liveliness_token"];
        let read = ["declare_subscriber", "query", "liveliness_query", "declare_liveliness_subscriber"];
        let allow = |id: &str, flow: &str, messages: &[&str], keys: &[String]| {
            json!({
                "id": id, "permission": "allow", "flows": [flow], "messages": messages, "key_exprs": keys,
            })
        };
        let all: Vec<String> = ALL_KEYS.map(str::to_owned).to_vec();
        let mut subjects = vec![json!({"id": "anyone"})];
        let mut policies = vec![json!({"rules": ["tell", "listen", "show"], "subjects": ["anyone"]})];
        for (id, members) in [("operators", &self.operators), ("robots", &self.robots)] {
            // zenoh refuses a subject without members.
            if !members.is_empty() {
                subjects.push(json!({"id": id, names: members}));
                policies.push(json!({"rules": [id], "subjects": [id]}));
            }
        }
        json!({
            "enabled": true,
            "default_permission": "deny",
            "rules": [
                allow("tell", "egress", &ALL_MESSAGES, &all),
                allow("listen", "ingress", &read, &all),
                allow("show", "ingress", &["liveliness_token"], &["@ros2_lv/**".to_owned()]),
                allow("operators", "ingress", &publish, &keys(Writers::Operators)),
                allow("robots", "ingress", &publish, &keys(Writers::Robots)),
            ],
            "subjects": subjects,
            "policies": policies,
        })
    }
}
