//! Temporal ensembling: every prediction of a moment has a say in it (ACT, arXiv 2304.13705, algorithm 2).

/// The running weighted mean of all chunks that still cover a moment.
///
/// The action of moment `t` is `Σ wⱼ aⱼ / Σ wⱼ` over its predictions `aⱼ` in the order in which they were
/// made, the oldest first, with `wⱼ = exp(-coefficient · j)`. Each mean is kept with `r = Σ wᵢ / wⱼ`, its
/// sum of weights relative to the newest; `r ← r · exp(coefficient) + 1` and `mean ← mean + (a - mean) / r`
/// give the same numbers as the sums, and no coefficient makes them overflow.
#[derive(Clone, Debug)]
pub struct Ensemble {
    /// `exp(coefficient)`: weight of a prediction over that of the next.
    growth: f64,
    width: usize,
    /// `horizon × width` means; the first action is for the moment of the last update.
    means: Vec<f64>,
    /// `horizon` sums of weights relative to the newest weight; zero where nothing was predicted yet.
    sums: Vec<f64>,
}

impl Ensemble {
    /// For chunks of `horizon` actions of `width` values. Zero weighs all predictions alike, a positive
    /// coefficient favours old ones, a negative one new ones.
    #[must_use]
    pub fn new(coefficient: f64, horizon: usize, width: usize) -> Self {
        Self {
            growth: coefficient.exp().min(f64::MAX),
            width,
            means: vec![0.0; horizon * width],
            sums: vec![0.0; horizon],
        }
    }

    /// Forgets every prediction: a new episode.
    pub fn reset(&mut self) {
        self.means.fill(0.0);
        self.sums.fill(0.0);
    }

    /// Takes in a chunk, `horizon × width` values, predicted `steps` actions after the one before, and
    /// gives the means from its first action on, `horizon × width` values.
    pub fn update(&mut self, steps: usize, chunk: &[f32]) -> Vec<f32> {
        assert_eq!(chunk.len(), self.means.len());
        let gone = steps.min(self.sums.len());
        self.sums.rotate_left(gone);
        self.means.rotate_left(gone * self.width);
        let kept = self.sums.len() - gone;
        self.sums[kept..].fill(0.0);
        self.means[kept * self.width..].fill(0.0);

        let actions = chunk.chunks_exact(self.width).zip(self.means.chunks_exact_mut(self.width));
        for (sum, (action, means)) in self.sums.iter_mut().zip(actions) {
            *sum = *sum * self.growth + 1.0;
            for (mean, value) in means.iter_mut().zip(action) {
                *mean += (f64::from(*value) - *mean) / *sum;
            }
        }
        self.means.iter().map(|mean| *mean as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    /// What each update gives first, by the definition: `(moment, chunk)` in the order of prediction.
    fn by_definition(coefficient: f64, width: usize, predictions: &[(usize, Vec<f32>)]) -> Vec<Vec<f64>> {
        let latest = |at: usize| {
            let (now, _) = predictions[at];
            let covering = predictions[..=at]
                .iter()
                .filter_map(|(made, chunk)| chunk.chunks_exact(width).nth(now - made));
            let mut sums = vec![0.0; width];
            let mut total = 0.0;
            for (age, action) in covering.enumerate() {
                let weight = (-coefficient * age as f64).exp();
                total += weight;
                sums.iter_mut().zip(action).for_each(|(sum, a)| *sum += weight * f64::from(*a));
            }
            sums.iter().map(|sum| sum / total).collect()
        };
        (0..predictions.len()).map(latest).collect()
    }

    #[test]
    fn the_running_form_equals_the_definition() {
        let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
        let cases = (1_usize..6, 1_usize..4, -2.0_f64..2.0).prop_flat_map(|(horizon, width, coefficient)| {
            let chunk = prop::collection::vec(-3.0_f32..3.0, horizon * width);
            let updates = prop::collection::vec((0_usize..8, chunk), 1..20);
            (Just(horizon), Just(width), Just(coefficient), updates)
        });
        runner
            .run(&cases, |(horizon, width, coefficient, updates)| {
                let mut ensemble = Ensemble::new(coefficient, horizon, width);
                let (mut now, mut predictions, mut firsts) = (0, Vec::new(), Vec::new());
                for (steps, chunk) in updates {
                    now += steps;
                    firsts.push(ensemble.update(steps, &chunk)[..width].to_vec());
                    predictions.push((now, chunk));
                }
                let expected = by_definition(coefficient, width, &predictions);
                for (actual, expected) in firsts.concat().iter().zip(expected.concat()) {
                    prop_assert!((f64::from(*actual) - expected).abs() < 1e-6, "{actual} {expected}");
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn extreme_coefficients_pick_the_oldest_or_the_newest() {
        for (coefficient, expected) in [(-1e300, 3.0), (1e300, 1.0)] {
            let mut ensemble = Ensemble::new(coefficient, 4, 1);
            let first: Vec<f32> =
                [1.0, 2.0, 3.0].iter().map(|value| ensemble.update(1, &[*value; 4])[0]).collect();
            assert_eq!(first[2], expected);
        }
    }

    #[test]
    fn a_reset_forgets() {
        let mut ensemble = Ensemble::new(0.01, 3, 1);
        ensemble.update(1, &[5.0, 5.0, 5.0]);
        ensemble.reset();
        assert_eq!(ensemble.update(0, &[1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]);
    }
}
