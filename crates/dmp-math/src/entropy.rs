//! Entropy of a gate's mask: whether a gate selects or mixes.

/// −Σ m·ln m / ln N of a mask that sums to one: 1 when uniform, 0 when a single entry is 1.
/// A mask of one entry counts as uniform.
pub fn normalised_entropy(mask: &[f32]) -> f64 {
    if mask.len() < 2 {
        return 1.0;
    }
    let entropy: f64 = mask
        .iter()
        .map(|&m| f64::from(m))
        .filter(|m| *m > 0.0)
        .map(|m| -m * m.ln())
        .sum();
    entropy / (mask.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_is_one_and_a_choice_is_zero() {
        assert!((normalised_entropy(&[0.25; 4]) - 1.0).abs() < 1e-12);
        assert_eq!(normalised_entropy(&[0.0, 1.0, 0.0]), 0.0);
        assert!((normalised_entropy(&[0.5, 0.5, 0.0, 0.0]) - 0.5).abs() < 1e-12);
        assert_eq!(normalised_entropy(&[1.0]), 1.0);
    }
}
