//! Where the time goes: how long each kernel ran, over all threads. Off unless [`start`]ed, and then all but free.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static ON: AtomicBool = AtomicBool::new(false);
static LISTED: Mutex<Vec<&'static Kernel>> = Mutex::new(Vec::new());

/// One kernel's clock: a static where it is timed.
pub(crate) struct Kernel {
    name: &'static str,
    nanoseconds: AtomicU64,
    calls: AtomicU64,
    listed: AtomicBool,
}

/// What a kernel took.
#[derive(Debug, Clone, PartialEq)]
pub struct Spent {
    /// The kernel.
    pub kernel: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// For how long, summed over threads.
    pub time: Duration,
}

/// Sets all clocks to zero and starts them.
pub fn start() {
    for kernel in LISTED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        kernel.nanoseconds.store(0, Ordering::Relaxed);
        kernel.calls.store(0, Ordering::Relaxed);
    }
    ON.store(true, Ordering::Relaxed);
}

/// Stops all clocks; what they show, the longest first.
pub fn stop() -> Vec<Spent> {
    ON.store(false, Ordering::Relaxed);
    let listed = LISTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut spent: Vec<Spent> = listed.iter().map(|kernel| kernel.spent()).collect();
    spent.retain(|spent| spent.calls > 0);
    spent.sort_by(|a, b| b.time.cmp(&a.time).then(a.kernel.cmp(b.kernel)));
    spent
}

impl Kernel {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            nanoseconds: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            listed: AtomicBool::new(false),
        }
    }

    /// Runs `work`, which keeps `threads` threads busy, on this clock.
    #[inline(always)]
    pub(crate) fn time<R>(&'static self, threads: usize, work: impl FnOnce() -> R) -> R {
        if !ON.load(Ordering::Relaxed) {
            return work();
        }
        let since = Instant::now();
        let result = work();
        self.add(since.elapsed(), threads);
        result
    }

    #[cold]
    fn add(&'static self, time: Duration, threads: usize) {
        let nanoseconds = time.as_nanos() as u64 * threads as u64;
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !self.listed.swap(true, Ordering::Relaxed) {
            LISTED
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self);
        }
    }

    fn spent(&self) -> Spent {
        Spent {
            kernel: self.name,
            calls: self.calls.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_between_start_and_stop_counts() {
        static NAP: Kernel = Kernel::new("nap");
        let nap = || NAP.time(2, || std::thread::sleep(Duration::from_millis(2)));
        let of_nap = |spent: Vec<Spent>| spent.into_iter().find(|spent| spent.kernel == "nap");
        nap();
        start();
        assert_eq!(of_nap(stop()), None);
        start();
        (0..3).for_each(|_| nap());
        let spent = of_nap(stop()).unwrap();
        nap();
        assert_eq!(spent.calls, 3);
        // Two threads for as long.
        assert!(spent.time >= Duration::from_millis(12), "{spent:?}");
    }
}
