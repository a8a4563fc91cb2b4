//! Every key of the configuration, wrong in turn: the error must name the key, the value and what was
//! expected, or the value must stand in a list of those that are fine, with the reason.
//!
//! The keys are those that the program itself knows, so that none can be forgotten. What comes out is
//! `docs/configuration-errors.md`; write it anew with `UPDATE_GOLDEN=1`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use reflexarc_runtime::{Config, ConfigError};
use toml::{Table, Value};

const SAMPLE: &str = include_str!("../reflexarc.toml");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration-errors.md");

/// Wrong-looking values that are right, and why.
const FINE: &[(&str, &str, &str)] = &[
    ("audit.clear_height_m", "0", "nothing stands on the table"),
    ("audit.table_z_m", "0", "a table at the base's height"),
    ("audit.tool_reach_m", "0", "a tool that ends at its origin"),
    ("audit.view_tolerance", "0", "not compared"),
    ("chunk.execution_horizon", "0", "asks as often as the policy's pace allows"),
    ("chunk.grip_force_n", "0", "a gripper without force"),
    ("cost.cloud_price_per_call", "0", "a price of nothing"),
    ("cost.cloud_price_per_million_tokens", "0", "a price of nothing"),
    ("cost.currency", "\"\"", "no prices, no currency"),
    ("cost.currency", "\"wrong\"", "any letters may be a currency"),
    ("cost.electricity_per_kwh", "0", "power for nothing"),
    ("cost.hardware_price", "0", "hardware for nothing"),
    ("failsafe.blocked_stop_ms", "0", "never"),
    ("failsafe.clear_ms", "0", "gone as soon as it is"),
    ("failsafe.optional_slow_ms", "0", "slow at once"),
    ("failsafe.pad_clear_ms", "0", "gone as soon as it is"),
    ("failsafe.pad_stop_ms", "0", "never"),
    ("failsafe.policy_stop_ms", "0", "never"),
    ("failsafe.sense_clear_ms", "0", "gone as soon as it is"),
    ("failsafe.sense_stop_ms", "0", "never"),
    ("failsafe.torque_off_after_ms", "0", "never"),
    ("limits.grip_force_n", "0", "a gripper without force"),
    ("limits.soft_start_ms", "0", "full speed at once"),
    ("limits.target_filter_ms", "0", "no smoothing"),
    ("link.connect", "[]", "connects to nobody"),
    ("link.domain", "0", "the default domain of ROS"),
    ("link.listen", "[]", "listens nowhere"),
    ("link.namespace", "\"\"", "no namespace"),
    ("link.namespace", "\"wrong\"", "any name is a namespace"),
    ("metrics.listen", "\"\"", "no page"),
    ("policy.instruction", "\"wrong\"", "the model says what it cannot do"),
    ("policy.model", "\"wrong\"", "whether the file is there shows when it is read"),
    ("rates.lockstep_delay_ms", "0", "what is said comes into force in the same tick"),
    ("realtime.cpu", "0", "the first CPU"),
    ("realtime.cpu_dma_latency_us", "0", "CPUs stay awake"),
    ("realtime.fifo_priority", "0", "an ordinary thread"),
    ("realtime.timer_slack_ns", "0", "as the system has it"),
    ("record.black_box", "\"wrong\"", "whether the folder can be made shows when something fails"),
    ("record.path", "\"wrong\"", "whether the file can be written shows when it is created"),
    ("robot.base", "\"wrong\"", "whether the robot has such a link shows when its description is read"),
    ("robot.gripper_joint", "\"wrong\"", "any name may stand in joint_states"),
    ("robot.tip", "\"wrong\"", "whether the robot has such a link shows when its description is read"),
    ("robot.urdf", "\"wrong\"", "whether the file is there shows when it is read"),
    ("safety.estop_timeout_ms", "0", "the topic may be silent"),
    ("safety.infeasible_confirm_ms", "0", "reported at once"),
    ("senses.black_below", "0", "no frame is black"),
    ("senses.future_tolerance_ms", "0", "clocks are the same"),
    ("senses.optional_cameras", "[]", "all are required"),
    ("senses.optional_tactile", "[]", "all are required"),
    ("senses.tactile", "[]", "a robot without touch"),
    ("touch.grip_relax_n_s", "0", "what a slip added stays until the gripper opens"),
    ("touch.grip_step_n", "0", "a slip is only counted"),
    ("touch.retract_m", "0", "only the fingers back off"),
];

/// Sections that the sample does not show, because nothing stands for them by default; what they may hold is checked
/// where it is read (`drivers/src/{arm,camera,tactile}/config.rs`, `drivers/src/link/zenoh/secure.rs`), and
/// `tests/devices.rs` has wrong ones.
const ELSEWHERE: [&str; 2] = ["drivers", "link.secure"];

