//! Flags of full fine-tuning.

use clap::Args;

use crate::flags::{self, first_given};

/// How a whole backbone is fine-tuned.
#[derive(Debug, Args)]
pub(super) struct WholeArgs {
    /// AdamW's learning rate [default: 1e-4]
    #[arg(long, value_parser = flags::non_negative)]
    learning_rate: Option<f64>,
}

impl WholeArgs {
    pub(super) fn learning_rate(&self) -> f64 {
        self.learning_rate.unwrap_or(1e-4)
    }

    /// The first of these flags that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        first_given(&[("--learning-rate", self.learning_rate.is_some())])
    }
}
