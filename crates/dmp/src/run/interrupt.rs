//! Ctrl-C: the first one asks the work to stop at the next good moment, the second one kills.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The user stopped the work; the program exits with 130, as shells expect of Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Interrupted(pub String);

/// Everything was found in order, and no more was asked for; the program says so and succeeds.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DryRun(pub String);

/// Whether the user has asked to stop.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for Ctrl-C (and SIGTERM) from now on; every call shares one listener.
    pub fn listen() -> Self {
        Self::listener(|| {
            crate::tell!("\nstopping at the next step; press Ctrl-C again to stop at once");
        })
    }

    /// The same in silence, for a process that waits for another of this program: a terminal's Ctrl-C reaches both, and
    /// the one that works says what it does.
    pub fn listen_in_silence() -> Self {
        Self::listener(|| {})
    }

    fn listener(say: fn()) -> Self {
        static LISTENER: OnceLock<Interrupt> = OnceLock::new();
        LISTENER
            .get_or_init(|| {
                let asked = Arc::new(AtomicBool::new(false));
                let flag = asked.clone();
                let installed = ctrlc::set_handler(move || {
                    if flag.swap(true, Ordering::SeqCst) {
                        std::process::exit(130);
                    }
                    say();
                });
                if let Err(error) = installed {
                    tracing::warn!("Ctrl-C will stop without saving: {error}");
                }
                Interrupt(asked)
            })
            .clone()
    }

    /// Whether to stop.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