/// The sample with its commented keys set: a value for every key.
fn full_sample() -> Table {
    let lines = SAMPLE.lines().map(|line| {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_key = bare.split_once(" = ").is_some_and(|(key, _)| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        });
        if is_key { bare } else { line }
    });
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Every key with the value that the sample shows, in the order of the sections.
fn all_keys() -> Vec<(Vec<String>, Value)> {
    fn walk(path: &mut Vec<String>, sample: &Value, found: &mut Vec<(Vec<String>, Value)>) {
        let keys = Config::keys(path);
        let Value::Table(table) = sample else {
            found.push((path.clone(), sample.clone()));
            return;
        };
        assert!(!keys.is_empty(), "{path:?} has no keys");
        for key in keys {
            path.push(key.clone());
            if ELSEWHERE.contains(&path.join(".").as_str()) {
                path.pop();
                continue;
            }
            let value =
                table.get(&key).unwrap_or_else(|| panic!("the sample does not show {}", path.join(".")));
            walk(path, value, found);
            path.pop();
        }
    }
    let mut found = Vec::new();
    walk(&mut Vec::new(), &Value::Table(full_sample()), &mut found);
    found
}

/// A configuration in which only this key is set; with a currency where there are prices.
fn only(path: &[String], value: &str) -> String {
    let (key, section) = path.split_last().unwrap();
    let head = if section.is_empty() { String::new() } else { format!("[{}]\n", section.join(".")) };
    let currency = if section == ["cost"] && key != "currency" { "currency = \"EUR\"\n" } else { "" };
    format!("{head}{currency}{key} = {value}\n")
}

