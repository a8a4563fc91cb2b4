//! Decisions as lines of text, for the runtime's benchmark, which must not know the simulator.

use std::fmt::Write as _;

use reflexarc_vla_model::token::format_tokens;

use super::stream::Heard;

/// One line a decision: where the tool is (m), the opening (m) and what is felt (N), then the tokens. An empty
/// line stands between episodes.
pub fn write<'a>(episodes: impl Iterator<Item = &'a Heard>) -> String {
    let mut text = String::new();
    for heard in episodes {
        for said in &heard.said {
            let [x, y, z] = said.facts.tool_m;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{x:.5} {y:.5} {z:.5} {:.5} {:.3} {}",
                said.facts.gripper_width_m,
                said.facts.felt_n,
                format_tokens(&said.decision.tokens)
            );
        }
        text.push('\n');
    }
    text
}
