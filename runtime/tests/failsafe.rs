//! The failsafe's machine by itself: every row walked, the ranking, the latch; and the table of the documentation,
//! written by walking.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use reflexarc_kinematics::{ARM7_URDF, Chain};
use reflexarc_runtime::Config;
use reflexarc_runtime::config::FailsafeConfig;
use reflexarc_runtime::failsafe::{
    Action, Cause, CauseSet, Flags, Promise, Reason, ResetRefused, Standing, State, Table, Transition,
};

const MS: u64 = 1_000_000;
/// Longer than any time of the default table, ms.
const WALK_MS: u64 = 12_000;

fn flags(causes: CauseSet) -> Flags {
    Flags { causes, engaged: true, overridden: false }
}

fn only(cause: Cause) -> CauseSet {
    CauseSet::EMPTY.with(cause)
}

/// The machine under one configuration.
struct Walk {
    table: Table,
    state: State,
    now_ms: u64,
}

impl Walk {
    fn new(config: &FailsafeConfig) -> Self {
        Self { table: Table::new(config), state: State::default(), now_ms: 1_000 }
    }

    fn step(&mut self, flags: Flags) -> (Standing, Option<Transition>) {
        self.now_ms += 1;
        let (next, transition) = self.state.step(&self.table, self.now_ms * MS, flags);
        self.state = next;
        (next.standing(), transition)
    }

    fn reset(&mut self, orders: CauseSet) -> Result<(), ResetRefused> {
        self.state = self.state.reset(&self.table, self.now_ms * MS, orders)?;
        Ok(())
    }
}

/// What happens while a cause lasts: time since it came, ms, and the action from then on.
fn while_it_lasts(config: &FailsafeConfig, flags: Flags) -> Vec<(u64, Action)> {
    let mut walk = Walk::new(config);
    let mut changes = Vec::new();
    for ms in 0..WALK_MS {
        if let (standing, Some(_)) = walk.step(flags) {
            changes.push((ms, standing.action));
        }
    }
    changes
}

/// How long after the end of a cause that stood just until its first action it is forgotten, ms; none if it is latched.
fn forgotten_after(config: &FailsafeConfig, cause: Cause, first_ms: u64) -> Option<u64> {
    let mut walk = Walk::new(config);
    for _ in 0..=first_ms {
        walk.step(flags(only(cause)));
    }
    let steps = (0..WALK_MS).find(|_| walk.step(flags(CauseSet::EMPTY)).0.action == Action::None)?;
    // Gone at the next step: that is at once.
    Some(if steps == 0 { 0 } else { steps + 1 })
}

#[test]
fn the_table_of_the_documentation_is_what_the_machine_does() {
    let config = Config::default();
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let promise = Promise::new(&chain, &config);
    let table = Table::new(&config.failsafe);
    let mut rows: Vec<_> = table.rows().copied().collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.action, row.cause)));
    let mut text = String::from(
        "# What the failsafe does\n\n\
         Written by `runtime/tests/failsafe.rs`, which walks the machine millisecond by millisecond under the default \
         configuration; `REWRITE_GOLDEN=1 cargo test --release -p reflexarc-runtime --test failsafe` writes it anew. The \
         design stands at the head of `runtime/src/failsafe/mod.rs`.\n\n\
         The strongest action of all causes decides; among equals the row that stands higher is named. *Gone after*: how \
         long a cause must be gone until nothing is left of it. *Latched* ends with: causes gone, `reset`, then a fresh \
         `enable`. *Override*: what an operator's `override` leaves of it. *At rest within*: from the moment that the loop \
         sees the cause, for those that make the arm stand.\n\n\
         | cause | when | what is done, after it has lasted for | gone after | override | at rest within |\n\
         |---|---|---|---|---|---|\n",
    );
    for row in rows {
        let cause = row.cause;
        let lasts = while_it_lasts(&config.failsafe, flags(only(cause)));
        let actions: Vec<String> = lasts.iter().map(|(ms, action)| format!("{action} {ms} ms")).collect();
        let gone = match forgotten_after(&config.failsafe, cause, lasts[0].0) {
            Some(ms) => format!("{ms} ms"),
            None => "latched".to_owned(),
        };
        let overridden = while_it_lasts(&config.failsafe, Flags { overridden: true, ..flags(only(cause)) });
        let overridden = match overridden == lasts {
            true => "–".to_owned(),
            false => overridden.last().map_or(Action::None, |(_, action)| *action).to_string(),
        };
        // What retracts moves on purpose.
        let within = match row.action {
            Action::None | Action::Warn | Action::Slow | Action::Retract => "–".to_owned(),
            Action::Hold | Action::ControlledStop | Action::TorqueOffRequest => {
                format!("{:.0} ms", promise.within_ns(&row) as f64 / 1e6)
            }
        };
        writeln!(
            text,
            "| `{cause}` | {} | {} | {gone} | {overridden} | {within} |",
            cause.condition(),
            actions.join(", ")
        )
        .unwrap();
        // The walk and the configured row say the same.
        let escalates = row.escalation.map(|to| (to.after_ns / MS, to.to));
        let expected: Vec<_> =
            [Some((row.delay_ns / MS, row.action)), escalates].into_iter().flatten().collect();
        assert_eq!(lasts, expected, "{cause}");
    }
    write!(
        text,
        "\n**Promised time of a stop**: {} ticks of 1/{} s, {:.0} ms. That is the slowest joint of the built-in arm from \
         its full speed to rest under {} rad/s² and {} rad/s³, the tick that names the stop included.\n",
        promise.stop_ticks,
        config.rates.reflex_hz,
        promise.stop_ns() as f64 / 1e6,
        config.limits.max_joint_acceleration_rad_s2,
        config.limits.max_joint_jerk_rad_s3,
    )
    .unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/failsafe.md");
    if std::env::var_os("REWRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{}", path.display());
}

