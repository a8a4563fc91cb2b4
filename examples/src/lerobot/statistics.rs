//! What a trainer normalises with: the statistics of each feature over all frames.

use serde_json::{Value, json};

/// Quantiles that LeRobot stores, by name.
const QUANTILES: [(&str, f64); 5] =
    [("q01", 0.01), ("q10", 0.10), ("q50", 0.50), ("q90", 0.90), ("q99", 0.99)];

/// Statistics of a feature that is a list of numbers.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    /// The values of each element over the frames.
    elements: Vec<Vec<f64>>,
}

impl Numbers {
    /// Takes one frame.
    pub fn push(&mut self, values: impl IntoIterator<Item = f64>) {
        for (i, value) in values.into_iter().enumerate() {
            if i == self.elements.len() {
                self.elements.push(Vec::new());
            }
            self.elements[i].push(value);
        }
    }

    /// The entry of `stats.json`: lists with one number per element. The standard deviation is that of the
    /// frames themselves, and quantiles lie between two values, linearly.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let sorted: Vec<Vec<f64>> = self
            .elements
            .iter()
            .map(|values| {
                let mut values = values.clone();
                values.sort_by(f64::total_cmp);
                values
            })
            .collect();
        let each = |of: &dyn Fn(&[f64]) -> f64| -> Value { sorted.iter().map(|v| of(v)).collect() };
        let mut entry = json!({
            "min": each(&|v| v.first().copied().unwrap_or(0.0)),
            "max": each(&|v| v.last().copied().unwrap_or(0.0)),
            "mean": each(&mean),
            "std": each(&|v| deviation(v, mean(v))),
            "count": [sorted.first().map_or(0, Vec::len)],
        });
        for (name, share) in QUANTILES {
            entry[name] = each(&|v| {
                let place = share * (v.len().saturating_sub(1)) as f64;
                let low = v.get(place as usize).copied().unwrap_or(0.0);
                let high = v.get(place as usize + 1).copied().unwrap_or(low);
                low + (high - low) * place.fract()
            });
        }
        entry
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn deviation(values: &[f64], mean: f64) -> f64 {
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// Statistics of a camera: how often each channel had each of its 256 values, over every pixel of every
/// frame.
#[derive(Debug, Clone)]
pub struct Pixels {
    counts: Box<[[u64; 256]; 3]>,
    frames: u64,
}

impl Default for Pixels {
    fn default() -> Self {
        Self { counts: Box::new([[0; 256]; 3]), frames: 0 }
    }
}

impl Pixels {
    /// Takes one image, rgb8.
    pub fn push(&mut self, rgb: &[u8]) {
        for pixel in rgb.chunks_exact(3) {
            for (counts, value) in self.counts.iter_mut().zip(pixel) {
                counts[usize::from(*value)] += 1;
            }
        }
        self.frames += 1;
    }

    /// The entry of `stats.json`: values in 0..1, shaped `[3, 1, 1]`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let each = |of: &dyn Fn(&[u64; 256]) -> f64| -> Value {
            self.counts.iter().map(|counts| json!([[of(counts)]])).collect()
        };
        let moment = |counts: &[u64; 256], of: &dyn Fn(f64) -> f64| -> f64 {
            let total = counts.iter().sum::<u64>().max(1) as f64;
            counts.iter().enumerate().map(|(v, n)| of(v as f64 / 255.0) * *n as f64).sum::<f64>() / total
        };
        // The smallest value that at least this share of the pixels does not exceed.
        let quantile = |counts: &[u64; 256], share: f64| -> f64 {
            let wanted = share * counts.iter().sum::<u64>() as f64;
            let mut seen = 0;
            let place = counts.iter().position(|n| {
                seen += n;
                seen as f64 >= wanted && seen > 0
            });
            place.unwrap_or(0) as f64 / 255.0
        };
        let mut entry = json!({
            "min": each(&|counts| quantile(counts, 0.0)),
            "max": each(&|counts| quantile(counts, 1.0)),
            "mean": each(&|counts| moment(counts, &|v| v)),
            "std": each(&|counts| {
                let mean = moment(counts, &|v| v);
                moment(counts, &|v| (v - mean).powi(2)).sqrt()
            }),
            "count": [self.frames],
        });
        for (name, share) in QUANTILES {
            entry[name] = each(&|counts| quantile(counts, share));
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_numpy() {
        let mut numbers = Numbers::default();
        for i in 0..11 {
            numbers.push([f64::from(i), -2.0 * f64::from(i)]);
        }
        let entry = numbers.to_json();
        assert_eq!(entry["min"], json!([0.0, -20.0]));
        assert_eq!(entry["mean"], json!([5.0, -10.0]));
        // np.std(range(11)), np.quantile(range(11), 0.99)
        assert_eq!(entry["std"][0], json!(3.162_277_660_168_379_5));
        assert!((entry["q99"][0].as_f64().unwrap_or(0.0) - 9.9).abs() < 1e-12);
        assert_eq!((&entry["q50"][1], &entry["count"]), (&json!(-10.0), &json!([11])));
    }

    #[test]
    fn pixels_are_nested_and_in_the_unit_range() {
        let mut pixels = Pixels::default();
        pixels.push(&[0, 51, 255, 255, 51, 255]);
        let entry = pixels.to_json();
        assert_eq!(entry["mean"], json!([[[0.5]], [[0.2]], [[1.0]]]));
        assert_eq!(entry["std"], json!([[[0.5]], [[0.0]], [[0.0]]]));
        assert_eq!(entry["min"], json!([[[0.0]], [[0.2]], [[1.0]]]));
        assert_eq!(entry["max"], json!([[[1.0]], [[0.2]], [[1.0]]]));
        assert_eq!(entry["count"], json!([1]));
    }
}
