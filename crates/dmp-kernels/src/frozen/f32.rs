//! Products with frozen weights in f32, with AVX-512.
//!
//! One copy of a weight serves both directions: the forward product reads its panels as they lie, the backward one
//! transposes a block of them at a time, which is little work beside the rows it is multiplied with.

use std::cell::RefCell;
use std::ops::Range;

use super::Direction;
use crate::amx::{self, Ahead, Line, SIDE, available, columns, lines, transposed};
use crate::avx512::{Left, Out, PANEL, Right, pack, panels, product};
use crate::profile::Kernel;
use crate::simd::{Level, level};

/// Values of a row that are summed before the next columns' turn: so deep a block of a panel, and of some hundred rows,
/// stays in the second cache.
const DEPTH: usize = 256;

/// A weight `[inputs, outputs]`: panels of [`PANEL`] outputs, in a panel the inputs' rows one after the other; missing
/// outputs are zeros.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    inputs: usize,
    outputs: usize,
    values: Vec<f32>,
}

static GEMM: Kernel = Kernel::new("gemm f32, frozen");

impl Panels {
    /// From row-major values.
    ///
    /// # Panics
    /// Where the CPU lacks AVX-512, which every product of panels relies on: a bug of the caller, never of a user.
    pub(super) fn pack(values: &[f32], inputs: usize, outputs: usize) -> Self {
        assert_eq!(level(), Level::Avx512, "panels are for AVX-512");
        let mut packed = Vec::with_capacity(inputs * outputs.next_multiple_of(PANEL));
        for first in (0..outputs).step_by(PANEL) {
            for row in values.chunks_exact(outputs) {
                let columns = &row[first..outputs.min(first + PANEL)];
                packed.extend_from_slice(columns);
                packed.resize(packed.len() + PANEL - columns.len(), 0.0);
            }
        }
        Self {
            inputs,
            outputs,
            values: packed,
        }
    }

    /// Everything that is held.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// `out` ← `a` · weight, or by its transpose.
    pub(super) fn product(&self, direction: Direction, a: &[f32], out: &mut [f32]) {
        thread_local! {
            static TRANSPOSED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
        }
        let [inputs, outputs] = [self.inputs, self.outputs];
        // SAFETY: `pack` has seen that the CPU has AVX-512.
        GEMM.time(1, || unsafe {
            match direction {
                Direction::Forward if available() => {
                    amx::product(a, &Forward(self), [inputs, outputs], out)
                }
                Direction::Backward if available() => {
                    amx::product(a, &Backward(self), [outputs, inputs], out)
                }
                Direction::Forward => self.forward_avx512(a, out),
                Direction::Backward => TRANSPOSED.with_borrow_mut(|block| {
                    block.resize(panels(PANEL, DEPTH), 0.0);
                    self.backward_avx512(a, out, block);
                }),
            }
        });
    }

    #[target_feature(enable = "avx512f")]
    fn forward_avx512(&self, a: &[f32], out: &mut [f32]) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let rows = a.len() / inputs;
        for deep in (0..inputs).step_by(DEPTH) {
            let depth = DEPTH.min(inputs - deep);
            for (first, panel) in self.panels() {
                product(
                    [rows, depth, PANEL.min(outputs - first)],
                    Left::rows(&a[deep..], inputs),
                    Right::rows(&panel[deep * PANEL..], PANEL),
                    Out::new(&mut out[first..], outputs, deep > 0),
                );
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn backward_avx512(&self, a: &[f32], out: &mut [f32], block: &mut [f32]) {
        const { assert!(DEPTH.is_multiple_of(PANEL)) };
        let (inputs, outputs) = (self.inputs, self.outputs);
        let rows = a.len() / outputs;
        for deep in (0..outputs).step_by(DEPTH) {
            let depth = DEPTH.min(outputs - deep);
            for first in (0..inputs).step_by(PANEL) {
                let columns = PANEL.min(inputs - first);
                let blocks = block.chunks_exact_mut(PANEL * PANEL);
                let panels = self.panels().skip(deep / PANEL);
                for (block, (output, panel)) in blocks.zip(panels) {
                    let width = PANEL.min(outputs - output);
                    pack(&panel[first * PANEL..], PANEL, columns, width, block);
                }
                product(
                    [rows, depth, columns],
                    Left::rows(&a[deep..], outputs),
                    Right::rows(block, PANEL),
                    Out::new(&mut out[first..], inputs, deep > 0),
                );
            }
        }
    }

    /// Each panel and the first of its outputs.
    fn panels(&self) -> impl Iterator<Item = (usize, &[f32])> {
        (0..self.outputs)
            .step_by(PANEL)
            .zip(self.values.chunks_exact(self.inputs * PANEL))
    }
}

/// The weight as the matrix unit wants it.
struct Forward<'a>(&'a Panels);

impl Forward<'_> {
    /// Where some input's and output's value lies.
    fn place(&self, input: usize, output: usize) -> usize {
        let panel = output / PANEL * PANEL * self.0.inputs;
        panel + input * PANEL + output % PANEL
    }
}

