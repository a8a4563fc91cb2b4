//! What this program is given here: by the system, by a GPU, by its own configuration's link.

use std::net::IpAddr;

use reflexarc_vla_model::device::{DeviceKind, choose};

use super::Finding;
use crate::config::{Config, DeviceChoice, RealtimeConfig};
use crate::ledger::LatencySummary;
use crate::rt::{Grant, ProcessGrants, Verdict, ask, measure};

/// The priority that is tried where the configuration asks for none.
const TRIED_PRIORITY: u8 = 80;

/// Asks the system for what is configured and gives it back, chooses a device, and looks who could reach the
/// link. Loads no model, opens no link.
#[must_use]
pub fn examine_program(config: &Config) -> Vec<Finding> {
    let mut findings = requests(&config.realtime);
    findings.push(device(config.policy.device));
    findings.push(exposure(config));
    findings
}

fn requests(config: &RealtimeConfig) -> Vec<Finding> {
    let process = ProcessGrants::ask(config);
    let own = {
        let config = config.clone();
        std::thread::Builder::new().name("asking".into()).spawn(move || ask(&config))
    };
    // A thread that cannot be started, or that panics, has been granted nothing.
    let own = own.ok().and_then(|thread| thread.join().ok()).map(Vec::from).unwrap_or_default();
    own.iter().chain(&process.grants).map(finding).collect()
}

fn finding(grant: &Grant) -> Finding {
    let subject = grant.facility.key();
    let got = grant.got.map_or_else(|| "unknown".to_owned(), |got| got.to_string());
    match &grant.verdict {
        Verdict::Refused { reason, remedy } => {
            let asked = grant.asked.unwrap_or_default();
            Finding::bad(subject, format!("{asked} was asked for and refused: {reason}"), remedy)
        }
        Verdict::Granted => Finding::good(subject, format!("granted, reads back {got}")),
        Verdict::NotAsked => Finding::good(subject, format!("not asked for in [realtime]; is {got}")),
    }
}

fn device(choice: DeviceChoice) -> Finding {
    let subject = "model's device";
    match choose(choice) {
        Ok(chosen) if chosen.kind == DeviceKind::Cpu && !cfg!(feature = "gpu") => Finding::good(
            subject,
            format!("{} ({}); built without the feature `gpu`", chosen.description, chosen.reason),
        ),
        Ok(chosen) => Finding::good(subject, format!("{} ({})", chosen.description, chosen.reason)),
        Err(error) => Finding::bad(
            subject,
            error.to_string(),
            "policy.device = \"auto\" or \"cpu\", or install the GPU's Vulkan driver (vulkaninfo --summary)",
        ),
    }
}

