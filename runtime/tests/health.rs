//! The table of figures: its levels, its two renderings, and the page under clients of every kind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use common::{HZ, Rig, Say, act, decide, reach};
use reflexarc_drivers::msg::{BoolMsg, DiagnosticLevel};
use reflexarc_runtime::health::server::{MAX_REQUEST_BYTES, Server};
use reflexarc_runtime::health::{Health, Part, figure, page};
use reflexarc_runtime::{Config, Outcome};
use reflexarc_vla_model::decision::Subtask;

/// Series of a page by name and labels as they stand there. Panics at what Prometheus would not take.
fn series(page: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (mut found, mut seen, mut family, mut typed) = (BTreeMap::new(), BTreeSet::new(), "", "");
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.is_empty(), "{line}");
            assert!(seen.insert(name), "{name} stands in two places");
            family = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            typed = name;
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) =
                key.split_once('{').map_or((key, ""), |(name, rest)| (name, rest.strip_suffix('}').unwrap()));
            assert!(name == family && name == typed, "{line} stands outside its family");
            let mut rest = labels;
            while !rest.is_empty() {
                let (label, quoted) = rest.split_once("=\"").unwrap();
                assert!(is_name(label), "{line}");
                let mut escaped = false;
                let end = quoted
                    .char_indices()
                    .find(|(_, c)| {
                        let ends = *c == '"' && !escaped;
                        escaped = *c == '\\' && !escaped;
                        ends
                    })
                    .unwrap()
                    .0;
                rest = quoted[end + 1..].trim_start_matches(',');
            }
            let value = match value {
                "+Inf" => f64::INFINITY,
                "-Inf" => f64::NEG_INFINITY,
                other => other.parse().unwrap(),
            };
            assert!(found.insert(key.to_owned(), value).is_none(), "{key} stands there twice");
        }
    }
    found
}

fn part<'a>(health: &'a Health, name: &str) -> &'a Part {
    health.parts.iter().find(|part| part.name == name).unwrap_or_else(|| panic!("no part {name}"))
}

fn priced() -> Config {
    let mut config = Config::default();
    config.cost.currency = "EUR".into();
    config.cost.electricity_per_kwh = Some(0.36);
    config.cost.hardware_price = Some(2000.0);
    config.cost.hardware_life_hours = Some(20_000.0);
    config.cost.cloud_price_per_million_tokens = Some(5.0);
    config.cost.cloud_price_per_call = Some(0.001);
    config.cost.assumed_watts = Some(25.0);
    config
}

/// A rig that has reached, and said `done` for a second; once refused on the way.
fn finished() -> Rig {
    let mut rig = Rig::new(priced(), reach());
    rig.run(4 * HZ);
    let mut cut = decide(reach(), 0);
    cut.tokens.truncate(5);
    rig.script.says(Say::Raw(cut));
    rig.run(4);
    rig.script.says(Say::Verdict(act(Subtask::Grasp, [0.5, 0.1, 0.15], 0.3, 0.02, 20.0)));
    rig.run(HZ);
    rig.script.says(Say::Verdict(act(Subtask::Lift, [0.5, 0.1, 0.25], 0.3, 0.02, 20.0)));
    rig.run(HZ);
    rig.script.says(Say::Verdict(act(Subtask::Done, [0.5, 0.1, 0.25], 0.3, 0.02, 20.0)));
    rig.run(HZ + 8);
    assert_eq!(rig.runtime.outcome(), Outcome::Finished);
    rig
}

