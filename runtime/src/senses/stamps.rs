//! Whether a message's stamp can be believed: one source's clock, judged message by message.
//!
//! Three readings are compared: the stamp (the source's clock), the arrival (our clock, monotonic) and what came
//! before. A stamp ahead of us is refused; so is one before the last accepted. A clock that *jumps* shows as a
//! stamp far before the last one, or as a message that would have travelled faster than any before it.
//!
//! ```text
//!              jump                      good again
//!  ┌─────────┐ ───▶ ┌───────────┐ ───────────────────────▶ ┌─────────┐
//!  │ settled │      │ unsettled │                          │ settled │
//!  └─────────┘      │ (refuses) │ ───▶ ┌───────────┐ ────▶ │         │
//!                   └───────────┘      │ corrected │       └─────────┘
//!            backwards for `resync_ns` └───────────┘ right by itself
//! ```
//!
//! A clock that went back and stays there would be refused until it has caught up, perhaps for ever. After
//! [`StampRules::resync_ns`] of growing stamps the source is believed again: as it is, if its stamps now agree with
//! their arrival; otherwise *corrected* by the least delay seen meanwhile, as if the quickest of these messages had
//! taken no time. A corrected stamp is therefore never later than its arrival. A clock that runs ahead is never
//! corrected: it would have to be believed on its word.

/// What stamps may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct StampRules {
    /// A stamp may be this far ahead of our clock, ns.
    pub(super) future_ns: u64,
    /// A difference this large is a jump, ns.
    pub(super) jump_ns: u64,
    /// A clock that went back is believed again after this long, ns.
    pub(super) resync_ns: u64,
    /// A stamp this far behind its arrival still agrees with it, ns.
    pub(super) limit_ns: u64,
}

/// What is made of one stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// Captured then, by our clock, ns.
    Good(u64),
    /// Too far ahead.
    Future,
    /// Before the last one.
    Backwards,
    /// The last one again.
    Repeated,
}

/// A clock that went back, watched until it is believed again.
#[derive(Clone, Copy, Debug)]
struct Watched {
    since_ns: u64,
    stamp_ns: u64,
    least_delay_ns: i128,
}

/// What is known of one source's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SourceClock {
    /// Raw stamp of the last good message, and the least delay since the last jump.
    last: Option<(u64, i128)>,
    /// Capture time of the last good message, by our clock.
    capture_ns: Option<u64>,
    /// Added to stamps.
    correction_ns: i128,
    watched: Option<Watched>,
    unsettled: bool,
    pub(super) jumps: u64,
    pub(super) resyncs: u64,
}

impl SourceClock {
    /// Whether a jump has not been settled yet.
    pub(super) fn unsettled(&self) -> bool {
        self.unsettled
    }

    /// Whether stamps are corrected.
    pub(super) fn corrected(&self) -> bool {
        self.correction_ns != 0
    }

    /// Judges the next message's stamp. Constant time.
    pub(super) fn judge(
        &mut self,
        rules: &StampRules,
        stamp_ns: u64,
        received_ns: u64,
        now_ns: u64,
    ) -> Stamp {
        let delay_ns = i128::from(received_ns) - i128::from(stamp_ns);
        let agrees = -i128::from(rules.future_ns) <= delay_ns && delay_ns <= i128::from(rules.limit_ns);
        if let Some((last_ns, least_ns)) = self.last {
            let jump_ns = i128::from(rules.jump_ns);
            let back = i128::from(stamp_ns) + jump_ns < i128::from(last_ns);
            if !self.unsettled && (back || delay_ns + jump_ns < least_ns) {
                self.unsettled = true;
                self.jumps += 1;
            }
        }
        if self.correction_ns != 0 && agrees {
            self.correction_ns = 0;
            self.resyncs += 1;
        }
        let capture_ns = self.corrected_ns(stamp_ns);
        if capture_ns > now_ns.max(received_ns).saturating_add(rules.future_ns) {
            self.watched = None;
            return Stamp::Future;
        }
        let last_ns = self.capture_ns;
        if last_ns == Some(capture_ns) {
            return Stamp::Repeated;
        }
        let backwards = last_ns.is_some_and(|last_ns| capture_ns < last_ns);
        if backwards && !self.believes_again(rules, stamp_ns, received_ns, delay_ns) {
            return Stamp::Backwards;
        }
        let capture_ns = self.corrected_ns(stamp_ns);
        let least_ns = match self.last {
            Some((_, least_ns)) if !self.unsettled => least_ns.min(delay_ns),
            _ => delay_ns,
        };
        self.last = Some((stamp_ns, least_ns));
        self.capture_ns = Some(capture_ns);
        self.watched = None;
        self.unsettled = false;
        Stamp::Good(capture_ns)
    }

