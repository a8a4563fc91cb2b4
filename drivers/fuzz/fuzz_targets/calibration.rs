//! Arbitrary bytes as LeRobot's calibration: an error, or figures whose scales go there and back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reflexarc_drivers::arm::Calibration;
use reflexarc_drivers::arm::calibration::Scale;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Calibration::from_json(text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(calibration) => {
            for (_, joint) in calibration.joints() {
                let middle = (joint.range_min + joint.range_max) / 2;
                for scale in [Scale::Degrees, Scale::RangeM100To100, Scale::Range0To100] {
                    for steps in [joint.range_min, middle, joint.range_max] {
                        let back = joint.unnormalise(scale, joint.normalise(scale, steps)).unwrap();
                        assert!((back - steps).abs() <= 1, "{scale:?}: {steps} became {back}");
                    }
                }
            }
        }
    }
});
