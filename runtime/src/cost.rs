//! What a run costs: tokens, decisions, time of the model, energy and money, for the run, per hour and per
//! completed task, beside what the same calls would cost in a cloud.
//!
//! Prices are the user's. What cannot be computed is not computed, and says why; energy that nobody measured
//! is either absent or, at the user's word, assumed and called so wherever it is shown.

use std::fmt;

use reflexarc_drivers::power::{EnergyReading, Unavailable};
use serde::{Deserialize, Serialize};

use crate::config::CostConfig;
use crate::ledger::Ledger;
use crate::outcome::OutcomeWatch;

/// Joules in a kilowatt-hour.
const J_PER_KWH: f64 = 3.6e6;

/// A figure, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// The figure.
    Is(f64),
    /// Why it was not computed.
    NotComputed(String),
}

impl Default for Amount {
    fn default() -> Self {
        Self::NotComputed("nothing has been measured".into())
    }
}

impl Amount {
    /// The figure, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Is(value) => Some(*value),
            Self::NotComputed(_) => None,
        }
    }

    fn scaled(&self, factor: f64) -> Self {
        match self {
            Self::Is(value) => Self::Is(value * factor),
            Self::NotComputed(why) => Self::NotComputed(why.clone()),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Is(one), Self::Is(two)) => Self::Is(one + two),
            (Self::NotComputed(why), _) | (_, Self::NotComputed(why)) => Self::NotComputed(why.clone()),
        }
    }

    /// This over `divisor`, which counts `what`.
    fn over(&self, divisor: f64, what: &str) -> Self {
        if divisor > 0.0 { self.scaled(1.0 / divisor) } else { Self::NotComputed(format!("no {what}")) }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Four digits that count, however small the money is.
            Self::Is(value) if *value != 0.0 && value.abs() < 0.1 => write!(f, "{value:.3e}"),
            Self::Is(value) => write!(f, "{value:.3}"),
            Self::NotComputed(why) => write!(f, "not computed ({why})"),
        }
    }
}

/// Energy of a run, with its origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Energy {
    /// The board told.
    Measured(EnergyReading),
    /// Nobody measured; the user said what to assume.
    Assumed {
        /// The power that the user stated, W.
        watts: f64,
        /// That power over the run, J.
        energy_j: f64,
    },
    /// Nobody measured, and nothing is assumed.
    NotAvailable {
        /// Why, one entry for each place that was asked.
        reasons: Vec<String>,
    },
}

impl Default for Energy {
    fn default() -> Self {
        Self::NotAvailable { reasons: vec!["nobody measured".into()] }
    }
}

impl Energy {
    /// Of a run that nobody measures, such as one in simulated time.
    #[must_use]
    pub fn not_measured() -> Self {
        Self::NotAvailable { reasons: vec!["simulated time: no board to measure".into()] }
    }

    /// What a board told, or why it does not.
    #[must_use]
    pub fn from_board(reading: Result<EnergyReading, Vec<Unavailable>>) -> Self {
        match reading {
            Ok(reading) => Self::Measured(reading),
            Err(faults) => Self::NotAvailable { reasons: faults.iter().map(ToString::to_string).collect() },
        }
    }

    /// Falls back to `watts` over `duration_s` where nothing was measured and the user has stated `watts`.
    #[must_use]
    pub fn or_assumed(self, watts: Option<f64>, duration_s: f64) -> Self {
        match (self, watts) {
            (Self::NotAvailable { .. } | Self::Assumed { .. }, Some(watts)) => {
                Self::Assumed { watts, energy_j: watts * duration_s }
            }
            (energy, _) => energy,
        }
    }

    /// One word for its origin: `measured`, `assumed` or `not available`.
    #[must_use]
    pub const fn basis(&self) -> &'static str {
        match self {
            Self::Measured(_) => "measured",
            Self::Assumed { .. } => "assumed",
            Self::NotAvailable { .. } => "not available",
        }
    }

    /// The energy, J.
    #[must_use]
    pub fn energy_j(&self) -> Amount {
        match self {
            Self::Measured(reading) => Amount::Is(reading.energy_j),
            Self::Assumed { energy_j, .. } => Amount::Is(*energy_j),
            Self::NotAvailable { reasons } => {
                Amount::NotComputed(format!("energy not available: {}", reasons.join("; ")))
            }
        }
    }
}

