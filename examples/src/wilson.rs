//! Wilson's score interval for a share (Wilson 1927), 95 %.

/// Lower and upper bound for `successes` of `trials`; (0, 1) for no trials.
#[must_use]
pub fn interval(successes: usize, trials: usize) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let z = 1.959_963_984_540_054_f64;
    let n = trials as f64;
    let p = successes as f64 / n;
    let centre = p + z * z / (2.0 * n);
    let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn matches_published_values() {
        // statsmodels.stats.proportion.proportion_confint(190, 200, method="wilson")
        let (low, high) = interval(190, 200);
        assert!((low - 0.910_426).abs() < 1e-5 && (high - 0.972_617).abs() < 1e-5, "{low} {high}");
        assert_eq!(interval(0, 0), (0.0, 1.0));
        assert!(interval(0, 50).0.abs() < 1e-12);
    }
}
