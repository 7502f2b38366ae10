//! Threads that each compute alone.
//!
//! A step on a few images has too little work in each operation to share it among threads; two halves of a batch,
//! each on one thread from images to gradients, keep both busy. A GPU shares out its operations by itself, and the
//! larger the better: there a batch stays whole.

use anyhow::Result;
use burn::tensor::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// A pool of one thread for each worker, so that whatever runs there sees a machine of one core; without pools there is
/// one worker, the calling thread.
pub struct Workers {
    pools: Vec<ThreadPool>,
}

impl Workers {
    /// Those that compute on `device`: of the CPU as many as it has cores, of any other the calling thread.
    pub fn on(device: &Device) -> Result<Self> {
        if dmp_model::fused::available(device) {
            Self::of_cpu()
        } else {
            Ok(Self { pools: Vec::new() })
        }
    }

    /// As many as rayon's threads: one a core, or `RAYON_NUM_THREADS`.
    pub fn of_cpu() -> Result<Self> {
        Self::with_count(rayon::current_num_threads())
    }

    /// So many.
    pub fn with_count(count: usize) -> Result<Self> {
        let pools = (0..count)
            .map(|_| ThreadPoolBuilder::new().num_threads(1).build())
            .collect::<Result<_, _>>()?;
        Ok(Self { pools })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.pools.len().max(1)
    }

    /// Does `work` on all items at once; results in the items' order. Each item has a worker of its own, or, where
    /// there are fewer items than workers, they share all of the machine's threads.
    pub fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
        self.map_beside(items, work, || ()).0
    }

    /// The same, and `beside` on the calling thread meanwhile.
    pub fn map_beside<T: Send, R: Send, S>(
        &self,
        items: Vec<T>,
        work: impl Fn(T) -> R + Sync,
        beside: impl FnOnce() -> S,
    ) -> (Vec<R>, S) {
        if self.pools.is_empty() {
            let results = items.into_iter().map(work).collect();
            return (results, beside());
        }
        let work = &work;
        let alone = items.len() >= self.count();
        std::thread::scope(|scope| {
            let running: Vec<_> = items
                .into_iter()
                .zip(self.pools.iter().cycle())
                .map(|(item, pool)| {
                    scope.spawn(move || {
                        if alone {
                            pool.install(|| work(item))
                        } else {
                            work(item)
                        }
                    })
                })
                .collect();
            let beside = beside();
            let results = running
                .into_iter()
                .map(|thread| match thread.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect();
            (results, beside)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_sees_one_core_and_results_keep_their_order() {
        let workers = Workers::with_count(3).unwrap();
        let seen = workers.map((0..7).collect(), |item| {
            (item, rayon::current_num_threads())
        });
        let expected: Vec<_> = (0..7).map(|item| (item, 1)).collect();
        assert_eq!(seen, expected);
    }

    /// Every thread has a queue of its own on a GPU: tensors of one are waited for on another.
    #[test]
    fn without_pools_everything_runs_on_the_calling_thread() {
        let workers = Workers { pools: Vec::new() };
        let here = std::thread::current().id();
        let work = |item: usize| (item, std::thread::current().id());
        let (seen, beside) = workers.map_beside(vec![0, 1], work, || std::thread::current().id());
        assert_eq!((seen, beside), (vec![(0, here), (1, here)], here));
        assert_eq!(workers.count(), 1);
    }

    #[test]
    fn few_items_share_the_machine() {
        let workers = Workers::with_count(3).unwrap();
        let (seen, beside) =
            workers.map_beside(vec![(), ()], |()| rayon::current_num_threads(), || 5);
        assert_eq!(seen, [rayon::current_num_threads(); 2]);
        assert_eq!(beside, 5);
    }
}