impl fmt::Display for Energy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured(reading) => {
                write!(
                    f,
                    "measured: {} by {} of {} readings over {:.1} s, {:.1} s not covered; {}",
                    reading.source.name(),
                    reading.method.name(),
                    reading.readings,
                    reading.covered_s,
                    reading.uncovered_s,
                    reading.scope
                )
            }
            Self::Assumed { watts, .. } => {
                write!(f, "ASSUMED, not measured: {watts} W by cost.assumed_watts over the run's time")
            }
            Self::NotAvailable { reasons } => write!(f, "not available: {}", reasons.join("; ")),
        }
    }
}

/// What a run has used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// From the first to the last tick, s.
    pub duration_s: f64,
    /// Answers of the policy.
    pub decisions: u64,
    /// Tokens decoded.
    pub tokens: u64,
    /// Time that the policy took, s.
    pub model_s: f64,
    /// Tasks completed: different instructions after which the policy said `done` for a second; or as the
    /// caller judged.
    pub tasks: u64,
    /// Energy.
    pub energy: Energy,
}

impl Usage {
    /// What the books say, and the energy beside it.
    #[must_use]
    pub fn new(ledger: &Ledger, watch: &OutcomeWatch, energy: Energy) -> Self {
        Self {
            duration_s: ledger.duration_s(),
            decisions: ledger.thoughts,
            tokens: ledger.tokens,
            model_s: ledger.cost_ns[0] as f64 / 1e9,
            tasks: watch.completed(),
            energy,
        }
    }
}

/// One quantity: for the run, per hour and per completed task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// For the whole run.
    pub run: Amount,
    /// Per hour of the run.
    pub per_hour: Amount,
    /// Per completed task.
    pub per_task: Amount,
}

impl Row {
    fn new(run: Amount, usage: &Usage) -> Self {
        Self {
            per_hour: run.over(usage.duration_s / 3600.0, "time has passed"),
            per_task: run.over(usage.tasks as f64, "task was completed"),
            run,
        }
    }
}

/// What a run costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostReport {
    /// What it used.
    pub usage: Usage,
    /// The user's prices.
    pub prices: CostConfig,
    /// Tokens.
    pub tokens: Row,
    /// Answers of the policy.
    pub decisions: Row,
    /// Time of the policy, s.
    pub model_s: Row,
    /// Energy, J.
    pub energy_j: Row,
    /// Price of that energy.
    pub electricity: Row,
    /// The hardware's price, spread evenly over its life.
    pub hardware: Row,
    /// Both together.
    pub total: Row,
    /// What as many calls, with as many tokens, would cost in the cloud whose price was stated.
    pub cloud: Row,
    /// The cloud's price over `total`.
    pub cloud_over_total: Amount,
}

impl CostReport {
    /// Computes everything from what was used and what it costs.
    #[must_use]
    pub fn new(mut usage: Usage, prices: &CostConfig) -> Self {
        usage.energy = usage.energy.or_assumed(prices.assumed_watts, usage.duration_s);
        let price = |price: Option<f64>, key: &str| {
            price.map_or_else(|| Amount::NotComputed(format!("cost.{key} is not set")), Amount::Is)
        };
        let count = |count: u64| Amount::Is(count as f64);
        let energy_j = usage.energy.energy_j();
        let electricity = match price(prices.electricity_per_kwh, "electricity_per_kwh") {
            Amount::Is(per_kwh) => energy_j.scaled(per_kwh / J_PER_KWH),
            missing => missing,
        };
        let life_hours = price(prices.hardware_life_hours, "hardware_life_hours");
        let hardware = match (price(prices.hardware_price, "hardware_price"), life_hours) {
            (Amount::Is(price), Amount::Is(life_hours)) => {
                Amount::Is(price * (usage.duration_s / 3600.0) / life_hours)
            }
            (Amount::Is(_), missing) | (missing, _) => missing,
        };
        let total = electricity.plus(&hardware);
        let cloud = cloud(&usage, prices);
        let cloud_over_total = match (&cloud, &total) {
            (Amount::Is(cloud), Amount::Is(total)) if *total > 0.0 => Amount::Is(cloud / total),
            (Amount::Is(_), Amount::Is(_)) => Amount::NotComputed("the total is 0".into()),
            (Amount::NotComputed(why), _) | (_, Amount::NotComputed(why)) => Amount::NotComputed(why.clone()),
        };
        let row = |amount| Row::new(amount, &usage);
        Self {
            tokens: row(count(usage.tokens)),
            decisions: row(count(usage.decisions)),
            model_s: row(Amount::Is(usage.model_s)),
            energy_j: row(energy_j),
            electricity: row(electricity),
            hardware: row(hardware),
            total: row(total),
            cloud: row(cloud),
            cloud_over_total,
            prices: prices.clone(),
            usage,
        }
    }

