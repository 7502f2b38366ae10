//! Flags of what learns as one: the whole backbone, or a LoRA of it.

use clap::Args;

use crate::flags::{self, first_given};

/// How it learns.
#[derive(Debug, Args)]
pub(super) struct WholeArgs {
    /// AdamW's learning rate [default: 1e-4 for --method full, 1e-3 for --method lora]
    #[arg(long, value_parser = flags::non_negative)]
    learning_rate: Option<f64>,
}

impl WholeArgs {
    /// The rate asked for, or the method's own.
    pub(super) fn learning_rate(&self, default: f64) -> f64 {
        self.learning_rate.unwrap_or(default)
    }

    /// The first of these flags that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        first_given(&[("--learning-rate", self.learning_rate.is_some())])
    }
}
