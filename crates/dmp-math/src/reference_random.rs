//! The random choices of `numpy.random.RandomState`, which the reference evaluators draw their subsets with.
//!
//! Only so that the same subsets are drawn; everything of our own uses [`crate::seed`].

use rand_mt::Mt;

/// `numpy.random.RandomState(seed)`: MT19937 and numpy's own ways of using it, frozen since numpy 1.16 (NEP 19).
pub struct RandomState {
    generator: Mt,
}

impl RandomState {
    /// Seeded as numpy seeds it with an integer.
    pub fn new(seed: u32) -> Self {
        Self {
            generator: Mt::new(seed),
        }
    }

    /// `permutation(n)`: a Fisher–Yates shuffle of 0 … n − 1 from the end.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let j = self.interval(i as u32) as usize;
            order.swap(i, j);
        }
        order
    }

    /// `choice(n, size, replace=False)`.
    pub fn choice(&mut self, n: usize, size: usize) -> Vec<usize> {
        let mut order = self.permutation(n);
        order.truncate(size);
        order
    }

    /// Uniform in 0 … `max`, by masking and rejection.
    fn interval(&mut self, max: u32) -> u32 {
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let value = self.generator.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by numpy: `RandomState(2020).permutation(10)`, then `.choice(7, 3, replace=False)`.
    #[test]
    fn numpys_own_draws() {
        let mut random = RandomState::new(2020);
        assert_eq!(random.permutation(10), [2, 4, 9, 1, 5, 7, 6, 3, 8, 0]);
        assert_eq!(random.choice(7, 3), [4, 3, 1]);
    }
}
