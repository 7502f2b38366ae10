//! Memory that a worker keeps between groups, blocks and steps.

use std::cell::Cell;

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Calls `work` with parts of these lengths, their values unspecified.
pub(super) fn with_scratch<const P: usize, R>(
    lengths: [usize; P],
    work: impl FnOnce([&mut [f32]; P]) -> R,
) -> R {
    // Taken out of the cell, so that a nested call on the same thread just starts with none.
    let mut memory = KEPT.take();
    let total: usize = lengths.iter().sum();
    if memory.len() < total {
        memory.resize(total, 0.0);
    }
    let mut rest = memory.as_mut_slice();
    let parts = lengths.map(|length| {
        let (part, tail) = std::mem::take(&mut rest).split_at_mut(length);
        rest = tail;
        part
    });
    let result = work(parts);
    KEPT.set(memory);
    result
}
