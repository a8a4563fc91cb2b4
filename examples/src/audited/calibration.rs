//! What clean episodes say of everything that the audit has a bound for.

use std::collections::BTreeMap;

use reflexarc_runtime::Config;
use reflexarc_runtime::audit::view::SceneCamera;
use reflexarc_vla_model::decision::{Subtask, Verdict};

use super::stream::Heard;

/// Prints quantiles by subtask, and which subtask followed which how often.
#[allow(clippy::print_stdout, reason = "this is what it is for")]
pub fn print<'a>(episodes: impl Iterator<Item = &'a Heard>, config: &Config) {
    let camera = SceneCamera::new(config);
    let mut measures: BTreeMap<(&'static str, &'static str), Vec<f64>> = BTreeMap::new();
    let mut follows: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
    for heard in episodes {
        let mut before: Option<(Subtask, [f64; 3])> = None;
        for said in &heard.said {
            let Verdict::Act { subtask, target, pixel_uv, .. } = &said.decision.verdict else {
                continue;
            };
            let (from, to) = (said.facts.tool_m, target.position_m);
            let aside_m = (to[0] - from[0]).hypot(to[1] - from[1]);
            let mut note = |name: &'static str, value: f64| {
                measures.entry((name, subtask.as_str())).or_default().push(value)
            };
            note("target height, m", to[2]);
            note("tool height, m", from[2]);
            note("aside, m", aside_m);
            if from[2].min(to[2]) < config.audit.clear_height_m {
                note("aside when low, m", aside_m);
            }
            note("off, m", aside_m.hypot(to[2] - from[2]));
            note("sinks, m", from[2] - to[2]);
            note("told opening, m", target.gripper_width_m);
            note("opening, m", said.facts.gripper_width_m);
            note("told force, N", target.gripper_force_n);
            note("felt, N", said.facts.felt_n);
            let apart = camera.apart(*subtask, to, config.audit.table_z_m, *pixel_uv);
            note("seen apart, share of the image", f64::from(apart));
            match before {
                Some((last, at)) if last == *subtask => {
                    note("jump, m", (0..3).map(|i| (to[i] - at[i]).powi(2)).sum::<f64>().sqrt());
                }
                _ => {
                    let last = before.map_or("start", |(last, _)| last.as_str());
                    *follows.entry((last.to_owned(), subtask.as_str())).or_default() += 1;
                }
            }
            before = Some((*subtask, to));
        }
    }
    println!(
        "  measure                          subtask      count      0   0.1 %     50 %  99.9 %    100 %"
    );
    for ((name, subtask), mut values) in measures {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        println!(
            "  {name:<32} {subtask:<10} {:>7} {:>7.3} {:>7.3} {:>8.3} {:>7.3} {:>8.3}",
            values.len(),
            at(0.0),
            at(0.001),
            at(0.5),
            at(0.999),
            at(1.0)
        );
    }
    println!("  changes of subtask: {follows:?}");
}
