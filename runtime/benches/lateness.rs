//! How late the reflex's way of waiting wakes: idle and beside busy processes, as an ordinary thread and under
//! FIFO, beside `cyclictest` (Debian's rt-tests) in the same run.
//!
//! ```text
//! cargo bench --workspace --bench lateness -- --cyclictest
//! ```
//!
//! Ours and cyclictest take turns of a second with the same period, priority and memory locking, so that
//! both see the same machine; the turns of each are added up. FIFO needs root, CAP_SYS_NICE or RLIMIT_RTPRIO.
#![allow(clippy::print_stdout, reason = "telling is the purpose of a benchmark")]

use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use reflexarc_runtime::config::RealtimeConfig;
use reflexarc_runtime::ledger::{Latency, LatencySummary};
use reflexarc_runtime::rt::{ProcessGrants, measure};

/// Largest lateness that cyclictest counts one by one, µs; the few beyond count as its largest.
const CYCLICTEST_LONGEST_US: u64 = 200_000;
/// How much later than cyclictest ours may wake under FIFO at p99.9.
const TARGET_RATIO: f64 = 2.0;

#[derive(Debug, Parser)]
#[command(about = "Wake lateness of the reflex's way of waiting, beside cyclictest")]
struct Arguments {
    /// Run cyclictest beside it.
    #[arg(long)]
    cyclictest: bool,
    /// Wakes per second.
    #[arg(long, default_value_t = 1000)]
    hz: u32,
    /// Length of one turn, s.
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// Turns of each.
    #[arg(long, default_value_t = 30)]
    turns: u64,
    /// FIFO priority.
    #[arg(long, default_value_t = 80)]
    priority: u8,
    /// Keep both on this CPU; without it, the kernel chooses.
    #[arg(long)]
    cpu: Option<usize>,
    /// Busy processes in the loaded part.
    #[arg(long, default_value_t = 3)]
    busy: u64,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be one of the busy processes.
    #[arg(long, hide = true)]
    spin: bool,
}

