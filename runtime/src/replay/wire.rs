//! What went out on the link, beside what goes out this time: the last step between a command and the motor.

use std::collections::BTreeMap;

/// Bytes before a header's frame: encapsulation, seconds, nanoseconds.
const STAMPED_BYTES: usize = 12;

/// Where a message stands: its topic, and the encapsulation and stamp at its beginning.
type Key = (String, [u8; STAMPED_BYTES]);

/// Pairs messages by topic and stamp and compares their bytes. Holds only those whose other side has not
/// come yet.
#[derive(Default)]
pub(super) struct Wire {
    recorded: BTreeMap<Key, Vec<u8>>,
    replayed: BTreeMap<Key, Vec<u8>>,
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
        match other.remove(&key) {
            None => drop(own.insert(key, bytes.to_vec())),
            Some(theirs) if theirs == bytes => self.same += 1,
            Some(theirs) => {
                let at = theirs.iter().zip(bytes).position(|(a, b)| a != b);
                let at = at.unwrap_or(theirs.len().min(bytes.len()));
                self.differ += 1;
                self.first.get_or_insert_with(|| format!("a message on {topic} differs from byte {at} on"));
            }
        }
    }

    /// Messages with the same bytes, messages that differ, and what is said about the first of those.
    pub(super) fn result(&self) -> (u64, u64, Option<String>) {
        (self.same, self.differ, self.first.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_pair_by_topic_and_stamp_in_any_order() {
        let message =
            |stamp: u8, rest: u8| [&[0, 1, 0, 0, stamp, 0, 0, 0, 0, 0, 0, 0][..], &[rest, rest]].concat();
        let mut wire = Wire::default();
        wire.recorded("/a", &message(1, 7));
        wire.recorded("/a", &message(2, 7));
        wire.replayed("/a", &message(2, 7));
        wire.replayed("/b", &message(1, 7));
        wire.replayed("/a", &message(1, 8));
        wire.recorded("/b", &[1, 2]);
        assert_eq!(wire.result(), (1, 1, Some("a message on /a differs from byte 12 on".into())));
    }
}
