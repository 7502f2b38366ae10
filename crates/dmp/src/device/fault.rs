//! Devices that fail at work: what burn's backends say by panicking, as an error.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

/// What a device or its driver said when it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the device failed: {0}; try a smaller --batch, or --device cpu, and report it if that is no mend"
)]
pub struct DeviceFault(pub String);

/// Does `work`; a panic on any thread that stops it becomes an error with the words of the first.
///
/// Backends report a missing library, lost cards and memory that runs out by panicking, often on a thread of their own
/// first. While `work` runs no panic is printed.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, DeviceFault> {
    let first = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&first);
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if let Ok(mut first) = heard.lock() {
            first.get_or_insert_with(|| words(info.payload()));
        }
    }));
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(usual);
    outcome.map_err(|payload| {
        let first = first.lock().ok().and_then(|mut first| first.take());
        DeviceFault(first.unwrap_or_else(|| words(payload.as_ref())))
    })
}

/// A panic's message, on one line.
fn words(payload: &(dyn std::any::Any + Send)) -> String {
    let text = match (
        payload.downcast_ref::<&str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "it did not say why",
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thread that fails first knows why; who waits for it only knows that it is gone.
    #[test]
    fn the_first_panic_is_the_one_told() {
        assert_eq!(guarded(|| 3), Ok(3));
        let fault = guarded(|| {
            let worker = std::thread::spawn(|| panic!("out of\n  memory"));
            assert!(worker.join().is_ok(), "the worker is gone");
        });
        assert_eq!(fault, Err(DeviceFault("out of memory".to_owned())));
    }
}
