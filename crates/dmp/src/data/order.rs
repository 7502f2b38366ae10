//! Which images a training step sees.

use std::ops::Range;

use dmp_math::seed::{Purpose, stream};

use super::DataError;

/// The images of one training step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Index of each image in the dataset, `[batch]`.
    pub indices: Vec<usize>,
    /// Number of each draw since the run began: the index of its streams of timestep, noise and flip.
    pub draws: Range<u64>,
}

impl Batch {
    /// Which images to mirror, `[batch]`: a fair coin from each draw's own stream.
    pub fn flips(&self, seed: u64) -> Vec<bool> {
        (self.draws.clone())
            .map(|draw| stream(seed, Purpose::Flip, draw).below(2) == 1)
            .collect()
    }
}

/// Endless batches from a dataset, shuffled anew and drawn without replacement in every epoch.
///
/// Epochs follow each other without a gap, so a batch may span two and no image is left out. Every batch
/// depends on (seed, step) alone: a resumed run goes on with the very images it would have seen.
#[derive(Clone, Debug)]
pub struct BatchIndices {
    len: usize,
    batch: usize,
    seed: u64,
    /// The epoch shuffled last and its order; only spares shuffling at every step.
    shuffled: Option<(u64, Vec<usize>)>,
}

impl BatchIndices {
    /// Batches of `batch` images from a dataset of `len`.
    ///
    /// # Errors
    /// When `len` or `batch` is 0.
    pub fn new(len: usize, batch: usize, seed: u64) -> Result<Self, DataError> {
        if len == 0 || batch == 0 {
            return Err(DataError::EmptyBatch { len, batch });
        }
        Ok(Self {
            len,
            batch,
            seed,
            shuffled: None,
        })
    }

    /// The batch of `step`, counted from 0.
    pub fn step(&mut self, step: u64) -> Batch {
        let first = step * self.batch as u64;
        let draws = first..first + self.batch as u64;
        let len = self.len as u64;
        let indices = (draws.clone())
            .map(|draw| self.epoch(draw / len)[(draw % len) as usize])
            .collect();
        Batch { indices, draws }
    }

    fn epoch(&mut self, epoch: u64) -> &[usize] {
        if self
            .shuffled
            .as_ref()
            .is_none_or(|&(held, _)| held != epoch)
        {
            self.shuffled = None;
        }
        let (_, order) = self.shuffled.get_or_insert_with(|| {
            let mut order: Vec<usize> = (0..self.len).collect();
            stream(self.seed, Purpose::Data, epoch).shuffle(&mut order);
            (epoch, order)
        });
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(steps: Range<u64>, len: usize, batch: usize, seed: u64) -> Vec<usize> {
        let mut batches = BatchIndices::new(len, batch, seed).unwrap();
        steps.flat_map(|step| batches.step(step).indices).collect()
    }

    #[test]
    fn every_epoch_draws_every_image_once_in_another_order() {
        // 21 images in batches of 6: batches span epochs.
        let all = drawn(0..7, 21, 6, 3);
        let (first, second) = all.split_at(21);
        for epoch in [first, second] {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..21).collect::<Vec<_>>());
        }
        assert_ne!(first, second);
    }

    #[test]
    fn a_resumed_run_sees_the_images_it_would_have_seen() {
        assert_eq!(drawn(5..9, 21, 6, 3), drawn(0..9, 21, 6, 3)[30..]);
    }

    #[test]
    fn batch_size_does_not_change_the_order_and_the_seed_does() {
        assert_eq!(drawn(0..7, 21, 6, 3), drawn(0..1, 21, 42, 3));
        assert_ne!(drawn(0..7, 21, 6, 3), drawn(0..7, 21, 6, 4));
    }

    #[test]
    fn flips_belong_to_the_draw_and_are_fair() {
        let mut large = BatchIndices::new(9, 1000, 3).unwrap();
        let mut small = BatchIndices::new(9, 500, 3).unwrap();
        let flips = large.step(0).flips(3);
        assert_eq!(flips[500..], small.step(1).flips(3));
        let mirrored = flips.iter().filter(|&&flip| flip).count();
        assert!((400..600).contains(&mirrored), "{mirrored}");
    }

    #[test]
    fn nothing_cannot_be_drawn() {
        for (len, batch) in [(0, 4), (4, 0)] {
            let error = BatchIndices::new(len, batch, 0).unwrap_err();
            assert!(matches!(error, DataError::EmptyBatch { .. }));
        }
    }
}
