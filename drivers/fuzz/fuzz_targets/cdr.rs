//! Arbitrary bytes as each message: an error, or a message that is the same after being written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reflexarc_drivers::msg::{
    BoolMsg, CompressedImage, DiagnosticArray, Float32MultiArray, Goal, Image, JointState, JointTrajectory,
    Message, StringMsg,
};

fn check<M: Message>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let written = message.encode();
        // Compared as bytes: NaN is not equal to itself.
        let again = M::decode(&written).expect("what was written can be read").encode();
        assert_eq!(written, again);
    }
}

fuzz_target!(|bytes: &[u8]| {
    check::<BoolMsg>(bytes);
    check::<StringMsg>(bytes);
    check::<JointState>(bytes);
    check::<JointTrajectory>(bytes);
    check::<Image>(bytes);
    check::<CompressedImage>(bytes);
    check::<Float32MultiArray>(bytes);
    check::<DiagnosticArray>(bytes);
    check::<Goal>(bytes);
});