#[test]
fn page_diagnostics_and_report_say_the_same() {
    let rig = finished();
    let report = rig.runtime.report();
    let health = rig.runtime.health();
    let page = page::render(&health, 0.25);
    let series = series(&page);
    let at = |key: &str| *series.get(key).unwrap_or_else(|| panic!("no {key} in\n{page}"));
    let refused: u64 = report.audit.refused.values().sum();
    assert_eq!(refused, 1);
    for (key, value) in [
        ("reflexarc_ticks_total", report.ticks as f64),
        ("reflexarc_commands_total", report.commands as f64),
        ("reflexarc_decisions_total", report.decisions as f64),
        ("reflexarc_tokens_total", report.tokens as f64),
        ("reflexarc_run_seconds", report.duration_s),
        ("reflexarc_audit_passed_total", report.audit.passed as f64),
        ("reflexarc_audit_refused_total{rule=\"truncated\"}", refused as f64),
        ("reflexarc_tasks_completed_total", 1.0),
        ("reflexarc_outcome{outcome=\"finished\"}", 1.0),
        ("reflexarc_mode{mode=\"active\"}", 1.0),
        ("reflexarc_mode_ticks_total{mode=\"active\"}", report.modes["active"] as f64),
        ("reflexarc_latency_seconds{what=\"action_age\",quantile=\"0.99\"}", report.action_age.p99_us / 1e6),
        ("reflexarc_sense_received_total{topic=\"joint_states\"}", report.topics[0].received as f64),
        ("reflexarc_energy_joules_total{basis=\"assumed\"}", 25.0 * report.duration_s),
        ("reflexarc_cost_total{currency=\"EUR\",basis=\"assumed\"}", report.cost.total.run.value().unwrap()),
        (
            "reflexarc_cloud_cost_per_task{currency=\"EUR\",basis=\"stated\"}",
            report.cost.cloud.per_task.value().unwrap(),
        ),
        ("reflexarc_part_level{part=\"reflex\"}", 0.0),
        ("reflexarc_figures_age_seconds", 0.25),
    ] {
        assert!((at(key) - value).abs() <= 1e-12 * value.abs(), "{key}: {} is not {value}", at(key));
    }
    // Every number of the table is on the page and in the diagnostics, under one key each.
    let message = health.diagnostics();
    assert_eq!(message.status.len(), health.parts.len());
    for (status, part) in message.status.iter().zip(&health.parts) {
        assert_eq!(
            (status.level, &status.name, &status.message),
            (part.level as u8, &part.name, &part.message)
        );
        let keys: BTreeSet<&str> = status.values.iter().map(|pair| pair.key.as_str()).collect();
        assert_eq!(keys.len(), part.figures.len(), "{}: a key stands there twice", part.name);
        for (pair, figure) in status.values.iter().zip(&part.figures) {
            assert_eq!(pair.value, figure.value.to_string());
        }
    }
    let with_metric =
        health.parts.iter().flat_map(|part| &part.figures).filter(|figure| figure.metric.is_some());
    assert_eq!(series.len(), with_metric.count() + health.parts.len() + 1);
}

#[test]
fn the_report_shows_the_ledger_as_text_and_json() {
    let mut report = finished().runtime.report();
    let text = report.to_text();
    for part in
        ["1 tasks completed", "ASSUMED, not measured: 25 W", "per task", "times the total here", " EUR"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let json: serde_json::Value = serde_json::to_value(&report).unwrap();
    assert_eq!(json["cost"]["usage"]["energy"]["assumed"]["watts"], 25.0);
    assert!(json["cost"]["total"]["per_hour"]["is"].is_number());
    // Whoever could see it knows better than the policy.
    report.judge(false);
    assert_eq!((report.success, report.cost.usage.tasks), (Some(false), 0));
    assert!(report.to_text().contains("per task - (no task was completed)"));
    report.judge(true);
    assert_eq!(report.cost.usage.tasks, 1);
    // Without prices nothing is made up.
    let mut rig = Rig::new(Config::default(), reach());
    rig.run(HZ);
    let text = rig.runtime.report().to_text();
    assert!(text.contains("not computed: cost.electricity_per_kwh is not set"), "{text}");
    assert!(text.contains("not available: simulated time"), "{text}");
    let page = page::render(&rig.runtime.health(), 0.0);
    assert!(!page.contains("reflexarc_cost_total") && !page.contains("joules"), "{page}");
}

#[test]
fn levels_mean_something_and_say_why() {
    let mut config = Config::default();
    // A hold that lasts must stay a hold here.
    config.failsafe.sense_stop_ms = 0;
    let mut rig = Rig::new(config, reach());
    let health = rig.runtime.health();
    assert_eq!(part(&health, "joint_states").level, DiagnosticLevel::Stale);
    assert!(part(&health, "joint_states").message.contains("never seen"));
    rig.until_active();
    rig.run(HZ);
    let health = rig.runtime.health();
    assert_eq!(health.worst(), DiagnosticLevel::Ok, "{health:?}");

    rig.plant.sends.wrist = false;
    rig.run(HZ);
    let health = rig.runtime.health();
    let wrist = part(&health, "camera/wrist/image_raw");
    assert_eq!(wrist.level, DiagnosticLevel::Stale);
    assert!(wrist.message.contains("ms old, at most 100 ms"), "{}", wrist.message);
    assert_eq!(part(&health, "camera/scene/image_raw").level, DiagnosticLevel::Ok);
    let reflex = part(&health, "reflex");
    assert!(
        reflex.level == DiagnosticLevel::Warn && reflex.message.contains("camera 1 is"),
        "{}",
        reflex.message
    );
    rig.run(4 * HZ);
    let mind = rig.runtime.health();
    let mind = part(&mind, "mind");
    assert!(
        mind.level == DiagnosticLevel::Stale && mind.message.contains("no decision for"),
        "{}",
        mind.message
    );

    rig.plant.sends.wrist = true;
    rig.script.says(Say::Error);
    rig.run(HZ);
    let health = rig.runtime.health();
    assert_eq!(part(&health, "mind").level, DiagnosticLevel::Error);
    assert!(part(&health, "mind").message.contains("the policy failed"));
    rig.plant.estop.put(&BoolMsg { data: true }).unwrap();
    rig.run(2);
    let health = rig.runtime.health();
    assert_eq!(part(&health, "reflex").level, DiagnosticLevel::Error);
}

/// What comes back to `request`; the connection is given up after a minute.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn local() -> Server {
    Server::start("127.0.0.1:0".parse().unwrap()).unwrap()
}