/// Processes that compute until this is dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn start(count: u64) -> Result<Self> {
        let mut busy = Self(Vec::new());
        for _ in 0..count {
            let mut command = Command::new(std::env::current_exe()?);
            busy.0.push(command.arg("--spin").stdin(Stdio::null()).spawn()?);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has ended already is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.spin {
        let mut state = 1_u64;
        loop {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    if arguments.hz == 0 || arguments.hz > 10_000 || arguments.seconds == 0 || arguments.turns == 0 {
        bail!("expected --hz from 1 to 10000, and --seconds and --turns above 0");
    }
    let begun = Instant::now();
    println!(
        "{} Hz, {} turns of {} s each, FIFO priority {}, CPU {}, {}",
        arguments.hz,
        arguments.turns,
        arguments.seconds,
        arguments.priority,
        arguments.cpu.map_or("any".to_owned(), |cpu| cpu.to_string()),
        kernel()
    );
    println!(
        "{:<28} {:>8} {:>9} {:>9} {:>9} {:>9} {:>8}",
        "lateness in µs", "wakes", "p50", "p99", "p99.9", "max", "skipped"
    );
    let mut verdicts = Vec::new();
    for fifo in [false, true] {
        for busy in [0, arguments.busy] {
            if let Some(verdict) = cell(&arguments, fifo, busy)? {
                verdicts.push(verdict);
            }
        }
    }
    let mut met = true;
    for (name, ratio) in &verdicts {
        let good = *ratio <= TARGET_RATIO;
        met &= good;
        println!(
            "{name}: p99.9 is {ratio:.2} times cyclictest's ({}, at most {TARGET_RATIO} times)",
            if good { "met" } else { "MISSED" }
        );
    }
    if verdicts.is_empty() {
        println!("no verdict: it takes --cyclictest, and FIFO granted");
    }
    println!("took {:.0} s", begun.elapsed().as_secs_f64());
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One combination: turns of ours and of cyclictest. The ratio of the two, under FIFO.
fn cell(arguments: &Arguments, fifo: bool, busy: u64) -> Result<Option<(String, f64)>> {
    let _busy = Busy::start(busy)?;
    let name =
        format!("{}, {}", if busy == 0 { "idle".into() } else { format!("{busy} busy") }, policy(fifo));
    let config = RealtimeConfig {
        fifo_priority: if fifo { arguments.priority } else { 0 },
        cpu: arguments.cpu,
        lock_memory: fifo,
        // As cyclictest does by itself.
        cpu_dma_latency_us: Some(0),
        ..RealtimeConfig::default()
    };
    let count = u64::from(arguments.hz) * arguments.seconds;
    let (mut ours, mut theirs) = (Latency::new(), Latency::new());
    let (mut skipped, mut refused) = (0, Vec::new());
    for _ in 0..arguments.turns {
        let held = ProcessGrants::ask(&config);
        let turn = measure(&config, arguments.hz, count)?;
        refused = turn.grants.iter().chain(&held.grants).filter(|grant| grant.refused()).cloned().collect();
        drop(held);
        ours.add(&turn.lateness);
        skipped += turn.skipped;
        if arguments.cyclictest {
            cyclictest(arguments, fifo, count, &mut theirs)?;
        }
    }
    row(&format!("{name}, ours"), &ours.summary(), &skipped.to_string());
    for grant in &refused {
        println!("    {grant}");
    }
    if !arguments.cyclictest {
        return Ok(None);
    }
    row(&format!("{name}, cyclictest"), &theirs.summary(), "-");
    let ratio = ours.summary().p999_us / theirs.summary().p999_us.max(1.0);
    // The latency file alone may be refused: then both run without.
    let scheduled = !refused.iter().any(|grant| grant.facility == reflexarc_runtime::rt::Facility::Fifo);
    Ok((fifo && scheduled).then_some((name, ratio)))
}

fn policy(fifo: bool) -> &'static str {
    if fifo { "FIFO" } else { "OTHER" }
}

fn row(name: &str, said: &LatencySummary, skipped: &str) {
    println!(
        "{name:<28} {:>8} {:>9.1} {:>9.1} {:>9.1} {:>9.0} {skipped:>8}",
        said.count, said.p50_us, said.p99_us, said.p999_us, said.max_us
    );
}

fn kernel() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let version = read("/proc/version");
    let kind = ["PREEMPT_RT", "PREEMPT_DYNAMIC", "PREEMPT"].into_iter().find(|kind| version.contains(kind));
    format!("Linux {} {}", read("/proc/sys/kernel/osrelease"), kind.unwrap_or("without kernel preemption"))
}

/// One turn of cyclictest, added to `into`.
fn cyclictest(arguments: &Arguments, fifo: bool, count: u64, into: &mut Latency) -> Result<()> {
    let mut command = Command::new("cyclictest");
    command.args(["-q", "-t", "1"]);
    command.arg(format!("--interval={}", 1_000_000 / arguments.hz));
    command.arg(format!("--loops={count}"));
    command.arg(format!("--histogram={CYCLICTEST_LONGEST_US}"));
    if let Some(cpu) = arguments.cpu {
        command.arg(format!("--affinity={cpu}"));
    }
    if fifo {
        command.args(["--mlockall", "--policy=fifo"]);
        command.arg(format!("--priority={}", arguments.priority));
    } else {
        command.arg("--policy=other");
    }
    let output = command.output().context("cannot run cyclictest: apt-get install rt-tests")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("cyclictest failed: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
    let before = into.summary().count;
    let number = |key: &str| -> Option<u64> {
        said.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
    };
    for line in said.lines() {
        let mut words = line.split_whitespace().map(str::parse::<u64>);
        if let (Some(Ok(us)), Some(Ok(times)), None) = (words.next(), words.next(), words.next()) {
            // Whole microseconds, rounded down: the middle of each is nearer.
            if times > 0 {
                into.record_many_ns(us * 1000 + 500, times);
            }
        }
    }
    let beyond = number("# Histogram Overflows:").unwrap_or(0);
    if beyond > 0 {
        into.record_many_ns(number("# Max Latencies:").unwrap_or(0) * 1000, beyond);
    }
    let added = into.summary().count - before;
    if added + 10 < count {
        bail!("cyclictest's histogram holds {added} wakes, expected about {count}");
    }
    Ok(())
}
