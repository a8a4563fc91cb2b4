//! What faults do to the bytes of one message.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::msg::{Float32MultiArray, Goal, JointState, JointTrajectory, Message, Time};

/// Where a header's stamp stands in a payload: after the four bytes that say how the rest is written.
const STAMP: std::ops::Range<usize> = 4..12;

/// Whether messages of this definition begin with a header.
pub(super) fn has_header(schema: &str) -> bool {
    schema.starts_with("std_msgs/Header header\n")
}

/// Moves the header's stamp by `shift_ns`, where there is one. Says whether it did.
pub(super) fn shift_stamp(schema: &str, payload: &mut [u8], shift_ns: i64) -> bool {
    let Some((sec, nanosec)) =
        payload.get_mut(STAMP).filter(|_| has_header(schema)).and_then(<[u8]>::split_first_chunk_mut::<4>)
    else {
        return false;
    };
    let Some(nanosec) = nanosec.first_chunk_mut::<4>() else { return false };
    let stamp = Time { sec: i32::from_le_bytes(*sec), nanosec: u32::from_le_bytes(*nanosec) };
    let moved = Time::from_ns(stamp.as_ns().saturating_add_signed(shift_ns));
    *sec = moved.sec.to_le_bytes();
    *nanosec = moved.nanosec.to_le_bytes();
    true
}

/// Gives `payload` the stamp of `fresh`, where there is one.
pub(super) fn restamp(schema: &str, payload: &mut [u8], fresh: &[u8]) {
    if let (true, Some(to), Some(from)) = (has_header(schema), payload.get_mut(STAMP), fresh.get(STAMP)) {
        to.copy_from_slice(from);
    }
}

/// Flips one to eight bits.
pub(super) fn flip_bits(rng: &mut ChaCha8Rng, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..rng.random_range(1..=8) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
    }
}

/// Cuts at least one byte off the end.
pub(super) fn truncate(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    if !bytes.is_empty() {
        bytes.truncate(rng.random_range(0..bytes.len()));
    }
}

/// The message with a NaN or an infinity in it; none for types without numbers that may be one, and for
/// bytes that are no message.
pub(super) fn not_finite(rng: &mut ChaCha8Rng, type_name: &str, payload: &[u8]) -> Option<Vec<u8>> {
    match type_name {
        JointState::TYPE_NAME => spoil(rng, payload, |state: &mut JointState, at, value| {
            set(&mut state.position, at, value);
        }),
        JointTrajectory::TYPE_NAME => spoil(rng, payload, |trajectory: &mut JointTrajectory, at, value| {
            if let Some(point) = trajectory.points.first_mut() {
                set(&mut point.positions, at, value);
            }
        }),
        Float32MultiArray::TYPE_NAME => spoil(rng, payload, |array: &mut Float32MultiArray, at, value| {
            set(&mut array.data, at, value as f32);
        }),
        Goal::TYPE_NAME => spoil(rng, payload, |goal: &mut Goal, at, value| {
            set(&mut goal.target_position_m, at, value);
        }),
        _ => None,
    }
}

fn spoil<M: Message>(
    rng: &mut ChaCha8Rng,
    payload: &[u8],
    put: impl FnOnce(&mut M, usize, f64),
) -> Option<Vec<u8>> {
    let mut message = M::decode(payload).ok()?;
    let value = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][rng.random_range(0..3)];
    put(&mut message, rng.random_range(0..1 << 16), value);
    Some(message.encode())
}

fn set<T>(values: &mut [T], at: usize, value: T) {
    if let Some(place) = at.checked_rem(values.len()).and_then(|at| values.get_mut(at)) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::msg::{BoolMsg, Header, Image};
    use rand::SeedableRng;

    #[test]
    fn stamps_move_only_where_there_are_any() {
        let image = Image::rgb8(Header::new(5_000_000_007, "scene"), 1, 1, vec![1, 2, 3]).unwrap();
        let mut payload = image.encode();
        assert!(shift_stamp(Image::SCHEMA, &mut payload, -2_000_000_008));
        let moved = Image::decode(&payload).unwrap();
        assert_eq!(moved.header.stamp_ns(), 2_999_999_999);
        assert_eq!(moved.data, image.data);
        assert!(shift_stamp(Image::SCHEMA, &mut payload, i64::MIN));
        assert_eq!(Image::decode(&payload).unwrap().header.stamp_ns(), 0);
        restamp(Image::SCHEMA, &mut payload, &image.encode());
        assert_eq!(payload, image.encode());
        let mut flag = BoolMsg::new(true).encode();
        assert!(!shift_stamp(BoolMsg::SCHEMA, &mut flag, 1));
        assert!(!shift_stamp(Image::SCHEMA, &mut [0; 7], 1));
        assert_eq!(flag, BoolMsg::new(true).encode());
    }

    #[test]
    fn numbers_are_spoilt_one_at_a_time() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let state = JointState { position: vec![1.0; 7], ..JointState::default() };
        for _ in 0..50 {
            let spoilt = not_finite(&mut rng, JointState::TYPE_NAME, &state.encode()).unwrap();
            let spoilt = JointState::decode(&spoilt).unwrap();
            assert_eq!(spoilt.position.iter().filter(|q| !q.is_finite()).count(), 1);
        }
        assert!(not_finite(&mut rng, BoolMsg::TYPE_NAME, &BoolMsg::new(true).encode()).is_none());
        assert!(not_finite(&mut rng, JointState::TYPE_NAME, &[1, 2]).is_none());
        // Nothing to spoil, nothing to panic about.
        assert!(not_finite(&mut rng, JointState::TYPE_NAME, &JointState::default().encode()).is_some());
        flip_bits(&mut rng, &mut []);
        truncate(&mut rng, &mut Vec::new());
    }
}
