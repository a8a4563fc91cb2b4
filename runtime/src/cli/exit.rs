//! What the exit code says.

use crate::config::ConfigError;
use crate::load::LoadError;
use crate::outcome::Outcome;
use crate::report::Report;
use crate::runtime::RuntimeError;
use reflexarc_drivers::LinkError;

/// The run ended as asked (task finished, time over, or a signal).
pub const EXIT_OK: u8 = 0;
/// A problem of another kind, said on stderr; also a run that ended, but not without problems.
pub const EXIT_PROBLEM: u8 = 1;
/// Wrong arguments.
pub const EXIT_USAGE: u8 = 2;
/// The policy said that the instruction cannot be carried out.
pub const EXIT_INFEASIBLE: u8 = 3;
/// The configuration or the robot's description cannot be used.
pub const EXIT_CONFIG: u8 = 4;
/// The model cannot be loaded or does not run.
pub const EXIT_MODEL: u8 = 5;
/// The link could not be opened.
pub const EXIT_LINK: u8 = 6;
/// Real time was required and refused.
pub const EXIT_REALTIME: u8 = 7;
/// The reflex stood still during the run.
pub const EXIT_STALLED: u8 = 8;
/// A replay came out otherwise than the recording.
pub const EXIT_DIFFERS: u8 = 9;
/// A replay is the same as far as it goes, but the recording has a gap.
pub const EXIT_INCOMPLETE: u8 = 10;

/// All of them, for `--help`.
pub(super) const TABLE: &str = "\
Exit codes:
  0  ended as asked: task done, time over, or SIGINT/SIGTERM, once the arm is at rest
     (half a second at the most)
  1  another problem, said on stderr; also a run that ended with problems in its report
  2  wrong arguments
  3  the policy says that it cannot be done
  4  the configuration or the robot's description cannot be used
  5  the model cannot be loaded or does not run
  6  the link could not be opened
  7  realtime.require_realtime = true, and something was refused
  8  the reflex stood still for longer than realtime.stall_ms
  9  a replay came out otherwise than the recording
  10 a replay is the same as far as it goes, but the recording has a gap
  130, 143  a second SIGINT or SIGTERM ended the program at once, without waiting for the arm";

/// The code for an error that ended a command.
#[must_use]
pub fn code_of(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|cause| {
            if cause.is::<ConfigError>() {
                return Some(EXIT_CONFIG);
            }
            if cause.is::<LoadError>() {
                return Some(EXIT_MODEL);
            }
            if cause.is::<LinkError>() {
                return Some(EXIT_LINK);
            }
            cause.downcast_ref::<RuntimeError>().map(|error| match error {
                RuntimeError::Config(_)
                | RuntimeError::Description { .. }
                | RuntimeError::Urdf(_)
                | RuntimeError::Shapes(_)
                | RuntimeError::Posture { .. } => EXIT_CONFIG,
                RuntimeError::Policy(_) => EXIT_MODEL,
                RuntimeError::Link(_) => EXIT_LINK,
                RuntimeError::RealtimeRefused { .. } => EXIT_REALTIME,
                RuntimeError::Record(_) | RuntimeError::Metrics(_) | RuntimeError::Thread { .. } => {
                    EXIT_PROBLEM
                }
            })
        })
        .unwrap_or(EXIT_PROBLEM)
}

/// The code for a run that ended; the worst of what happened.
#[must_use]
pub fn code_of_run(report: &Report) -> u8 {
    if report.realtime.stalls > 0 {
        return EXIT_STALLED;
    }
    if !report.problems.is_empty() {
        return EXIT_PROBLEM;
    }
    match report.outcome {
        Outcome::Infeasible(_) => EXIT_INFEASIBLE,
        Outcome::Finished | Outcome::Running => EXIT_OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::RealtimeReport;
    use anyhow::Context;
    use reflexarc_vla_model::decision::Infeasible;

    #[test]
    fn errors_have_the_code_of_their_cause() {
        let config = ConfigError::Value {
            key: "k".into(),
            value: "v".into(),
            expected: "e".into(),
            at: String::new(),
        };
        assert_eq!(code_of(&config.into()), EXIT_CONFIG);
        let nested = Err::<(), _>(RuntimeError::RealtimeRefused { refused: String::new() })
            .context("the run")
            .map_err(|error| code_of(&error));
        assert_eq!(nested, Err(EXIT_REALTIME));
        let link = LinkError::Endpoint { endpoint: "x".into() };
        assert_eq!(code_of(&RuntimeError::Link(link.clone()).into()), EXIT_LINK);
        assert_eq!(code_of(&link.into()), EXIT_LINK);
        assert_eq!(code_of(&anyhow::anyhow!("anything else")), EXIT_PROBLEM);
    }

    #[test]
    fn a_run_has_the_code_of_the_worst_that_happened() {
        let report = Report::default();
        assert_eq!(code_of_run(&report), EXIT_OK);
        let report = Report { outcome: Outcome::Infeasible(Infeasible::Absent), ..report };
        assert_eq!(code_of_run(&report), EXIT_INFEASIBLE);
        let report = Report { problems: vec!["lost".into()], ..report };
        assert_eq!(code_of_run(&report), EXIT_PROBLEM);
        let realtime = RealtimeReport { stalls: 1, ..RealtimeReport::default() };
        assert_eq!(code_of_run(&Report { realtime, ..report }), EXIT_STALLED);
    }

    #[test]
    fn every_code_is_in_the_table() {
        for code in EXIT_OK..=EXIT_STALLED {
            assert!(TABLE.contains(&format!("\n  {code}  ")), "{code}");
        }
    }
}