    /// The same run with another count of completed tasks.
    #[must_use]
    pub fn with_tasks(&self, tasks: u64) -> Self {
        Self::new(Usage { tasks, ..self.usage.clone() }, &self.prices)
    }

    /// The currency's letters with a space before them, or nothing.
    #[must_use]
    pub fn currency(&self) -> String {
        if self.prices.currency.is_empty() { String::new() } else { format!(" {}", self.prices.currency) }
    }

    /// The rows under their names, with their units.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, String, &Row); 8] {
        let money = self.currency();
        [
            ("tokens", String::new(), &self.tokens),
            ("decisions", String::new(), &self.decisions),
            ("model time", " s".into(), &self.model_s),
            ("energy", " J".into(), &self.energy_j),
            ("electricity", money.clone(), &self.electricity),
            ("hardware", money.clone(), &self.hardware),
            ("total", money.clone(), &self.total),
            ("same in a cloud", money, &self.cloud),
        ]
    }

    /// The ledger's lines in a report for people.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_text(&self, out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(
            out,
            "ledger            {} tasks completed in {:.2} s",
            self.usage.tasks, self.usage.duration_s
        )?;
        let assumed = matches!(self.usage.energy, Energy::Assumed { .. });
        for (name, unit, row) in self.rows() {
            let from_energy = ["energy", "electricity", "total"].contains(&name);
            let mark = if assumed && from_energy { "  (energy ASSUMED)" } else { "" };
            match (&row.run, &row.per_hour, &row.per_task) {
                (Amount::NotComputed(why), ..) => writeln!(out, "  {name:<16}not computed: {why}")?,
                (run, per_hour, per_task) => writeln!(
                    out,
                    "  {name:<16}{run}{unit}; per hour {}; per task {}{mark}",
                    with_unit(per_hour, &unit),
                    with_unit(per_task, &unit)
                )?,
            }
        }
        if let Amount::Is(ratio) = self.cloud_over_total {
            writeln!(out, "  {:<16}{ratio:.2} times the total here", "cloud")?;
        }
        writeln!(out, "  {:<16}{}", "basis of energy", self.usage.energy)
    }
}

fn with_unit(figure: &Amount, unit: &str) -> String {
    match figure {
        Amount::Is(_) => format!("{figure}{unit}"),
        Amount::NotComputed(why) => format!("- ({why})"),
    }
}