#[test]
fn before_motion_nothing_but_an_order_stops() {
    for cause in Cause::ALL {
        let before = Flags { engaged: false, ..flags(only(cause)) };
        let strongest = while_it_lasts(&FailsafeConfig::default(), before).last().unwrap().1;
        assert_eq!(strongest.latches(), cause.is_order(), "{cause}");
    }
}

#[test]
fn a_stop_is_left_by_release_reset_and_a_fresh_enable_only() {
    for cause in Cause::ALL {
        let mut walk = Walk::new(&FailsafeConfig::default());
        let (mut latched, mut first) = (false, None);
        for _ in 0..WALK_MS {
            let (standing, transition) = walk.step(flags(only(cause)));
            latched = standing.action.latches();
            if let (true, Some(transition)) = (latched, transition) {
                first.get_or_insert(transition);
            }
        }
        if !latched {
            assert_eq!(walk.reset(CauseSet::EMPTY), Err(ResetRefused::NotStopped));
            continue;
        }
        let order = if cause.is_order() { only(cause) } else { CauseSet::EMPTY };
        assert_eq!(walk.reset(order), Err(ResetRefused::CauseLasts { cause }));
        // Neither time nor an enable leads out.
        walk.state = walk.state.enabled();
        for _ in 0..WALK_MS {
            let (standing, _) = walk.step(flags(CauseSet::EMPTY));
            assert_eq!((standing.action, standing.cause), (Action::ControlledStop, Some(cause)));
        }
        walk.reset(CauseSet::EMPTY).unwrap();
        let (standing, transition) = walk.step(flags(CauseSet::EMPTY));
        assert_eq!((standing.action, standing.cause), (Action::Hold, Some(Cause::NotEnabled)));
        assert_eq!(transition.unwrap().reason, Reason::Reset);
        assert_eq!(walk.step(flags(CauseSet::EMPTY)).0.cause, Some(Cause::NotEnabled));
        walk.state = walk.state.enabled();
        let (standing, transition) = walk.step(flags(CauseSet::EMPTY));
        assert_eq!((standing.action, standing.cause), (Action::None, None));
        assert_eq!(transition.unwrap().reason, Reason::Cleared);
        let row = walk.table.row(cause);
        let at_once = row.action.latches() && row.delay_ns == 0;
        let raised = if at_once { Reason::Raised } else { Reason::Escalated };
        assert_eq!(first.unwrap().reason, raised, "{cause}");
    }
}

#[test]
fn the_button_renames_a_stop_and_holds_off_its_reset() {
    let mut walk = Walk::new(&FailsafeConfig::default());
    walk.step(flags(only(Cause::EmergencyStopSilent)));
    let (standing, _) = walk.step(flags(only(Cause::EmergencyStop)));
    assert_eq!(standing.cause, Some(Cause::EmergencyStop));
    let refused = Err(ResetRefused::CauseLasts { cause: Cause::EmergencyStop });
    assert_eq!(walk.reset(only(Cause::EmergencyStop)), refused);
    // Released within this very tick.
    assert_eq!(walk.reset(CauseSet::EMPTY), Ok(()));
}

#[test]
fn the_drives_are_asked_to_let_go_only_where_configured_and_late() {
    let config = FailsafeConfig { torque_off_after_ms: 3_000, ..FailsafeConfig::default() };
    let changes = while_it_lasts(&config, flags(only(Cause::EmergencyStop)));
    assert_eq!(changes, [(0, Action::ControlledStop), (3_000, Action::TorqueOffRequest)]);
    // Latched: also when the button has been released long ago.
    let mut walk = Walk::new(&config);
    walk.step(flags(only(Cause::EmergencyStop)));
    for _ in 0..2_999 {
        assert_eq!(walk.step(flags(CauseSet::EMPTY)).0.action, Action::ControlledStop);
    }
    assert_eq!(walk.step(flags(CauseSet::EMPTY)).0.action, Action::TorqueOffRequest);
    walk.reset(CauseSet::EMPTY).unwrap();
    assert_eq!(walk.step(flags(CauseSet::EMPTY)).0.action, Action::Hold);
}

