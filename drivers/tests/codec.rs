//! Properties of the codec: what is written is read again, and no bytes whatever make it panic.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::collection::vec;
use proptest::prelude::*;
use reflexarc_drivers::msg::{
    BoolMsg, CompressedImage, DiagnosticArray, DiagnosticStatus, Dimension, Duration, Float32MultiArray,
    Goal, Header, Image, JointState, JointTrajectory, JointTrajectoryPoint, KeyValue, Layout, StringMsg,
    Time,
};
use reflexarc_drivers::topic::Topic;
use reflexarc_drivers::{Attachment, Bus, Clock, Link, Message};

/// Any message of the type.
trait Any: Message + std::fmt::Debug {
    fn any() -> BoxedStrategy<Self>;
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..9).prop_map(String::from_iter)
}

fn header() -> impl Strategy<Value = Header> {
    (any::<i32>(), any::<u32>(), text())
        .prop_map(|(sec, nanosec, frame_id)| Header { stamp: Time { sec, nanosec }, frame_id })
}

fn f64s() -> impl Strategy<Value = Vec<f64>> {
    // Every bit pattern, NaN and infinity included.
    vec(any::<u64>().prop_map(f64::from_bits), 0..9)
}

fn f32s() -> impl Strategy<Value = Vec<f32>> {
    vec(any::<u32>().prop_map(f32::from_bits), 0..20)
}

impl Any for StringMsg {
    fn any() -> BoxedStrategy<Self> {
        text().prop_map(|data| Self { data }).boxed()
    }
}

impl Any for BoolMsg {
    fn any() -> BoxedStrategy<Self> {
        any::<bool>().prop_map(|data| Self { data }).boxed()
    }
}

impl Any for Header {
    fn any() -> BoxedStrategy<Self> {
        header().boxed()
    }
}

impl Any for Float32MultiArray {
    fn any() -> BoxedStrategy<Self> {
        let dim = (text(), any::<u32>(), any::<u32>()).prop_map(|(label, size, stride)| Dimension {
            label,
            size,
            stride,
        });
        (vec(dim, 0..4), any::<u32>(), f32s())
            .prop_map(|(dim, data_offset, data)| Self { layout: Layout { dim, data_offset }, data })
            .boxed()
    }
}

impl Any for Image {
    fn any() -> BoxedStrategy<Self> {
        (header(), any::<[u32; 3]>(), text(), any::<u8>(), vec(any::<u8>(), 0..99))
            .prop_map(|(header, [height, width, step], encoding, is_bigendian, data)| Self {
                header,
                height,
                width,
                encoding,
                is_bigendian,
                step,
                data,
            })
            .boxed()
    }
}

impl Any for CompressedImage {
    fn any() -> BoxedStrategy<Self> {
        (header(), text(), vec(any::<u8>(), 0..99))
            .prop_map(|(header, format, data)| Self { header, format, data })
            .boxed()
    }
}

impl Any for JointState {
    fn any() -> BoxedStrategy<Self> {
        (header(), vec(text(), 0..9), f64s(), f64s(), f64s())
            .prop_map(|(header, name, position, velocity, effort)| Self {
                header,
                name,
                position,
                velocity,
                effort,
            })
            .boxed()
    }
}

impl Any for JointTrajectoryPoint {
    fn any() -> BoxedStrategy<Self> {
        (f64s(), f64s(), f64s(), f64s(), any::<i32>(), any::<u32>())
            .prop_map(|(positions, velocities, accelerations, effort, sec, nanosec)| Self {
                positions,
                velocities,
                accelerations,
                effort,
                time_from_start: Duration { sec, nanosec },
            })
            .boxed()
    }
}

impl Any for JointTrajectory {
    fn any() -> BoxedStrategy<Self> {
        (header(), vec(text(), 0..9), vec(JointTrajectoryPoint::any(), 0..4))
            .prop_map(|(header, joint_names, points)| Self { header, joint_names, points })
            .boxed()
    }
}

impl Any for KeyValue {
    fn any() -> BoxedStrategy<Self> {
        (text(), text()).prop_map(|(key, value)| Self { key, value }).boxed()
    }
}

impl Any for DiagnosticStatus {
    fn any() -> BoxedStrategy<Self> {
        (any::<u8>(), text(), text(), text(), vec(KeyValue::any(), 0..4))
            .prop_map(|(level, name, message, hardware_id, values)| Self {
                level,
                name,
                message,
                hardware_id,
                values,
            })
            .boxed()
    }
}