impl amx::Right<3> for Forward<'_> {
    fn tiles<'a>(
        &'a self,
        first: usize,
        deep: Range<usize>,
        scratch: &'a mut [Line],
    ) -> &'a [Line] {
        let values = &self.0.values[self.place(deep.start, first)..];
        let count = SIDE.min(self.0.outputs - first);
        // SAFETY: the product has seen that the processor has the instructions.
        unsafe { columns::<3>(values, PANEL, count, deep.len(), scratch) };
        scratch
    }

    fn ahead(&self, first: usize, deep: Range<usize>) -> Ahead {
        let next = self.place(deep.start, first);
        Ahead {
            start: self.0.values.as_ptr().wrapping_add(next).cast(),
            rows: deep.len(),
            width: size_of::<[f32; SIDE]>(),
            stride: size_of::<[f32; PANEL]>(),
        }
    }
}

/// Its transpose.
struct Backward<'a>(&'a Panels);

impl amx::Right<3> for Backward<'_> {
    fn tiles<'a>(
        &'a self,
        first: usize,
        deep: Range<usize>,
        scratch: &'a mut [Line],
    ) -> &'a [Line] {
        const { assert!(amx::depth(3).is_multiple_of(PANEL)) };
        let Self(weight) = self;
        let count = SIDE.min(weight.inputs - first);
        let panels = weight.panels().skip(deep.start / PANEL);
        let blocks = scratch.chunks_mut(lines(PANEL, 3));
        for ((at, tiles), (_, panel)) in deep.clone().step_by(PANEL).zip(blocks).zip(panels) {
            let depth = PANEL.min(deep.end - at);
            // SAFETY: as above.
            unsafe { transposed::<3>(&panel[first * PANEL..], PANEL, count, depth, tiles) };
        }
        scratch
    }

    fn ahead(&self, first: usize, deep: Range<usize>) -> Ahead {
        let Self(weight) = self;
        let panel = size_of::<[f32; PANEL]>();
        let next = (deep.start / PANEL * weight.inputs + first) * PANEL;
        Ahead {
            start: weight.values.as_ptr().wrapping_add(next).cast(),
            rows: deep.len().div_ceil(PANEL),
            width: SIDE * panel,
            stride: weight.inputs * panel,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frozen::tests::{close, exact, expected, values};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Also where the matrix unit takes their place.
        #[test]
        fn vectors_make_both_products(rows in 1_usize..20, inputs in 1_usize..300, outputs in 1_usize..300, seed: u32) {
            if level() != Level::Avx512 {
                return Ok(());
            }
            let weight = values(seed, inputs * outputs);
            let panels = Panels::pack(&weight, inputs, outputs);
            let input = values(seed ^ 1, rows * inputs);
            let mut out = vec![f32::NAN; rows * outputs];
            // SAFETY: the CPU has AVX-512.
            unsafe { panels.forward_avx512(&input, &mut out) };
            let want = expected(&input, |i, o| weight[i * outputs + o], [rows, inputs, outputs], exact);
            close(&out, &want, inputs)?;
            let gradient = values(seed ^ 2, rows * outputs);
            let mut out = vec![f32::NAN; rows * inputs];
            // SAFETY: as above.
            unsafe { panels.backward_avx512(&gradient, &mut out, &mut vec![0.0; super::panels(PANEL, DEPTH)]) };
            let want = expected(&gradient, |o, i| weight[i * outputs + o], [rows, outputs, inputs], exact);
            close(&out, &want, outputs)?;
        }
    }
}
