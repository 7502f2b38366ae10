//! Products with frozen weights in bf16, packed once for the whole run; what they are multiplied with is rounded to bf16
//! on the way, sums are f32.
//!
//! With AVX-512-BF16 one instruction multiplies and adds 32 pairs, twice as many as in f32, and a weight takes half the
//! memory to read. Elsewhere the same arithmetic is done in f32, for the same numbers and not for speed.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod panels;
mod portable;

use std::cell::RefCell;

use gemm::Parallelism;
use rayon::prelude::*;

use panels::Panels;

#[cfg(target_arch = "x86_64")]
use crate::profile::Kernel;

/// The frozen weight of a linear map, `[inputs, outputs]`, packed for both directions.
#[derive(Debug, Clone)]
pub struct FrozenWeight {
    forward: Panels,
    backward: Panels,
}

impl FrozenWeight {
    /// From row-major values `[inputs, outputs]`, rounded to the nearest bf16.
    ///
    /// # Panics
    /// When there are not as many values: a bug of the caller, never of a user.
    pub fn new(values: &[f32], inputs: usize, outputs: usize) -> Self {
        assert_eq!(values.len(), inputs * outputs, "weight");
        Self {
            forward: Panels::pack(inputs, outputs, |i, o| values[i * outputs + o]),
            backward: Panels::pack(outputs, inputs, |o, i| values[i * outputs + o]),
        }
    }

    /// `[inputs, outputs]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.forward.inner(), self.forward.columns()]
    }

    /// Calls `see` with the packed pairs of each direction.
    pub fn pairs(&self, mut see: impl FnMut(&[u32])) {
        for panels in [&self.forward, &self.backward] {
            panels.iter().for_each(|(_, _, pairs)| see(pairs));
        }
    }

    /// `out` `[rows, outputs]` ← `input` `[rows, inputs]` · weight.
    pub fn forward(&self, input: &[f32], out: &mut [f32], threads: Parallelism) {
        product(input, &self.forward, out, threads);
    }

    /// `out` `[rows, inputs]` ← `gradient` `[rows, outputs]` · weightᵀ.
    pub fn backward(&self, gradient: &[f32], out: &mut [f32], threads: Parallelism) {
        product(gradient, &self.backward, out, threads);
    }
}

/// On other processors the portable tile has a clock of its own.
#[cfg(target_arch = "x86_64")]
static GEMM: Kernel = Kernel::new("gemm bf16");

/// `out` `[rows, columns]` ← `a` `[rows, inner]` · `b`.
fn product(a: &[f32], b: &Panels, out: &mut [f32], threads: Parallelism) {
    let (inner, columns) = (b.inner(), b.columns());
    if inner == 0 || columns == 0 {
        out.fill(0.0);
        return;
    }
    let rows = out.len() / columns;
    assert_eq!(a.len(), rows * inner, "left factor");
    assert_eq!(out.len(), rows * columns, "product");
    let workers = match threads {
        Parallelism::None => 1,
        Parallelism::Rayon(0) => rayon::current_num_threads(),
        Parallelism::Rayon(count) => count,
    };
    let share = rows.div_ceil(workers).max(1);
    if workers == 1 {
        rounded(a, b, out);
    } else {
        a.par_chunks(share * inner)
            .zip(out.par_chunks_mut(share * columns))
            .for_each(|(a, out)| rounded(a, b, out));
    }
}

