//! What was asked of the system, and what it gave.

use serde::{Deserialize, Serialize};

/// One thing that the system may grant to a real-time program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facility {
    /// SCHED_FIFO for the reflex; the value is its priority, 0 for an ordinary thread.
    Fifo,
    /// The reflex on one CPU; the value is its number.
    Cpu,
    /// How much later than asked a timer of the reflex may fire, ns.
    TimerSlack,
    /// All memory of the process locked; the value is how much of it is, bytes.
    Memory,
    /// How long a CPU may take to leave its idle state, µs.
    CpuLatency,
}

impl Facility {
    /// Its key in the configuration's section `[realtime]`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Fifo => "fifo_priority",
            Self::Cpu => "cpu",
            Self::TimerSlack => "timer_slack_ns",
            Self::Memory => "lock_memory",
            Self::CpuLatency => "cpu_dma_latency_us",
        }
    }
}

/// Whether the system gave what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was asked.
    NotAsked,
    /// It was, and reading back says so.
    Granted,
    /// It was not.
    Refused {
        /// What the system said, or what was read back.
        reason: String,
        /// What to change.
        remedy: String,
    },
}

/// One request with its answer. The answer is read back from the kernel, never assumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What.
    pub facility: Facility,
    /// The value asked for, in the facility's unit.
    pub asked: Option<u64>,
    /// The value in force, in the facility's unit, as the kernel tells it.
    pub got: Option<u64>,
    /// Whether the one is as good as the other.
    pub verdict: Verdict,
}

impl Grant {
    /// Nothing was asked; `got` is what is in force all the same.
    #[must_use]
    pub fn not_asked(facility: Facility, got: Option<u64>) -> Self {
        Self { facility, asked: None, got, verdict: Verdict::NotAsked }
    }

    /// `asked` was asked for, the system answered `answer`, and `got` was read back afterwards.
    /// `enough` says whether the value in force is as good as the one asked for.
    pub(super) fn judge(
        facility: Facility,
        asked: u64,
        answer: Result<(), String>,
        got: Option<u64>,
        enough: impl FnOnce(u64) -> bool,
        remedy: &str,
    ) -> Self {
        let reason = match (answer, got) {
            (Err(reason), _) => Some(reason),
            (Ok(()), None) => {
                Some("the system accepted it, but what is in force could not be read".to_owned())
            }
            (Ok(()), Some(value)) if !enough(value) => {
                Some(format!("the system accepted it, but {value} is in force"))
            }
            (Ok(()), Some(_)) => None,
        };
        let verdict =
            reason.map_or(Verdict::Granted, |reason| Verdict::Refused { reason, remedy: remedy.to_owned() });
        Self { facility, asked: Some(asked), got, verdict }
    }

    /// Whether something was asked for and not given.
    #[must_use]
    pub fn refused(&self) -> bool {
        matches!(self.verdict, Verdict::Refused { .. })
    }
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.facility.key();
        let got = self.got.map_or_else(|| "unknown".to_owned(), |got| got.to_string());
        match (&self.verdict, self.asked) {
            (Verdict::Refused { reason, remedy }, Some(asked)) => {
                write!(f, "{key} = {asked} refused ({reason}); {remedy}")
            }
            (Verdict::Granted, Some(asked)) => write!(f, "{key} = {asked} granted (reads back {got})"),
            (_, _) => write!(f, "{key} not asked (is {got})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_back_decides_not_what_was_answered() {
        let judge = |answer, got| {
            Grant::judge(Facility::Fifo, 80, answer, got, |got| got == 80, "set LimitRTPRIO=80")
        };
        assert_eq!(judge(Ok(()), Some(80)).verdict, Verdict::Granted);
        let answered_only = judge(Ok(()), Some(0));
        assert!(answered_only.refused());
        assert!(answered_only.to_string().contains("0 is in force"), "{answered_only}");
        assert!(judge(Ok(()), None).refused());
        let refused = judge(Err("operation not permitted".into()), Some(0)).to_string();
        for part in ["fifo_priority = 80", "operation not permitted", "LimitRTPRIO=80"] {
            assert!(refused.contains(part), "{refused}");
        }
        let not = Grant::not_asked(Facility::TimerSlack, Some(50_000));
        assert!(!not.refused() && not.to_string().contains("50000"));
    }

    #[test]
    fn it_reads_well_as_json() {
        let grant = Grant::judge(Facility::Memory, 1, Ok(()), Some(4096), |got| got > 0, "");
        let json = serde_json::to_value(&grant).unwrap_or_default();
        assert_eq!(
            json,
            serde_json::json!({"facility": "memory", "asked": 1, "got": 4096, "verdict": "granted"})
        );
    }
}
