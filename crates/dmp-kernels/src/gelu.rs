//! GELU in its tanh form, ½x(1 + tanh(√(2/π)(x + 0.044715x³))) = x·σ(2√(2/π)(x + 0.044715x³)), and its
//! derivative.

use crate::simd::sigmoid;
use crate::vectorised;

const TWO_SQRT_2_OVER_PI: f32 = 2.0 * 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// σ(2√(2/π)(x + 0.044715x³)).
#[inline(always)]
fn share(x: f32) -> f32 {
    sigmoid(TWO_SQRT_2_OVER_PI * x * (CUBIC * x).mul_add(x, 1.0))
}

/// The derivative at `x`, of which `s` is the [`share`]. It is 0 below −20 and 1 above 20, where the powers of x, unbounded,
/// would make something else of it.
#[inline(always)]
fn slope(x: f32, s: f32) -> f32 {
    let x = if x < -20.0 { -20.0 } else { x };
    let x = if x > 20.0 { 20.0 } else { x };
    let inner = TWO_SQRT_2_OVER_PI * (3.0 * CUBIC * x).mul_add(x, 1.0);
    (x * s * (1.0 - s)).mul_add(inner, s)
}

vectorised! {
    /// `pre ← pre + bias` (bias repeated for each row), `out ← gelu(pre)`.
    pub fn bias_gelu(pre: &mut [f32], bias: &[f32], out: &mut [f32]) {
        for (pre, out) in pre.chunks_exact_mut(bias.len()).zip(out.chunks_exact_mut(bias.len())) {
            for ((x, b), y) in pre.iter_mut().zip(bias).zip(out) {
                *x += b;
                *y = *x * share(*x);
            }
        }
    }
}

vectorised! {
    /// `gradient ← gradient · gelu'(pre)`.
    pub fn gelu_backward(pre: &[f32], gradient: &mut [f32]) {
        for (&x, g) in pre.iter().zip(gradient) {
            let s = share(x);
            *g *= slope(x, s);
        }
    }
}

vectorised! {
    /// [`gelu_backward`], and `out ← gelu(pre)` on the way.
    pub fn gelu_with_backward(pre: &[f32], out: &mut [f32], gradient: &mut [f32]) {
        for ((&x, y), g) in pre.iter().zip(out).zip(gradient) {
            let s = share(x);
            *y = x * s;
            *g *= slope(x, s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_from_zero_the_derivative_is_0_or_1() {
        for (x, wanted) in [(30.0, 1.0), (1e15, 1.0), (3e38, 1.0), (f32::INFINITY, 1.0)] {
            let mut gradient = [1.0, 1.0];
            gelu_backward(&[x, -x], &mut gradient);
            assert_eq!(gradient[0], wanted, "at {x}");
            assert!(gradient[1].abs() < 1e-30, "at -{x}: {}", gradient[1]);
        }
        let mut gradient = [1.0];
        gelu_backward(&[f32::NAN], &mut gradient);
        assert!(gradient[0].is_nan());
    }

    #[test]
    fn derivative_matches_differences() {
        let xs: Vec<f32> = (-60..=60).map(|i| i as f32 / 10.0).collect();
        let mut gradient = vec![1.0; xs.len()];
        gelu_backward(&xs, &mut gradient);
        let value = |x: f32| {
            let x = f64::from(x);
            0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)).tanh())
        };
        for (&x, g) in xs.iter().zip(gradient) {
            let difference =
                (value(x + 1e-3) - value(x - 1e-3)) / (f64::from(x + 1e-3) - f64::from(x - 1e-3));
            assert!(
                (f64::from(g) - difference).abs() < 1e-4,
                "at {x}: {g} and {difference}"
            );
            let (mut again, mut out) = ([1.0], [0.0]);
            gelu_with_backward(&[x], &mut out, &mut again);
            assert!((again[0] - g).abs() < 1e-6 && (f64::from(out[0]) - value(x)).abs() < 1e-6);
            let (mut pre, mut out) = ([x - 0.5], [0.0]);
            bias_gelu(&mut pre, &[0.5], &mut out);
            assert!((f64::from(out[0]) - value(pre[0])).abs() < 1e-6);
        }
    }
}
