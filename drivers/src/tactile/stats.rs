//! What a tactile node counts.

use crate::msg::DiagnosticStatus;

/// Counters of a tactile node, since its start.
///
/// Each frame becomes one thing: `frames = published + skipped_older + too_old + without_zero +
/// publish_errors`, but for one that waits while the port is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TactileStats {
    /// Frames believed.
    pub frames: u64,
    /// Frames published.
    pub published: u64,
    /// Frames not published because a newer one was there.
    pub skipped_older: u64,
    /// Frames that took longer than `max_age_ms` from their first byte on.
    pub too_old: u64,
    /// Frames from which the zero was taken, or for which there was none.
    pub without_zero: u64,
    /// Frames that the link refused.
    pub publish_errors: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes that belong to no frame.
    pub discarded_bytes: u64,
    /// Times that a frame did not begin where the last one ended.
    pub resyncs: u64,
    /// Frames with a wrong checksum (taxels).
    pub crc_errors: u64,
    /// Frames refused for a value that is not finite or not possible.
    pub implausible: u64,
    /// Frames missing between the numbers of two (taxels).
    pub sequence_gaps: u64,
    /// Frames refused because they had the number of the one before (taxels).
    pub repeated: u64,
    /// Frames of another shape than the configured one (taxels).
    pub wrong_shape: u64,
    /// Reads and openings that failed.
    pub device_errors: u64,
    /// Times that the port was opened anew.
    pub reopened: u64,
    /// Times that the zero was taken anew because the pad was not quiet.
    pub baseline_retries: u64,
}

impl TactileStats {
    /// Each counter by its name, for reports.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 17] {
        [
            ("frames", self.frames),
            ("published", self.published),
            ("skipped_older", self.skipped_older),
            ("too_old", self.too_old),
            ("without_zero", self.without_zero),
            ("publish_errors", self.publish_errors),
            ("bytes", self.bytes),
            ("discarded_bytes", self.discarded_bytes),
            ("resyncs", self.resyncs),
            ("crc_errors", self.crc_errors),
            ("implausible", self.implausible),
            ("sequence_gaps", self.sequence_gaps),
            ("repeated", self.repeated),
            ("wrong_shape", self.wrong_shape),
            ("device_errors", self.device_errors),
            ("reopened", self.reopened),
            ("baseline_retries", self.baseline_retries),
        ]
    }

    pub(super) fn report(&self, status: DiagnosticStatus) -> DiagnosticStatus {
        self.named().into_iter().fold(status, |status, (name, count)| status.with(name, count))
    }
}