#[test]
fn never_means_never() {
    let config = FailsafeConfig {
        sense_stop_ms: 0,
        policy_stop_ms: 0,
        blocked_stop_ms: 0,
        pad_stop_ms: 0,
        ..FailsafeConfig::default()
    };
    for cause in [Cause::SenseLost, Cause::PolicyFailed, Cause::Blocked, Cause::PadForce] {
        assert_eq!(while_it_lasts(&config, flags(only(cause))).len(), 1, "{cause}");
    }
}

fn any_causes() -> impl Strategy<Value = CauseSet> {
    prop::collection::vec(0..Cause::COUNT, 0..5)
        .prop_map(|indices| indices.into_iter().map(|index| Cause::ALL[index]).collect())
}

fn any_config() -> impl Strategy<Value = FailsafeConfig> {
    (0..3_000u64, 0..300u64, 0..2_000u64, 0..3_000u64, 100..5_000u64, 0..2_000u64).prop_map(
        |(sense_stop_ms, clear_ms, optional_slow_ms, policy_stop_ms, mind_stall_ms, torque_off_after_ms)| {
            FailsafeConfig {
                sense_stop_ms,
                sense_clear_ms: clear_ms,
                clear_ms,
                pad_clear_ms: clear_ms,
                optional_slow_ms,
                policy_stop_ms,
                mind_stall_ms,
                torque_off_after_ms,
                ..FailsafeConfig::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two histories, the second with more causes in every tick: its action is never the weaker one.
    #[test]
    fn more_causes_never_make_the_action_weaker(
        config in any_config(),
        history in prop::collection::vec((any_causes(), any_causes(), any::<bool>(), any::<bool>(), 1..400u64), 1..40),
    ) {
        let table = Table::new(&config);
        let (mut few, mut more) = (State::default(), State::default());
        let mut now_ns = 1_000 * MS;
        for (causes, added, engaged, overridden, ms) in history {
            now_ns += ms * MS;
            few = few.step(&table, now_ns, Flags { causes, engaged, overridden }).0;
            more = more.step(&table, now_ns, Flags { causes: causes.union(added), engaged, overridden }).0;
            let (weak, strong) = (few.standing(), more.standing());
            prop_assert!(weak.action <= strong.action, "{weak:?} with {causes:?}, {strong:?} with {added:?} too");
        }
    }

    /// Whatever happens: out of a stop leads the sequence alone, and a cause that lasts is never done less about.
    #[test]
    fn a_latched_stop_is_never_left_without_the_sequence(
        config in any_config(),
        history in prop::collection::vec(
            (any_causes(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), 1..400u64),
            1..80,
        ),
    ) {
        let table = Table::new(&config);
        let mut state = State::default();
        let mut now_ns = 1_000 * MS;
        let (mut stopped, mut wants_enable) = (false, false);
        for (causes, engaged, overridden, reset, enable, ms) in history {
            now_ns += ms * MS;
            if enable {
                wants_enable &= stopped;
                state = state.enabled();
            }
            if reset {
                let orders = causes.iter().filter(|cause| cause.is_order()).collect();
                match state.reset(&table, now_ns, orders) {
                    Ok(next) => {
                        prop_assert!(stopped);
                        (stopped, wants_enable) = (false, true);
                        state = next;
                    }
                    Err(ResetRefused::NotStopped) => prop_assert!(!stopped),
                    Err(ResetRefused::CauseLasts { .. }) => prop_assert!(stopped),
                }
            }
            let (next, transition) = state.step(&table, now_ns, Flags { causes, engaged, overridden });
            let standing = next.standing();
            prop_assert!(!stopped || standing.action.latches(), "left a stop by itself: {standing:?}");
            prop_assert!(!wants_enable || !standing.action.follows(), "moves without a fresh enable: {standing:?}");
            prop_assert_eq!(standing.action == Action::None, standing.cause.is_none());
            if let Some(transition) = transition {
                prop_assert_eq!((transition.from, transition.to), (state.standing(), standing));
                prop_assert_eq!(transition.at_ns, now_ns);
            } else {
                prop_assert_eq!(standing, state.standing());
            }
            // The same state, time and flags give the same.
            prop_assert_eq!(state.step(&table, now_ns, Flags { causes, engaged, overridden }), (next, transition));
            stopped = next.latched().is_some();
            state = next;
        }
    }
}