/// What the same calls cost at the stated prices: per token and per call, added where both are stated.
fn cloud(usage: &Usage, prices: &CostConfig) -> Amount {
    let by_tokens = prices.cloud_price_per_million_tokens.map(|price| price * usage.tokens as f64 / 1e6);
    let by_calls = prices.cloud_price_per_call.map(|price| price * usage.decisions as f64);
    match (by_tokens, by_calls) {
        (None, None) => Amount::NotComputed(
            "neither cost.cloud_price_per_million_tokens nor cost.cloud_price_per_call is set".into(),
        ),
        (Some(_), None) if usage.tokens == 0 && usage.decisions > 0 => {
            Amount::NotComputed("this policy decodes no tokens: set cost.cloud_price_per_call".into())
        }
        (tokens, calls) => Amount::Is(tokens.unwrap_or(0.0) + calls.unwrap_or(0.0)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use reflexarc_drivers::power::{Method, Source};

    fn prices() -> CostConfig {
        CostConfig {
            currency: "EUR".into(),
            electricity_per_kwh: Some(0.36),
            hardware_price: Some(2000.0),
            hardware_life_hours: Some(20_000.0),
            cloud_price_per_million_tokens: Some(5.0),
            cloud_price_per_call: Some(0.001),
            assumed_watts: None,
        }
    }

    fn measured(energy_j: f64) -> Energy {
        Energy::Measured(EnergyReading {
            energy_j,
            power_w: 10.0,
            source: Source::Ina3221,
            scope: "the module".into(),
            method: Method::Trapezoid,
            readings: 3600,
            covered_s: 1800.0,
            uncovered_s: 0.0,
        })
    }

    /// Half an hour at 20 W with 3 tasks.
    fn usage() -> Usage {
        Usage {
            duration_s: 1800.0,
            decisions: 108_000,
            tokens: 1_600_000,
            model_s: 360.0,
            tasks: 4,
            energy: measured(36_000.0),
        }
    }

    fn close(figure: &Amount, expected: f64) {
        let value = figure.value().unwrap();
        assert!((value - expected).abs() <= 1e-12 * expected.abs(), "{value} is not {expected}");
    }

    #[test]
    fn the_arithmetic_is_exact() {
        let cost = CostReport::new(usage(), &prices());
        // 36 kJ are 0.01 kWh; half an hour is 1/40000 of the hardware's life.
        for (row, run) in [
            (&cost.tokens, 1_600_000.0),
            (&cost.decisions, 108_000.0),
            (&cost.model_s, 360.0),
            (&cost.energy_j, 36_000.0),
            (&cost.electricity, 0.0036),
            (&cost.hardware, 0.05),
            (&cost.total, 0.0536),
            (&cost.cloud, 8.0 + 108.0),
        ] {
            close(&row.run, run);
            close(&row.per_hour, 2.0 * run);
            close(&row.per_task, run / 4.0);
        }
        close(&cost.cloud_over_total, 116.0 / 0.0536);
    }

    #[test]
    fn an_absent_price_is_named_and_nothing_is_made_up() {
        let cost = CostReport::new(usage(), &CostConfig::default());
        for (row, key) in [
            (&cost.electricity, "cost.electricity_per_kwh"),
            (&cost.hardware, "cost.hardware_price"),
            (&cost.total, "cost.electricity_per_kwh"),
            (&cost.cloud, "cost.cloud_price_per_million_tokens"),
        ] {
            let figure = &row.run;
            assert!(matches!(figure, Amount::NotComputed(why) if why.contains(key)), "{figure:?}");
            assert_eq!((row.per_hour.value(), row.per_task.value()), (None, None));
        }
        close(&cost.energy_j.run, 36_000.0);
        let half = CostConfig { hardware_life_hours: None, ..prices() };
        let cost = CostReport::new(usage(), &half);
        assert!(
            matches!(&cost.hardware.run, Amount::NotComputed(why) if why.contains("hardware_life_hours"))
        );
        assert_eq!(cost.total.run.value(), None);
        close(&cost.electricity.run, 0.0036);
    }

    #[test]
    fn assumed_energy_is_called_so_and_never_hides_a_measurement() {
        let assumed = CostConfig { assumed_watts: Some(25.0), ..prices() };
        let nobody = Usage { energy: Energy::not_measured(), ..usage() };
        let cost = CostReport::new(nobody.clone(), &assumed);
        close(&cost.energy_j.run, 45_000.0);
        close(&cost.electricity.run, 0.0045);
        assert_eq!(cost.usage.energy.basis(), "assumed");
        let mut text = String::new();
        cost.write_text(&mut text).unwrap();
        for name in ["  energy", "  electricity", "  total", "  basis of energy"] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.contains("ASSUMED"), "{line}");
        }
        assert!(!text.lines().any(|line| line.starts_with("  hardware") && line.contains("ASSUMED")));
        // A board that tells is believed instead.
        let cost = CostReport::new(usage(), &assumed);
        close(&cost.energy_j.run, 36_000.0);
        assert_eq!(cost.usage.energy.basis(), "measured");
        // Without the user's word there are no joules.
        let cost = CostReport::new(nobody, &prices());
        assert!(matches!(&cost.electricity.run, Amount::NotComputed(why) if why.contains("not available")));
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let cost = CostReport::new(Usage { tasks: 0, duration_s: 0.0, ..usage() }, &prices());
        for (name, _, row) in cost.rows() {
            assert_eq!(row.per_task, Amount::NotComputed("no task was completed".into()), "{name}");
            assert_eq!(row.per_hour, Amount::NotComputed("no time has passed".into()), "{name}");
        }
        let again = cost.with_tasks(2);
        close(&again.tokens.per_task, 800_000.0);
        assert_eq!(again.with_tasks(0), cost);
        let silent = Usage { tokens: 0, ..usage() };
        let per_token = CostConfig { cloud_price_per_call: None, ..prices() };
        let cost = CostReport::new(silent, &per_token);
        assert!(matches!(&cost.cloud.run, Amount::NotComputed(why) if why.contains("cloud_price_per_call")));
    }

    #[test]
    fn json_survives_the_round_trip() {
        for prices in [prices(), CostConfig::default()] {
            let cost = CostReport::new(usage(), &prices);
            let text = serde_json::to_string(&cost).unwrap();
            assert_eq!(serde_json::from_str::<CostReport>(&text).unwrap(), cost);
        }
    }
}