#[test]
fn the_page_is_served_and_nothing_else() {
    let server = local();
    let address = server.address();
    let get = |path: &str| ask(address, &format!("GET {path} HTTP/1.1\r\nHost: robot\r\n\r\n"));
    assert!(get("/metrics").starts_with("HTTP/1.1 503 "));
    assert!(get("/healthz").contains("no figures yet"));
    let mut rig = Rig::new(Config::default(), reach());
    rig.until_active();
    rig.run(HZ);
    server.pinboard().put(rig.runtime.health());
    let answer = get("/metrics?name=x");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Type: text/plain; version=0.0.4")
    );
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(series(body).len() > 50);
    assert!(get("/healthz").ends_with("\r\n\r\nok\n"));
    let head_only = ask(address, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head_only.starts_with("HTTP/1.1 200 ") && head_only.ends_with("\r\n\r\n"));

    rig.plant.estop.put(&BoolMsg { data: true }).unwrap();
    rig.run(2);
    server.pinboard().put(rig.runtime.health());
    let ill = get("/healthz");
    assert!(ill.starts_with("HTTP/1.1 503 ") && ill.contains("reflex: "), "{ill}");

    for (request, code) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("GET /metrics HTTP/2\r\n\r\n", "505"),
        ("GET  /metrics\r\n\r\n", "505"),
        ("\0\u{7f}\r\n\r\n", "400"),
        ("\n\n", "400"),
    ] {
        let answer = ask(address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request:?}: {answer}");
    }
    // The last answer may arrive before it is counted.
    let begun = std::time::Instant::now();
    let counted = || server.pinboard().part().figures[1].value == figure::Value::Count(6);
    while !counted() && begun.elapsed() < Duration::from_secs(5) {
        std::thread::yield_now();
    }
    assert!(counted(), "{:?}", server.pinboard().part().figures[1].value);
}

#[test]
fn slow_and_endless_clients_are_cut_off_and_hold_nobody_up() {
    let server = local();
    let address = server.address();
    let rig = finished();
    // One connects and says nothing, one drips, one never stops, one does not read.
    let silent = TcpStream::connect(address).unwrap();
    let mut dripping = TcpStream::connect(address).unwrap();
    let dripper = std::thread::Builder::new()
        .name("dripper".into())
        .spawn(move || {
            for byte in b"GET /metrics HTTP/1.1\r\nX-Slow: ".iter().chain(std::iter::repeat_n(&b'x', 600)) {
                if dripping.write_all(&[*byte]).is_err() {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            false
        })
        .unwrap();
    let mut endless = TcpStream::connect(address).unwrap();
    let _ = endless.write_all(&vec![b'x'; 2 * MAX_REQUEST_BYTES]);
    // Whoever keeps the books never waits for any of them.
    for _ in 0..1000 {
        server.pinboard().put(rig.runtime.health());
    }
    let answer = ask(address, "GET /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(dripper.join().unwrap(), "the dripping client was heard to its end");
    let counts: Vec<_> =
        server.pinboard().part().figures.iter().map(|figure| figure.value.to_string()).collect();
    assert_eq!(counts, ["1", "1", "2"], "answered, refused, cut off");
    // Nor does the end of the run.
    let _late = TcpStream::connect(address).unwrap();
    drop(server);
    drop(silent);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let server = local();
    let error = Server::start(server.address()).unwrap_err().to_string();
    assert!(error.contains("metrics.listen") && error.contains(&server.address().to_string()), "{error}");
}

#[test]
fn pages_beyond_this_machine_need_a_word() {
    let error = Config::parse("[metrics]\nlisten = \"0.0.0.0:9464\"\n").unwrap_err().to_string();
    assert!(error.contains("metrics.allow_remote = true"), "{error}");
    assert!(Config::parse("[metrics]\nlisten = \"0.0.0.0:9464\"\nallow_remote = true\n").is_ok());
    assert!(Config::parse("[metrics]\nlisten = \"[::1]:9464\"\n").is_ok());
}

#[test]
fn whatever_a_label_says_the_page_stays_one() {
    let odd = "a \"quoted\" \\ back\nslash, comma";
    let metric = figure::gauge("odd_thing", "With a \\ and\nanother line.");
    let part = Part::new(odd, "").number_of("x", metric, &[("name", odd)], f64::NAN).number_of(
        "y",
        metric,
        &[("name", "plain")],
        f64::NEG_INFINITY,
    );
    let page = page::render(&Health { now_ns: 0, parts: vec![part] }, 0.0);
    let series = series(&page);
    assert_eq!(series["odd_thing{name=\"plain\"}"], f64::NEG_INFINITY);
    assert!(series.values().any(|value| value.is_nan()));
}