impl Any for DiagnosticArray {
    fn any() -> BoxedStrategy<Self> {
        (header(), vec(DiagnosticStatus::any(), 0..4))
            .prop_map(|(header, status)| Self { header, status })
            .boxed()
    }
}

impl Any for Goal {
    fn any() -> BoxedStrategy<Self> {
        let words = (text(), vec(text(), 0..3), text(), vec(text(), 0..9), text());
        (header(), words, any::<[u64; 9]>(), any::<[u32; 3]>(), any::<u64>(), any::<i64>())
            .prop_map(|(header, words, doubles, floats, decision, observation_stamp_ns)| {
                let [x, y, z, qx, qy, qz, qw, gripper_width_m, gripper_force_n] = doubles.map(f64::from_bits);
                let [pixel_u, pixel_v, confidence] = floats.map(f32::from_bits);
                let (instruction, plan, subtask, tokens, infeasible_reason) = words;
                Self {
                    header,
                    instruction,
                    plan,
                    subtask,
                    tokens,
                    infeasible_reason,
                    target_position_m: [x, y, z],
                    target_orientation_xyzw: [qx, qy, qz, qw],
                    gripper_width_m,
                    gripper_force_n,
                    pixel_u,
                    pixel_v,
                    confidence,
                    decision,
                    observation_stamp_ns,
                }
            })
            .boxed()
    }
}

/// Bytes are compared, so that NaN equals itself.
fn read_again<M: Any>(message: &M) -> Result<(), TestCaseError> {
    let payload = message.encode();
    let read = M::decode(&payload);
    prop_assert!(read.is_ok(), "{:?}", read.err());
    let mut again = vec![1, 2, 3];
    read.unwrap().encode_into(&mut again);
    prop_assert_eq!(again, payload);
    Ok(())
}

/// Hands bytes to a subscription: it takes them or counts them, and says why.
fn offered<M: Any>(payload: &[u8]) -> Result<(), TestCaseError> {
    let link = Link::in_process(&Bus::new(), Clock::manual(0));
    let topic = Topic::<M>::new("any");
    let subscription = link.subscribe(&topic).unwrap();
    let attachment = Attachment { sequence: 1, source_ns: 0, gid: [0; 16] }.encode();
    link.inject(&topic, payload, Some(&attachment)).unwrap();
    let readable = M::decode(payload);
    let stats = subscription.stats();
    prop_assert_eq!(stats.received, u64::from(readable.is_ok()));
    prop_assert_eq!(stats.malformed, u64::from(readable.is_err()));
    prop_assert_eq!(subscription.last_error().is_some(), readable.is_err());
    Ok(())
}

/// A well-formed payload with some bytes changed, or cut short: closer to the readable than noise is.
fn damaged<M: Any>() -> impl Strategy<Value = Vec<u8>> {
    (M::any(), vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), any::<prop::sample::Index>()).prop_map(
        |(message, changes, cut)| {
            let mut payload = message.encode();
            for (index, byte) in changes {
                let at = index.index(payload.len());
                payload[at] = byte;
            }
            // One in two is cut.
            let keep = cut.index(payload.len() * 2);
            payload.truncate(keep.max(1));
            payload
        },
    )
}

macro_rules! properties {
    ($($name:ident: $message:ty),* $(,)?) => {
        $(mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(128))]

                #[test]
                fn is_read_again(message in <$message>::any()) {
                    read_again(&message)?;
                }

                #[test]
                fn noise_is_counted(body in vec(any::<u8>(), 0..200), header in any::<bool>()) {
                    let payload = if header { [&[0, 1, 0, 0][..], &body].concat() } else { body };
                    offered::<$message>(&payload)?;
                }

                #[test]
                fn damage_is_counted(payload in damaged::<$message>()) {
                    offered::<$message>(&payload)?;
                }
            }
        })*
    };
}

properties! {
    string: StringMsg,
    boolean: BoolMsg,
    stamped: Header,
    float32_multi_array: Float32MultiArray,
    image: Image,
    compressed_image: CompressedImage,
    joint_state: JointState,
    joint_trajectory_point: JointTrajectoryPoint,
    joint_trajectory: JointTrajectory,
    key_value: KeyValue,
    diagnostic_status: DiagnosticStatus,
    diagnostic_array: DiagnosticArray,
    goal: Goal,
}

proptest! {
    #[test]
    fn any_attachment_is_read_or_refused(bytes in vec(any::<u8>(), 0..40)) {
        if let Ok(attachment) = Attachment::decode(Some(&bytes)) {
            prop_assert_eq!(&attachment.encode()[..], &bytes[..]);
        }
    }
}
