//! What a goal policy says: the plan, the current subtask and where the tool should be.
//!
//! Everything here is in robot-independent terms (a colour, an object, a tool pose in the base
//! frame). Which joints get there is the business of whoever consumes the decision.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::token::Token;

/// A text that names no member of a closed set of words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` names no {kind}; expected one of: {expected}")]
pub struct UnknownWord {
    /// What was looked for, such as `colour`.
    pub kind: &'static str,
    /// The text that was given.
    pub found: String,
    /// The words that would have been accepted, separated by commas.
    pub expected: String,
}

/// Defines a closed enum whose members each have one lower-case text.
macro_rules! worded_enum {
    ($(#[$meta:meta])* $name:ident, $kind:literal { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// Every member, in the order of [`Self::index`].
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Position in [`Self::ALL`]; stable, because tokens are numbered by it.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }

            /// Lower-case text, as people read it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            /// Reads [`Self::as_str`] back; `_` may stand for a space, case does not matter.
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                let wanted = text.trim().to_ascii_lowercase().replace('_', " ");
                Self::ALL.iter().copied().find(|item| item.as_str() == wanted).ok_or_else(|| UnknownWord {
                    kind: $kind,
                    found: text.chars().take(40).collect(),
                    expected: Self::ALL.iter().map(|item| item.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

worded_enum! {
    /// A colour that the goal model can name.
    Color, "colour" {
        /// Red.
        Red = "red",
        /// Green.
        Green = "green",
        /// Blue.
        Blue = "blue",
        /// Yellow.
        Yellow = "yellow",
        /// Orange.
        Orange = "orange",
        /// Purple.
        Purple = "purple",
        /// White.
        White = "white",
        /// Black.
        Black = "black",
    }
}

worded_enum! {
    /// A kind of object that the goal model can name.
    Object, "object" {
        /// A mug with a handle.
        Mug = "mug",
        /// A cube.
        Cube = "cube",
        /// An open bowl.
        Bowl = "bowl",
    }
}

worded_enum! {
    /// The part of a pick that the model is busy with, as judged from the latest observation.
    Subtask, "subtask" {
        /// Move to a point above the object.
        Reach = "reach",
        /// Descend onto the object with the gripper open.
        Approach = "approach",
        /// Close the gripper on the object.
        Grasp = "grasp",
        /// Raise the held object.
        Lift = "lift",
        /// Open and back away from a failed or lost grasp.
        Retreat = "retreat",
        /// The object is up; hold still.
        Done = "done",
    }
}

worded_enum! {
    /// Why an instruction cannot be carried out. The robot says it and does not move.
    Infeasible, "reason" {
        /// The instruction asks for something other than picking an object up.
        UnknownAction = "unknown action",
        /// The instruction names an object that the model does not know.
        UnknownObject = "unknown object",
        /// The instruction does not say which object is meant.
        Unclear = "unclear",
        /// The instruction is understood, but no such object can be seen.
        Absent = "absent",
        /// The cameras show nothing to decide on.
        Blind = "blind",
    }
}

/// One step of the decomposed instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Lift one object off the table and hold it.
    Pick {
        /// Colour of the object.
        color: Color,
        /// Kind of the object.
        object: Object,
    },
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pick { color, object } => write!(f, "pick({color} {object})"),
        }
    }
}

/// Where the tool should be and what the gripper should do, for a grasp from straight above.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolTarget {
    /// Origin of the tool frame in the base frame, metres (x forward, y left, z up; table at 0).
    #[serde(with = "crate::exact")]
    pub position_m: [f64; 3],
    /// Turn about the vertical, radians, modulo π: `base_from_tool = Rz(yaw) · Rx(π)`.
    /// At 0 the fingers open along the base's y axis.
    #[serde(with = "crate::exact")]
    pub yaw_rad: f64,
    /// Opening between the fingers, metres.
    #[serde(with = "crate::exact")]
    pub gripper_width_m: f64,
    /// Closing force, newtons.
    #[serde(with = "crate::exact")]
    pub gripper_force_n: f64,
}

/// The meaning of one complete token sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The instruction can be carried out, and this is what to do now.
    Act {
        /// The instruction decomposed, current goal first. Never empty when it comes from
        /// [`parse`](crate::grammar::parse).
        plan: Vec<Goal>,
        /// The part of the current goal that the model is at.
        subtask: Subtask,
        /// Where the tool should be.
        target: ToolTarget,
        /// Centre of the target object in the scene image, as fractions of width and height
        /// (0..1, origin at the top left).
        #[serde(with = "crate::exact")]
        pixel_uv: [f32; 2],
    },
    /// The instruction cannot be carried out; nothing may move.
    Infeasible(Infeasible),
}

/// One answer of a policy, tied to the observation that it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The token sequence as decoded; obeys the grammar.
    pub tokens: Vec<Token>,
    /// What the tokens mean.
    pub verdict: Verdict,
    /// How sure the model is, 0..=1: the weakest choice in the sequence
    /// (see [`Decoded::confidence`](crate::grammar::Decoded::confidence)).
    #[serde(with = "crate::exact")]
    pub confidence: f32,
    /// Time of the observation that this answers, nanoseconds on the caller's clock.
    pub observation_ns: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for color in Color::ALL {
            assert_eq!(color.to_string().parse::<Color>().unwrap(), *color);
        }
        for reason in Infeasible::ALL {
            assert_eq!(reason.to_string().replace(' ', "_").parse::<Infeasible>().unwrap(), *reason);
        }
        assert_eq!(" Mug ".parse::<Object>().unwrap(), Object::Mug);
    }

    #[test]
    fn an_unknown_word_is_named_together_with_what_was_expected() {
        let error = "teapot".parse::<Object>().unwrap_err();
        assert_eq!(error.to_string(), "`teapot` names no object; expected one of: mug, cube, bowl");
    }

    #[test]
    fn goals_read_as_calls() {
        let goal = Goal::Pick { color: Color::Red, object: Object::Mug };
        assert_eq!(goal.to_string(), "pick(red mug)");
    }
}