/// What to try in place of a good value.
fn wrong_values(good: &Value) -> Vec<String> {
    let values: &[&str] = match good {
        Value::Integer(_) => {
            &["\"wrong\"", "true", "[]", "1.5", "nan", "inf", "-1", "0", "9223372036854775807"]
        }
        Value::Float(_) => &["\"wrong\"", "true", "[]", "nan", "inf", "-inf", "-1000000000.5", "0", "1e300"],
        Value::String(_) => &["7", "true", "[]", "nan", "\"\"", "\"wrong\""],
        Value::Boolean(_) => &["7", "\"wrong\"", "[]", "nan"],
        Value::Array(entries) => match entries.first() {
            Some(Value::Float(_)) => &[
                "\"wrong\"",
                "7",
                "[]",
                "[\"wrong\"]",
                "[nan]",
                "[inf, 0.0, 0.0]",
                "[nan, 0.0, 0.0]",
                "[1e300, 1e300, 1e300]",
                "[-1e300, 0.0, 0.0]",
            ],
            Some(Value::Integer(_)) => &[
                "\"wrong\"",
                "7",
                "[]",
                "[\"wrong\"]",
                "[-1, 4, 3]",
                "[0, 4, 3]",
                "[nan, 4, 3]",
                "[9223372036854775807, 4, 3]",
            ],
            _ => &["\"wrong\"", "7", "[]", "[7]", "[\"\"]", "[\"wrong wrong\"]", "[nan]"],
        },
        other => panic!("a key of the kind {}: say here what is wrong for it", other.type_str()),
    };
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn is_fine(key: &str, value: &str) -> Option<usize> {
    FINE.iter().position(|(fine_key, fine_value, _)| *fine_key == key && *fine_value == value)
}

/// The error, checked for its parts.
fn error_of(text: &str, key: &str, value: &str) -> String {
    let error = match Config::parse(text) {
        Err(error @ ConfigError::Value { .. }) => error.to_string(),
        Err(other) => panic!("{key} = {value}: {other}"),
        Ok(_) => panic!("{key} = {value} was accepted: refuse it, or say in FINE why it is fine"),
    };
    assert!(error.contains(&format!("`{key}`")), "`{error}` does not name {key}");
    let (said, expected) =
        error.split_once(": expected ").unwrap_or_else(|| panic!("`{error}` expects nothing"));
    assert!(expected.len() > 3, "`{error}`");
    assert!(said.contains("(line "), "`{error}` does not say where");
    // As it stands in the file, or of a list the entry at fault.
    let said = said.to_lowercase();
    let entries = value.trim_matches(['[', ']']).split(", ");
    let plain = |text: &str| {
        text.parse::<f64>()
            .map_or_else(|_| text.to_lowercase(), |number| format!("{number:?}").to_lowercase())
    };
    let shown = std::iter::once(value).chain(entries.filter(|entry| !entry.is_empty()));
    assert!(
        shown.clone().any(
            |value| said.contains(&format!("= {}", value.to_lowercase())) || said.contains(&plain(value))
        ),
        "`{error}` does not show {value}"
    );
    error
}

#[test]
fn every_key_wrong_in_turn_is_named_with_value_and_expectation() {
    let mut document = String::from(
        "# Configuration errors\n\nEvery key of the configuration with every kind of wrong value, and what the program says. Made by\n`runtime/tests/configuration_errors.rs`, which checks that each message names the key, the value and what was\nexpected (`UPDATE_GOLDEN=1 cargo test --release -p reflexarc-runtime --test configuration_errors`).\n",
    );
    let mut used = BTreeSet::new();
    let mut section = String::new();
    let mut count = 0;
    for (path, good) in all_keys() {
        let key = path.join(".");
        let head = path[..path.len() - 1].join(".");
        if head != section {
            section = head;
            write!(document, "\n## [{section}]\n\n| key | value | message |\n|---|---|---|\n").unwrap();
        }
        let mut row = |value: &str, message: &str| {
            count += 1;
            let escape = |text: &str| text.replace('|', "\\|").replace('\n', " ");
            writeln!(document, "| `{key}` | `{}` | {} |", escape(value), escape(message)).unwrap();
        };
        for value in wrong_values(&good) {
            let text = only(&path, &value);
            if let Some(index) = is_fine(&key, &value)
                && Config::parse(&text).is_ok()
            {
                used.insert(index);
                row(&value, &format!("*fine: {}*", FINE[index].2));
                continue;
            }
            let error = error_of(&text, &key, &value);
            let list = error.contains("expected a list");
            assert!(!list || good.is_array(), "{error}, and {key} is no list");
            row(&value, &error);
        }
        // A slip of the pen, at the end and in the middle.
        let (name, section) = path.split_last().unwrap();
        let slips = [format!("{name}s"), format!("{}{}", &name[..1], &name[2..])];
        for slip in slips {
            let mut wrong = section.to_vec();
            wrong.push(slip.clone());
            let known = Config::keys(section);
            if known.contains(&slip) {
                continue;
            }
            let value = good.to_string();
            let error = error_of(&only(&wrong, &value), &wrong.join("."), &value);
            assert!(error.contains("did you mean `"), "{error}");
            assert!(error.contains(&format!("`{name}`?")) || slip.len() < 4, "{error}");
            row(&format!("{slip} = {value}"), &error);
        }
    }
    let idle: Vec<_> =
        FINE.iter().enumerate().filter(|(index, _)| !used.contains(index)).map(|(_, fine)| fine).collect();
    assert!(idle.is_empty(), "listed as fine, and never tried or refused: {idle:?}");
    writeln!(document, "\n{count} cases.").unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(std::path::Path::new(DOCUMENT).parent().unwrap()).unwrap();
        std::fs::write(DOCUMENT, &document).unwrap();
    }
    let committed = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    assert!(
        committed == document,
        "docs/configuration-errors.md is out of date: UPDATE_GOLDEN=1 writes it anew"
    );
}

#[test]
fn sections_and_texts_that_are_none_are_told() {
    for (text, parts) in [
        ("[rate]\nmind_hz = 60\n", &["`rate` = a section (line 1)", "did you mean `rates`?"][..]),
        ("rates = 5\n", &["`rates` = 5 (line 1)", "a section of keys"]),
        ("mind_hz = 60\n", &["`mind_hz` = 60 (line 1)", "one of robot, rates"]),
        (
            "# first\n\n[rates]\nreflex_hz = 240\nmind_hz = \"x\"\n",
            &["`rates.mind_hz` = \"x\" (line 5)", "whole number"],
        ),
        (
            "[rates]\nmind_hz = 240\n# so\nreflex_hz = 60\n",
            &["`rates.reflex_hz` = 60 (line 4)", "multiple of rates.mind_hz = 240"],
        ),
        ("[policy]\ndevice = \"tpu\"\n", &["`policy.device` = \"tpu\"", "\"auto\", \"cpu\", \"gpu\""]),
    ] {
        let error = Config::parse(text).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "`{error}` lacks `{part}`");
        }
    }
    let error = Config::parse("[rates\nmind_hz = 60\n").unwrap_err();
    assert!(matches!(&error, ConfigError::Parse { message, .. } if message.contains("line 1")), "{error}");
    let path = std::env::temp_dir().join(format!("reflexarc-{}-wrong.toml", std::process::id()));
    std::fs::write(&path, "[limits]\nspeed_scale = 2\n").unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(error.contains("wrong.toml, line 2)") && error.contains("0.01 to 1"), "{error}");
}
