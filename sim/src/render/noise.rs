//! Imperfections of a camera's sensor.

use rand::Rng;

use super::renderer::Frame;

/// A sensor's colour cast and grain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SensorNoise {
    /// Factor per channel on the encoded values (white balance and exposure), around 1.
    pub gain_rgb: [f32; 3],
    /// Standard deviation of the grain, in steps of the 8-bit output; 1 to 6 is usual.
    pub sigma_counts: f32,
}

impl SensorNoise {
    /// Applies gain and grain in place. Draws one number from `rng`, whatever the size of the frame.
    pub fn apply(&self, frame: &mut Frame, rng: &mut impl Rng) {
        add_noise(frame, self.gain_rgb, self.sigma_counts, rng);
    }
}

/// Standard deviation of the sum of four independent bytes.
const BYTE_SUM_SIGMA: f32 = 147.799_2;

/// Multiplies each channel by its gain and adds nearly Gaussian grain of `sigma_counts` 8-bit steps (the sum of
/// four uniform bytes, so never beyond ±3.5 sigma). The image follows from the next number of `rng` alone.
pub fn add_noise(frame: &mut Frame, gain_rgb: [f32; 3], sigma_counts: f32, rng: &mut impl Rng) {
    let seed = rng.next_u64();
    let scale = sigma_counts / BYTE_SUM_SIGMA;
    for (index, pixel) in frame.rgb.chunks_exact_mut(3).enumerate() {
        // SplitMix64 (Steele, Lea, Flood 2014), once for two channels and once for the third.
        let mix = |counter: u64| {
            let state = seed.wrapping_add(counter.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            state ^ (state >> 31)
        };
        let (first, second) = (mix(2 * index as u64), mix(2 * index as u64 + 1));
        let words = [first as u32, (first >> 32) as u32, second as u32];
        for ((byte, word), gain) in pixel.iter_mut().zip(words).zip(gain_rgb) {
            let pairs = (word & 0x00ff_00ff) + ((word >> 8) & 0x00ff_00ff);
            let sum = (pairs & 0xffff) + (pairs >> 16);
            let value = f32::from(*byte) * gain + (sum as f32 - 510.0) * scale;
            *byte = (value + 0.5) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn grain_has_the_asked_spread_and_no_bias() {
        let mut frame = Frame { width: 64, height: 64, rgb: vec![128; 64 * 64 * 3], ..Frame::default() };
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        add_noise(&mut frame, [1.0; 3], 4.0, &mut rng);
        let count = frame.rgb.len() as f64;
        let mean = frame.rgb.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let variance = frame.rgb.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
        assert!((mean - 128.0).abs() < 0.2, "mean {mean}");
        assert!((variance.sqrt() - 4.0).abs() < 0.15, "sigma {}", variance.sqrt());
    }

    #[test]
    fn gain_without_grain_is_exact_and_saturates() {
        let mut frame = Frame { width: 1, height: 1, rgb: vec![100, 200, 50], ..Frame::default() };
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        add_noise(&mut frame, [1.1, 2.0, 1.0], 0.0, &mut rng);
        assert_eq!(frame.rgb, [110, 255, 50]);
    }
}
