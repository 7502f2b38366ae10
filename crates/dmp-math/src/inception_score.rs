//! Inception score (Salimans et al. 1606.03498): exp E KL(p(y|x) ‖ p(y)).

use crate::features::{Features, FeaturesError};
use crate::kernel_distance::Estimate;

/// Mean and standard deviation over `splits` contiguous parts of the rows, of a classifier's `logits`
/// `[n, classes]`. The references shuffle the rows first.
///
/// # Errors
/// When there are fewer rows than splits, or no splits.
pub fn inception_score(logits: Features<'_>, splits: usize) -> Result<Estimate, FeaturesError> {
    let n = logits.len();
    if splits == 0 || n < splits {
        return Err(FeaturesError::TooFew {
            rows: n,
            what: "the Inception score",
            least: splits.max(1),
            or: "",
        });
    }
    let scores: Vec<f64> = (0..splits)
        .map(|split| score(logits, split * n / splits..(split + 1) * n / splits))
        .collect();
    Ok(Estimate::of(&scores))
}

fn score(logits: Features<'_>, rows: std::ops::Range<usize>) -> f64 {
    let count = rows.len() as f64;
    let log_probabilities: Vec<Vec<f64>> = rows.map(|row| log_softmax(logits.row(row))).collect();
    let mut marginal = vec![0.0; logits.dim()];
    for row in &log_probabilities {
        marginal
            .iter_mut()
            .zip(row)
            .for_each(|(sum, log_p)| *sum += log_p.exp() / count);
    }
    let divergence: f64 = log_probabilities
        .iter()
        .flat_map(|row| row.iter().zip(&marginal))
        .filter(|(log_p, _)| log_p.exp() > 0.0)
        .map(|(log_p, marginal)| log_p.exp() * (log_p - marginal.ln()))
        .sum();
    (divergence / count).exp()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits
        .iter()
        .fold(f64::NEG_INFINITY, |max, &x| max.max(f64::from(x)));
    let total: f64 = logits.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
    let log_total = total.ln() + largest;
    logits.iter().map(|&x| f64::from(x) - log_total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sure of each of four classes in turn: the score is the number of classes. Always the same answer: 1.
    #[test]
    fn from_one_to_the_number_of_classes() {
        let sure: Vec<f32> = (0..80)
            .flat_map(|row| (0..4).map(move |class| if class == row % 4 { 200.0 } else { 0.0 }))
            .collect();
        let found = inception_score(Features::new(&sure, 4).unwrap(), 10).unwrap();
        assert!(
            (found.mean - 4.0).abs() < 1e-9 && found.std < 1e-9,
            "{found:?}"
        );
        let same: Vec<f32> = (0..80).flat_map(|_| [1.0, 0.0, -2.0, 5.0]).collect();
        let found = inception_score(Features::new(&same, 4).unwrap(), 10).unwrap();
        assert!((found.mean - 1.0).abs() < 1e-9, "{found:?}");
    }
}
