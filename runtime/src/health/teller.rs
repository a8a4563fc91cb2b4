//! Tells how a run is: asks the board, makes the table, and hands it to `diagnostics` and to the page.
//!
//! It belongs to the thread that keeps the books; what it reads may wait for a bus for milliseconds.

use std::path::Path;
use std::sync::Arc;

use reflexarc_drivers::Publisher;
use reflexarc_drivers::link::Drops;
use reflexarc_drivers::msg::DiagnosticArray;
use reflexarc_drivers::power::{Board, BoardReading};

use super::figure::Part;
use super::server::Pinboard;
use super::table::{Vitals, Watcher};
use crate::config::CostConfig;
use crate::cost::{CostReport, Energy, Usage};
use crate::ledger::Ledger;
use crate::outcome::OutcomeWatch;
use crate::progress::Progress;
use crate::senses::TopicStats;

/// Where the kernel tells about the board.
pub(crate) const SYSFS: &str = "/sys";
/// How often the board is asked, ns.
const BOARD_NS: u64 = 200_000_000;

/// See the module.
pub(crate) struct Teller {
    board: Board,
    reading: Option<BoardReading>,
    asked_ns: u64,
    watcher: Watcher,
    prices: CostConfig,
    diagnostics: Publisher<DiagnosticArray>,
    pinboard: Option<Arc<Pinboard>>,
    recorder: Option<Drops>,
}

/// What the books say at one moment.
pub(crate) struct News<'a> {
    /// Time by the clock that stamps messages, ns.
    pub now_ns: u64,
    /// How the run stands.
    pub progress: &'a Progress,
    /// The books.
    pub ledger: &'a Ledger,
    /// How the task stands.
    pub watch: &'a OutcomeWatch,
    /// Every sense's topic and counters.
    pub topics: &'a [(String, TopicStats)],
    /// Grants, stages and stalls of the reflex.
    pub realtime: Part,
}

impl Teller {
    /// `recorder` counts what the recorder drops, if there is one.
    pub(crate) fn new(
        prices: CostConfig,
        diagnostics: Publisher<DiagnosticArray>,
        pinboard: Option<Arc<Pinboard>>,
        recorder: Option<Drops>,
    ) -> Self {
        Self {
            board: Board::open(Path::new(SYSFS)),
            reading: None,
            asked_ns: 0,
            watcher: Watcher::default(),
            prices,
            diagnostics,
            pinboard,
            recorder,
        }
    }

    /// Asks the board if that is due; `monotonic_ns` never goes back.
    pub(crate) fn look(&mut self, monotonic_ns: u64) {
        if self.reading.is_none() || monotonic_ns.saturating_sub(self.asked_ns) >= BOARD_NS {
            self.ask(monotonic_ns);
        }
    }

    fn ask(&mut self, monotonic_ns: u64) {
        self.asked_ns = monotonic_ns;
        self.reading = Some(self.board.poll(monotonic_ns));
    }

    /// Publishes the table of this moment.
    pub(crate) fn tell(&mut self, news: News<'_>) {
        let usage = Usage::new(news.ledger, news.watch, self.energy());
        let mut health = self.watcher.table(&Vitals {
            now_ns: news.now_ns,
            progress: news.progress,
            ledger: news.ledger,
            topics: news.topics,
            cost: &CostReport::new(usage, &self.prices),
            board: self.reading.as_ref(),
            recorder_dropped: self.recorder.as_ref().map(Drops::count),
        });
        health.parts.push(news.realtime);
        health.parts.extend(self.pinboard.as_ref().map(|pinboard| pinboard.part()));
        // Nobody may be listening; a failed put is counted by the publisher.
        let _ = self.diagnostics.put(&health.diagnostics());
        if let Some(pinboard) = &self.pinboard {
            pinboard.put(health);
        }
    }

    fn energy(&self) -> Energy {
        match &self.reading {
            Some(reading) => Energy::from_board(reading.energy.clone()),
            None => Energy::not_measured(),
        }
    }

    /// The energy of the whole run, with a last look at the board.
    pub(crate) fn finish(mut self, monotonic_ns: u64) -> Energy {
        self.ask(monotonic_ns);
        self.energy()
    }
}
