//! What went out on the link, beside what goes out this time: the last step between a command and the motor.

use std::collections::{BTreeMap, VecDeque};

/// Bytes before a header's frame: encapsulation, seconds, nanoseconds.
const STAMPED_BYTES: usize = 12;

/// Messages by topic and by the encapsulation and stamp at their beginning, each in the order of sending.
type Waiting = BTreeMap<(String, [u8; STAMPED_BYTES]), VecDeque<Vec<u8>>>;

/// Pairs messages by topic and stamp and compares their bytes. Holds only those whose other side has not
/// come yet.
#[derive(Default)]
pub(super) struct Wire {
    recorded: Waiting,
    replayed: Waiting,
    same: u64,
    differ: u64,
    first: Option<String>,
}

impl Wire {
    pub(super) fn recorded(&mut self, topic: &str, bytes: &[u8]) {
        self.pair(topic, bytes, true);
    }

    pub(super) fn replayed(&mut self, topic: &str, bytes: &[u8]) {
        self.pair(topic, bytes, false);
    }

    fn pair(&mut self, topic: &str, bytes: &[u8], is_recorded: bool) {
        let Some(stamp) = bytes.first_chunk() else { return };
        let key = (topic.to_owned(), *stamp);
        let (own, other) = if is_recorded {
            (&mut self.recorded, &mut self.replayed)
        } else {
            (&mut self.replayed, &mut self.recorded)
        };
        let theirs = other.get_mut(&key).and_then(VecDeque::pop_front);
        if theirs.is_some() && other.get(&key).is_some_and(VecDeque::is_empty) {
            other.remove(&key);
        }
        match theirs {
            None => own.entry(key).or_default().push_back(bytes.to_vec()),
            Some(theirs) if theirs == bytes => self.same += 1,
            Some(theirs) => {
                let at = theirs.iter().zip(bytes).position(|(a, b)| a != b);
                let at = at.unwrap_or(theirs.len().min(bytes.len()));
                self.differ += 1;
                self.first.get_or_insert_with(|| format!("a message on {topic} differs from byte {at} on"));
            }
        }
    }

    /// Messages with the same bytes, messages that differ or were only sent then, and what is said about the
    /// first of those. Ticks were replayed up to `ticks_ns`, thoughts up to `thoughts_ns`; what was sent
    /// later is not looked at.
    ///
    /// A message that is sent only now is no difference: the recorded loop drops commands rather than wait.
    pub(super) fn result(&self, ticks_ns: u64, thoughts_ns: u64) -> (u64, u64, Option<String>) {
        let (mut differ, mut first) = (self.differ, self.first.clone());
        for ((topic, head), messages) in &self.recorded {
            let until_ns = if topic.ends_with("/joint_command") { ticks_ns } else { thoughts_ns };
            let stamp_ns = stamp_ns(head);
            // Chunks have the stamp of their observation, which may lie before what was replayed.
            if stamp_ns <= until_ns && !topic.ends_with("/action_chunk") {
                differ += messages.len() as u64;
                first.get_or_insert_with(|| {
                    format!("a message on {topic}, stamp {stamp_ns}, is not sent now")
                });
            }
        }
        (self.same, differ, first)
    }
}

fn stamp_ns(head: &[u8; STAMPED_BYTES]) -> u64 {
    let word =
        |at: usize| u64::from(u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    word(4) * 1_000_000_000 + word(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(stamp: u8, rest: u8) -> Vec<u8> {
        [&[0, 1, 0, 0, 0, 0, 0, 0, stamp, 0, 0, 0][..], &[rest, rest]].concat()
    }

    #[test]
    fn messages_pair_by_topic_and_stamp_in_any_order() {
        let mut wire = Wire::default();
        wire.recorded("/a", &message(1, 7));
        wire.recorded("/a", &message(2, 7));
        wire.replayed("/a", &message(2, 7));
        wire.replayed("/b", &message(1, 7));
        wire.replayed("/a", &message(1, 8));
        wire.recorded("/b", &[1, 2]);
        assert_eq!(wire.result(9, 9), (1, 1, Some("a message on /a differs from byte 12 on".into())));
    }

    #[test]
    fn a_message_that_is_missing_now_is_a_difference_as_far_as_was_replayed() {
        let mut wire = Wire::default();
        wire.recorded("/joint_command", &message(5, 1));
        wire.recorded("/goal", &message(5, 1));
        wire.replayed("/joint_command", &message(6, 1));
        assert_eq!(wire.result(4, 4), (0, 0, None));
        assert_eq!(wire.result(5, 4).1, 1);
        assert_eq!(wire.result(4, 5).1, 1);
    }
}