/// Whether an endpoint such as `tcp/127.0.0.1:7447` stays on this machine.
fn local(endpoint: &str) -> bool {
    let host = endpoint.rsplit_once('/').map_or(endpoint, |(_, address)| address);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn exposure(config: &Config) -> Finding {
    let subject = "link exposure";
    let link = &config.link;
    let open: Vec<&str> = link
        .listen
        .iter()
        .chain(&link.connect)
        .map(String::as_str)
        .filter(|endpoint| !local(endpoint))
        .collect();
    if open.is_empty() {
        let note = if link.allow_remote { "; link.allow_remote is true and not needed" } else { "" };
        return Finding::good(
            subject,
            format!("loopback only: nobody outside this machine is reached{note}"),
        );
    }
    let which = open.join(", ");
    if link.allow_remote {
        Finding::bad(
            subject,
            format!(
                "{which} lie beyond this machine, and nobody has to say who they are: whoever reaches one can command the robot"
            ),
            "listen on loopback and let a VPN or an authenticating zenoh router carry it further, or close the \
             port to all but the robot's own network",
        )
    } else {
        Finding::bad(
            subject,
            format!("{which} lie beyond this machine and are refused at start"),
            "use tcp/127.0.0.1:PORT; or set link.allow_remote = true, knowing that whoever reaches it can command the robot",
        )
    }
}

/// Wakes at the configured rate for `seconds`, as configured, and once more under FIFO where that is not
/// configured but granted.
///
/// # Errors
/// If a thread cannot be started.
pub fn examine_lateness(config: &Config, seconds: f64) -> std::io::Result<Vec<Finding>> {
    let hz = config.rates.reflex_hz;
    let count = (seconds.clamp(0.0, 3600.0) * f64::from(hz)).ceil() as u64;
    if count == 0 {
        return Ok(Vec::new());
    }
    let budget_us = 1e6 / f64::from(hz);
    let _held = ProcessGrants::ask(&config.realtime);
    let plain = measure(&config.realtime, hz, count)?;
    let said = plain.lateness.summary();
    let subject = format!("wakes at {hz} Hz");
    let found = format!("{}, {} periods skipped", percentiles(&said), plain.skipped);
    let mut findings = Vec::new();
    // A tick needs its share of the period too.
    findings.push(if said.p999_us > budget_us / 2.0 || plain.skipped > 0 {
        let fix = if config.realtime.fifo_priority == 0 {
            "realtime.fifo_priority = 80, and lock_memory = true"
        } else {
            "realtime.cpu on an isolated CPU; look at the notes above"
        };
        Finding::note(&subject, found, fix)
    } else {
        Finding::good(&subject, found)
    });
    if config.realtime.fifo_priority == 0 {
        let wanted = RealtimeConfig { fifo_priority: TRIED_PRIORITY, ..config.realtime.clone() };
        let fifo = measure(&wanted, hz, count)?;
        let subject = format!("  under FIFO {TRIED_PRIORITY}");
        findings.push(match fifo.grants.iter().find(|grant| grant.refused()) {
            None => Finding::good(
                &subject,
                format!("{}, {} periods skipped", percentiles(&fifo.lateness.summary()), fifo.skipped),
            ),
            Some(grant) => {
                let remedy = match &grant.verdict {
                    Verdict::Refused { remedy, .. } => remedy.as_str(),
                    Verdict::Granted | Verdict::NotAsked => "",
                };
                Finding::note(&subject, "this would be refused".to_owned(), remedy)
            }
        });
    }
    Ok(findings)
}

fn percentiles(said: &LatencySummary) -> String {
    format!(
        "late by p50 {:.0}, p99 {:.0}, p99.9 {:.0}, at most {:.0} µs",
        said.p50_us, said.p99_us, said.p999_us, said.max_us
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn exposure_is_judged_by_the_address() {
        let with = |listen: &str, allow_remote| {
            let mut config = Config::default();
            config.link.listen.push(listen.to_owned());
            config.link.allow_remote = allow_remote;
            exposure(&config)
        };
        for endpoint in ["tcp/127.0.0.1:7447", "tcp/localhost:1", "tcp/[::1]:7447"] {
            assert_eq!(with(endpoint, true).level, Level::Good, "{endpoint}");
        }
        for endpoint in ["tcp/0.0.0.0:7447", "tcp/[::]:7447", "tcp/192.168.1.5:7447", "tcp/robot:1"] {
            let open = with(endpoint, true);
            assert_eq!(open.level, Level::Bad);
            assert!(open.found.contains(endpoint) && open.found.contains("can command the robot"));
            assert!(with(endpoint, false).found.contains("refused at start"));
        }
        assert_eq!(exposure(&Config::default()).level, Level::Good);
    }

    #[test]
    fn a_short_measurement_says_something_or_nothing() {
        let config = Config::default();
        assert!(examine_lateness(&config, 0.0).unwrap().is_empty());
        let findings = examine_lateness(&config, 0.02).unwrap();
        assert_eq!(findings.len(), 2);
        assert!(findings[0].found.contains("p99.9"), "{}", findings[0]);
    }
}
