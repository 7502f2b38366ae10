//! Noisy top-k selection (Shazeer et al., arXiv 1701.06538).

use burn::tensor::{IndexingUpdateOp, Int, Tensor, activation::softmax};

/// Softmax over the k largest logits of each row, exact zeros elsewhere: `[B, N]` → `[B, N]`.
pub fn top_k_softmax(logits: Tensor<2>, k: usize) -> Tensor<2> {
    let [batch, n] = logits.dims();
    if k >= n {
        return softmax(logits, 1);
    }
    let (_, indices) = logits.clone().topk_with_indices(k, 1);
    let selected = softmax(logits.clone().gather(1, indices.clone()), 1);
    Tensor::zeros([batch, n], &logits.device()).scatter(1, indices, selected, IndexingUpdateOp::Add)
}

/// P(n is among the k largest if its own noise were drawn anew), appendix A of 1701.06538:
/// Φ((clean − threshold)/σ) against the largest of the others left out. All `[B, N]`; needs k < N.
pub(super) fn prob_in_top_k(
    clean: Tensor<2>,
    noisy: Tensor<2>,
    sigma: Tensor<2>,
    k: usize,
) -> Tensor<2> {
    let [batch, n] = noisy.dims();
    let (_, indices): (_, Tensor<2, Int>) = noisy.clone().topk_with_indices(k + 1, 1);
    let top = noisy.clone().gather(1, indices);
    let threshold_if_in = top.clone().narrow(1, k, 1);
    let threshold_if_out = top.narrow(1, k - 1, 1);
    let is_in = noisy.greater(threshold_if_in.clone().expand([batch, n]));
    let threshold = threshold_if_out
        .expand([batch, n])
        .mask_where(is_in, threshold_if_in.expand([batch, n]));
    normal_cdf((clean - threshold) / sigma)
}

/// Φ of the standard normal.
fn normal_cdf(x: Tensor<2>) -> Tensor<2> {
    (x * std::f64::consts::FRAC_1_SQRT_2).erf() * 0.5 + 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn selects_k_and_sums_to_one_even_when_all_tie() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[3.0, 1.0, 2.0, -5.0], [0.0, 0.0, 0.0, 0.0]], &device);
        let mask = top_k_softmax(logits, 2)
            .into_data()
            .try_into_vec::<f32>()
            .unwrap();
        assert_eq!((mask[1], mask[3]), (0.0, 0.0));
        assert!((mask[0] / mask[2] - 1f32.exp()).abs() < 1e-5);
        assert_eq!(mask[4..].iter().filter(|m| **m == 0.5).count(), 2);
    }

    #[test]
    fn probability_of_a_clear_winner_is_one() {
        let device = Device::flex();
        let clean = Tensor::<2>::from_data([[9.0, 1.0, 0.0]], &device);
        let sigma = Tensor::<2>::ones([1, 3], &device);
        let p = prob_in_top_k(clean.clone(), clean, sigma, 1)
            .into_data()
            .try_into_vec::<f32>()
            .unwrap();
        // Winner against the runner-up at 1; the others against the winner at 9.
        assert!(p[0] > 0.9999 && p[1] < 1e-4 && p[2] < 1e-4, "{p:?}");
    }
}
