//! Who is let in, and who may command: with mutual TLS and with passwords.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use reflexarc_drivers::msg::{BoolMsg, JointState, StringMsg};
use reflexarc_drivers::{
    Clock, Credentials, Exposure, Link, LinkError, Message, Ros, Secure, Topics, ZenohConfig,
};
use zenoh::Wait;

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

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("reflexarc-secure-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority that signs certificates into a directory.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root_ca: PathBuf,
}

impl Authority {
    fn new(directory: &Directory, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let root_ca = directory.write(&format!("{name}.pem"), &certificate.pem());
        Self { issuer: Issuer::new(params, key), root_ca }
    }

    fn sign(&self, directory: &Directory, name: &str) -> Credentials {
        let mut params =
            CertificateParams::new(["127.0.0.1", "localhost"].map(str::to_owned).to_vec()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Credentials::Tls {
            root_ca: self.root_ca.clone(),
            certificate: directory.write(&format!("{name}.pem"), &certificate.pem()),
            private_key: directory.write(&format!("{name}.key"), &key.serialize_pem()),
        }
    }
}

fn secure(credentials: Credentials) -> Option<Secure> {
    let names = |name: &str| vec![name.to_owned()];
    Some(Secure { credentials, operators: names("operator-anna"), robots: names("robot-1") })
}

fn link(listen: &[String], connect: &[String], credentials: Credentials) -> Link {
    let config = ZenohConfig {
        listen: listen.to_vec(),
        connect: connect.to_vec(),
        secure: secure(credentials),
        ..ZenohConfig::default()
    };
    Link::zenoh(config, Clock::system()).unwrap()
}

/// A client that is not ours: no file of ours keeps it from trying. None: it was not let in.
fn stranger(endpoint: &str, settings: &[(&str, String)]) -> Option<zenoh::Session> {
    let mut config = zenoh::Config::default();
    let all = [
        ("mode", "\"client\"".to_owned()),
        ("connect/endpoints", format!("[\"{endpoint}\"]")),
        ("scouting/multicast/enabled", "false".to_owned()),
        ("transport/unicast/open_timeout", "1000".to_owned()),
    ];
    for (key, value) in all.iter().chain(settings) {
        config.insert_json5(key, value).unwrap();
    }
    zenoh::open(config).wait().ok()
}

/// Says on `link` what an operator may, and what a node of the robot may, with the name of who does.
fn commands(link: &Link, from: &'static str) -> Box<dyn Fn()> {
    let topics = Topics::new("");
    let enable = link.publisher(&topics.enable).unwrap();
    let instruction = link.publisher(&topics.instruction).unwrap();
    instruction.put(&StringMsg::new(from)).unwrap();
    let joints = link.publisher(&topics.joint_states).unwrap();
    let state = JointState { name: vec![from.to_owned()], ..JointState::default() };
    Box::new(move || {
        enable.put(&BoolMsg::new(from == "operator")).unwrap();
        instruction.put(&StringMsg::new(from)).unwrap();
        joints.put(&state).unwrap();
    })
}

/// All who have business with the robot, and what each can and cannot.
fn roles_hold(robot: &Link, node: &Link, operator: &Link, reader: &Link) {
    let topics = Topics::new("");
    let mut enable = robot.subscribe_queue(&topics.enable, 4096).unwrap();
    let mut instruction = robot.subscribe_queue(&topics.instruction, 64).unwrap();
    let mut joints = robot.subscribe_queue(&topics.joint_states, 4096).unwrap();
    let goal = robot.publisher(&topics.goal).unwrap();
    let torque_off = robot.publisher(&topics.torque_off).unwrap();
    torque_off.put(&BoolMsg::new(true)).unwrap();
    until("all are connected", || (robot.peers() == 3).then_some(()));

    // Those who may not speak first, latched values included.
    let (by_reader, by_node) = (commands(reader, "reader"), commands(node, "node"));
    let by_operator = commands(operator, "operator");
    let mut telemetry = [reader, operator, node].map(|link| link.subscribe(&topics.goal).unwrap());
    let mut latched = [reader, operator, node].map(|link| link.subscribe(&topics.torque_off).unwrap());
    until("everybody reads, and what may be said is heard", || {
        for say in [&by_reader, &by_node, &by_operator] {
            say();
        }
        goal.put(&Default::default()).unwrap();
        let heard = enable.stats().received > 5 && instruction.stats().received > 5;
        let read = telemetry.iter_mut().all(|goals| goals.latest().is_some())
            && latched.iter_mut().all(|flag| flag.latest().is_some());
        (heard && read && joints.stats().received > 5).then_some(())
    });
    // Time for what was not to come.
    for _ in 0..20 {
        by_reader();
        by_node();
        std::thread::sleep(Duration::from_millis(5));
    }
    while let Some(sample) = enable.try_recv() {
        assert!(sample.value.data, "enabled by the operator only");
    }
    while let Some(sample) = instruction.try_recv() {
        assert_eq!(sample.value.data, "operator");
    }
    while let Some(sample) = joints.try_recv() {
        assert_eq!(sample.value.name, ["node"], "sensed by the robot's nodes only");
    }
}

/// The stranger neither commands nor sees anything.
fn is_shut_out(robot: &Link, stranger: Option<zenoh::Session>) {
    let peers = robot.peers();
    let Some(stranger) = stranger else { return };
    let topics = Topics::new("");
    let enable = robot.subscribe(&topics.enable).unwrap();
    let goal = robot.publisher(&topics.goal).unwrap();
    let seen = stranger.declare_subscriber("0/**").wait().unwrap();
    for _ in 0..20 {
        let payload = BoolMsg::new(true).encode();
        let _refused = stranger.put(topics.enable.key_expr(0), payload).wait();
        goal.put(&Default::default()).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((enable.stats().received, enable.stats().malformed, robot.peers()), (0, 0, peers));
    assert!(!matches!(seen.try_recv(), Ok(Some(_))), "it sees nothing");
}

#[test]
fn mutual_tls() {
    let directory = Directory::new("tls");
    let authority = Authority::new(&directory, "ca");
    let robot = link(&["tls/127.0.0.1:0".into()], &[], authority.sign(&directory, "robot-1"));
    let to = robot.locators().to_vec();
    let [node, operator, reader] = ["robot-1", "operator-anna", "reader-bob"]
        .map(|name| link(&[], &to, authority.sign(&directory, name)));
    roles_hold(&robot, &node, &operator, &reader);

    let path = |path: &Path| format!("{:?}", path.display().to_string());
    let with = |credentials: Credentials| {
        let Credentials::Tls { certificate, private_key, .. } = credentials else { panic!("of TLS") };
        [
            ("transport/link/tls/root_ca_certificate", path(&authority.root_ca)),
            ("transport/link/tls/enable_mtls", "true".to_owned()),
            ("transport/link/tls/connect_certificate", path(&certificate)),
            ("transport/link/tls/connect_private_key", path(&private_key)),
        ]
    };
    let plain = to[0].replace("tls/", "tcp/");
    is_shut_out(&robot, stranger(&plain, &[]));
    let [root_ca, ..] = with(authority.sign(&directory, "reader-carl"));
    is_shut_out(&robot, stranger(&to[0], &[root_ca]));
    // A certificate with an operator's name, of another authority.
    let other = Directory::new("tls-other");
    let forged = Authority::new(&other, "other").sign(&other, "operator-anna");
    is_shut_out(&robot, stranger(&to[0], &with(forged)));
    let carl = stranger(&to[0], &with(authority.sign(&directory, "reader-carl")));
    assert!(carl.is_some(), "strangers are not shut out by accident");
}

#[test]
fn passwords() {
    let directory = Directory::new("passwords");
    let file = directory.write("users", "robot-1:one\noperator-anna:two\nreader-bob:three\n");
    let robot = link(&["tcp/127.0.0.1:0".into()], &[], Credentials::Users { file });
    let to = robot.locators().to_vec();
    let [node, operator, reader] = [("robot-1", "one"), ("operator-anna", "two"), ("reader-bob", "three")]
        .map(|(name, password)| {
            let password_file = directory.write(name, &format!("{password}\n"));
            link(&[], &to, Credentials::User { name: name.to_owned(), password_file })
        });
    roles_hold(&robot, &node, &operator, &reader);

    is_shut_out(&robot, stranger(&to[0], &[]));
    let with = |user: &str, password: &str| {
        [
            ("transport/auth/usrpwd/user", format!("{user:?}")),
            ("transport/auth/usrpwd/password", format!("{password:?}")),
        ]
    };
    is_shut_out(&robot, stranger(&to[0], &with("operator-anna", "one")));
    is_shut_out(&robot, stranger(&to[0], &with("operator-eve", "two")));
    assert!(
        stranger(&to[0], &with("operator-anna", "two")).is_some(),
        "strangers are not shut out by accident"
    );
}

#[test]
fn what_cannot_be_secure_is_refused() {
    let directory = Directory::new("refused");
    let authority = Authority::new(&directory, "ca");
    let tls = authority.sign(&directory, "robot-1");
    let users = Credentials::Users { file: directory.write("users", "a:secret-1\n") };
    let user = Credentials::User { name: "a".into(), password_file: directory.write("password", "secret-1") };
    let config = |credentials: &Credentials, listen: &str, connect: &str| {
        let some = |endpoint: &str| endpoint.split_terminator(' ').map(str::to_owned).collect();
        ZenohConfig {
            listen: some(listen),
            connect: some(connect),
            secure: secure(credentials.clone()),
            ..ZenohConfig::default()
        }
    };
    let key_of = |config: &ZenohConfig| match config.validate() {
        Err(LinkError::Secure { key, expected, .. }) => {
            assert!(!expected.contains("secret-1"), "{expected}");
            key
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(config(&tls, "tls/127.0.0.1:1", "tls/127.0.0.1:2").validate(), Ok(()));
    assert_eq!(config(&users, "tcp/127.0.0.1:1", "").validate(), Ok(()));
    assert_eq!(config(&user, "", "tcp/127.0.0.1:1").validate(), Ok(()));

    for (credentials, plain) in [(&tls, "tcp/127.0.0.1:1"), (&users, "tls/127.0.0.1:1")] {
        let error = config(credentials, plain, "").validate().unwrap_err();
        assert_eq!(error, LinkError::Endpoint { endpoint: plain.into() });
    }
    assert_eq!(key_of(&config(&users, "tcp/127.0.0.1:1", "tcp/127.0.0.1:2")), "connect");
    assert_eq!(key_of(&config(&user, "tcp/127.0.0.1:1", "tcp/127.0.0.1:2")), "listen");
    let ros = ZenohConfig { ros: Ros::Join, ..config(&users, "tcp/127.0.0.1:1", "") };
    assert_eq!(key_of(&ros), "ros");
    let nobody = Credentials::Users { file: directory.write("nobody", "\n\n") };
    assert_eq!(key_of(&config(&nobody, "tcp/127.0.0.1:1", "")), "secure.credentials.users.file");
    let broken = Credentials::Users { file: directory.write("broken", "a:b\nsecret-1\n") };
    assert_eq!(key_of(&config(&broken, "tcp/127.0.0.1:1", "")), "secure.credentials.users.file");
    let absent = Credentials::Users { file: "/nowhere/users".into() };
    assert_eq!(key_of(&config(&absent, "tcp/127.0.0.1:1", "")), "secure.credentials.users.file");
    let mut unnamed = config(&users, "tcp/127.0.0.1:1", "");
    unnamed.secure.as_mut().unwrap().operators.push(" ".into());
    assert_eq!(key_of(&unnamed), "secure.operators");
    let Credentials::Tls { root_ca, certificate, private_key } = tls.clone() else { panic!("of TLS") };
    let swapped =
        Credentials::Tls { root_ca, certificate: private_key.clone(), private_key: certificate.clone() };
    assert_eq!(key_of(&config(&swapped, "tls/127.0.0.1:1", "")), "secure.credentials.tls.certificate");
    std::fs::set_permissions(&private_key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(key_of(&config(&tls, "tls/127.0.0.1:1", "")), "secure.credentials.tls.private_key");
    let error = config(&tls, "tls/127.0.0.1:1", "").validate().unwrap_err().to_string();
    assert!(error.contains("found mode 644"), "{error}");

    // Nothing that is shown or recorded has a secret.
    for config in [config(&users, "tcp/127.0.0.1:1", ""), config(&user, "", "tcp/127.0.0.1:1")] {
        assert!(!format!("{config:?}").contains("secret-1"));
        let json = serde_json::to_string(&config).unwrap();
        assert!(!json.contains("secret-1"));
        assert_eq!(serde_json::from_str::<ZenohConfig>(&json).unwrap(), config);
        assert_eq!(config.exposure(), Exposure::Loopback);
    }
    let remote = ZenohConfig { allow_remote: true, ..config(&users, "tcp/0.0.0.0:1", "") };
    assert_eq!(remote.exposure(), Exposure::Credentials);
    assert_eq!(ZenohConfig { secure: None, ..remote }.exposure(), Exposure::Open);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = config(&users, &format!("tcp/{}", taken.local_addr().unwrap()), "");
    let error = Link::zenoh(taken, Clock::system()).unwrap_err().to_string();
    assert!(!error.contains("secret-1"), "{error}");
}