    /// Watches a clock that went back; whether it is believed from this message on.
    fn believes_again(
        &mut self,
        rules: &StampRules,
        stamp_ns: u64,
        received_ns: u64,
        delay_ns: i128,
    ) -> bool {
        let watched = match self.watched {
            Some(watched) if stamp_ns > watched.stamp_ns => {
                Watched { stamp_ns, least_delay_ns: watched.least_delay_ns.min(delay_ns), ..watched }
            }
            _ => Watched { since_ns: received_ns, stamp_ns, least_delay_ns: delay_ns },
        };
        self.watched = Some(watched);
        if received_ns.saturating_sub(watched.since_ns) < rules.resync_ns {
            return false;
        }
        let agrees = watched.least_delay_ns <= i128::from(rules.limit_ns);
        self.correction_ns = if agrees { 0 } else { watched.least_delay_ns };
        self.resyncs += 1;
        true
    }

    fn corrected_ns(&self, stamp_ns: u64) -> u64 {
        u64::try_from((i128::from(stamp_ns) + self.correction_ns).max(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;
    const RULES: StampRules =
        StampRules { future_ns: 10 * MS, jump_ns: 50 * MS, resync_ns: 500 * MS, limit_ns: 100 * MS };
    const START: u64 = 1_000_000 * MS;

    /// A message each 10 ms that takes 2 ms, from a clock that is off by `off_ms`.
    fn hear(clock: &mut SourceClock, index: u64, off_ms: i64) -> Stamp {
        let sent_ns = START + index * 10 * MS;
        let stamp_ns = sent_ns.saturating_add_signed(off_ms * MS as i64);
        clock.judge(&RULES, stamp_ns, sent_ns + 2 * MS, sent_ns + 3 * MS)
    }

    #[test]
    fn a_good_clock_is_believed_as_it_is() {
        let mut clock = SourceClock::default();
        for index in 0..1000 {
            assert_eq!(hear(&mut clock, index, 0), Stamp::Good(START + index * 10 * MS));
        }
        assert_eq!(hear(&mut clock, 999, 0), Stamp::Repeated);
        assert_eq!(hear(&mut clock, 998, 0), Stamp::Backwards);
        assert_eq!((clock.jumps, clock.resyncs), (0, 0));
    }

    #[test]
    fn a_clock_that_went_back_for_good_is_believed_again_and_corrected() {
        let mut clock = SourceClock::default();
        for index in 0..10 {
            hear(&mut clock, index, 0);
        }
        for index in 10..60 {
            assert_eq!(hear(&mut clock, index, -60_000), Stamp::Backwards, "{index}");
            assert!(clock.unsettled());
        }
        // After 500 ms: as if the quickest message had taken no time.
        assert_eq!(hear(&mut clock, 60, -60_000), Stamp::Good(START + 602 * MS));
        assert_eq!((clock.jumps, clock.resyncs, clock.corrected()), (1, 1, true));
        assert_eq!(hear(&mut clock, 61, -60_000), Stamp::Good(START + 612 * MS));
        // Set right, it is believed as it is; one message may fall into the 2 ms that were given away.
        hear(&mut clock, 62, 0);
        assert_eq!(hear(&mut clock, 63, 0), Stamp::Good(START + 630 * MS));
        assert_eq!((clock.jumps, clock.corrected(), clock.unsettled()), (2, false, false));
    }

    #[test]
    fn a_clock_that_goes_ahead_is_refused_until_it_comes_back() {
        let mut clock = SourceClock::default();
        for index in 0..10 {
            hear(&mut clock, index, 0);
        }
        for index in 10..300 {
            assert_eq!(hear(&mut clock, index, 60_000), Stamp::Future);
        }
        assert_eq!(clock.jumps, 1);
        assert_eq!(hear(&mut clock, 300, 0), Stamp::Good(START + 3000 * MS));
        assert!(!clock.unsettled());
    }

    #[test]
    fn late_data_are_no_jump() {
        let mut clock = SourceClock::default();
        for index in 0..100 {
            // A stall of the network: everything between 300 and 600 ms arrives at 600 ms.
            let sent_ns = START + index * 10 * MS;
            let arrives_ns =
                if (30..60).contains(&index) { START + 600 * MS + index } else { sent_ns + 2 * MS };
            assert!(matches!(clock.judge(&RULES, sent_ns, arrives_ns, arrives_ns), Stamp::Good(_)));
        }
        assert_eq!(clock.jumps, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn capture_times_never_go_back_but_for_a_resync_and_never_lie_ahead(
            offsets in prop::collection::vec((-5_000i64..5_000, 1usize..120), 1..12),
        ) {
            let mut clock = SourceClock::default();
            let (mut index, mut last_ns, mut resyncs) = (0, 0, 0);
            for (off_ms, messages) in offsets {
                for _ in 0..messages {
                    if let Stamp::Good(capture_ns) = hear(&mut clock, index, off_ms) {
                        prop_assert!(capture_ns <= START + index * 10 * MS + 13 * MS);
                        prop_assert!(capture_ns > last_ns || clock.resyncs > resyncs);
                        (last_ns, resyncs) = (capture_ns, clock.resyncs);
                    }
                    index += 1;
                }
            }
            // Whatever went before: a clock that is right is believed after the resync time.
            for _ in 0..60 {
                hear(&mut clock, index, 0);
                index += 1;
            }
            prop_assert_eq!(hear(&mut clock, index, 0), Stamp::Good(START + index * 10 * MS));
        }
    }
}