/// [`product`] on one thread.
fn rounded(a: &[f32], b: &Panels, out: &mut [f32]) {
    thread_local! {
        static ROUNDED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    }
    ROUNDED.with_borrow_mut(|pairs| {
        let stride = b.pairs();
        let rows = a.len() / b.inner();
        pairs.resize(rows * stride, 0);
        for (row, pairs) in a
            .chunks_exact(b.inner())
            .zip(pairs.chunks_exact_mut(stride))
        {
            panels::round_row(row, pairs);
        }
        #[cfg(target_arch = "x86_64")]
        if avx512::available() {
            // SAFETY: the processor has the instructions.
            GEMM.time(1, || unsafe { avx512::product(pairs, b, out) });
            return;
        }
        portable::product(pairs, b, out);
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::panels::round;
    use super::*;

    /// The value of a bf16.
    fn widen(x: u16) -> f32 {
        f32::from_bits(u32::from(x) << 16)
    }

    /// Values of both signs that no bf16 holds exactly.
    fn values(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// In f64, of the rounded factors.
    fn expected(
        a: &[f32],
        weight: impl Fn(usize, usize) -> f32,
        [rows, inner, columns]: [usize; 3],
    ) -> Vec<f64> {
        let exact = |x: f32| f64::from(widen(round(x)));
        let element = |r: usize, c: usize| {
            (0..inner)
                .map(|k| exact(a[r * inner + k]) * exact(weight(k, c)))
                .sum()
        };
        (0..rows)
            .flat_map(|r| (0..columns).map(move |c| (r, c)))
            .map(|(r, c)| element(r, c))
            .collect()
    }

    fn close(got: &[f32], want: &[f64], inner: usize) -> Result<(), TestCaseError> {
        prop_assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            // f32 sums of so many products of magnitude one or less.
            prop_assert!(
                (f64::from(*got) - want).abs() < 1e-6 * inner as f64,
                "{} and {}",
                got,
                want
            );
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn both_directions_are_the_rounded_product(rows in 1usize..20, inputs in 1usize..90, outputs in 1usize..150, seed: u32) {
            let weight = values(seed, inputs * outputs);
            let frozen = FrozenWeight::new(&weight, inputs, outputs);
            prop_assert_eq!(frozen.shape(), [inputs, outputs]);
            for threads in [Parallelism::None, Parallelism::Rayon(3)] {
                let input = values(seed ^ 1, rows * inputs);
                let mut out = vec![f32::NAN; rows * outputs];
                frozen.forward(&input, &mut out, threads);
                let want = expected(&input, |i, o| weight[i * outputs + o], [rows, inputs, outputs]);
                close(&out, &want, inputs)?;

                let gradient = values(seed ^ 2, rows * outputs);
                let mut out = vec![f32::NAN; rows * inputs];
                frozen.backward(&gradient, &mut out, threads);
                let want = expected(&gradient, |o, i| weight[i * outputs + o], [rows, outputs, inputs]);
                close(&out, &want, outputs)?;
            }
        }

        #[test]
        fn the_portable_product_is_the_same(rows in 1usize..14, inner in 1usize..40, columns in 1usize..150, seed: u32) {
            let (a, weight) = (values(seed, rows * inner), values(seed ^ 3, inner * columns));
            let b = Panels::pack(inner, columns, |k, c| weight[k * columns + c]);
            let mut pairs = vec![0; rows * b.pairs()];
            for (row, pairs) in a.chunks_exact(inner).zip(pairs.chunks_exact_mut(b.pairs())) {
                panels::round_row(row, pairs);
            }
            let mut out = vec![f32::NAN; rows * columns];
            portable::product(&pairs, &b, &mut out);
            let want = expected(&a, |k, c| weight[k * columns + c], [rows, inner, columns]);
            close(&out, &want, inner)?;
        }
    }

    #[test]
    fn rounds_to_nearest_even_and_keeps_what_is_no_number() {
        let bits = |x: u32| round(f32::from_bits(x));
        assert_eq!(bits(0x3f80_0000), 0x3f80);
        // Half way: to the even one, up and down.
        assert_eq!((bits(0x3f80_8000), bits(0x3f81_8000)), (0x3f80, 0x3f82));
        assert_eq!((bits(0x3f80_8001), bits(0x3f80_7fff)), (0x3f81, 0x3f80));
        assert_eq!(round(f32::NEG_INFINITY), 0xff80);
        assert!(widen(round(f32::NAN)).is_nan() && widen(bits(0x7f80_0001)).is_nan());
        assert_eq!(panels::PANEL % 16, 0);
    }
}
