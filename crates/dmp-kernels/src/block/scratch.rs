//! Memory that outlives a block: what a worker computes in, and what the backward pass was left.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

thread_local! {
    static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Calls `work` with parts of these lengths, their values unspecified. The memory is kept between groups, blocks and
/// steps.
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

/// Buffers of a step that is over: the next one wants the same lengths, and need not clear them first.
struct Spare(Vec<Vec<f32>>);

impl Spare {
    fn take(&mut self, length: usize) -> Option<Vec<f32>> {
        match self.0.iter().rposition(|buffer| buffer.len() == length) {
            Some(at) => Some(self.0.swap_remove(at)),
            None => {
                // What lies there is of another batch or model: it goes as fast as others come.
                self.0.pop();
                None
            }
        }
    }
}

static SPARE: Mutex<Spare> = Mutex::new(Spare(Vec::new()));

/// A buffer of this length, its values unspecified.
pub(super) fn take(length: usize) -> Vec<f32> {
    if length == 0 {
        return Vec::new();
    }
    let kept = SPARE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(length);
    kept.unwrap_or_else(|| vec![0.0; length])
}

/// Gives buffers back for [`take`].
pub(super) fn give(buffers: impl IntoIterator<Item = Vec<f32>>) {
    let buffers = buffers.into_iter().filter(|buffer| !buffer.is_empty());
    SPARE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .0
        .extend(buffers);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_of_the_length_comes_back_and_others_go() {
        let mut spare = Spare(vec![vec![1.0; 3], vec![2.0; 3], vec![3.0; 4]]);
        assert_eq!(spare.take(3), Some(vec![2.0; 3]));
        assert_eq!(spare.take(5), None);
        assert_eq!(spare.0.len(), 1, "one that is not wanted went");
    }
}
