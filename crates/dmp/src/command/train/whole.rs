//! Flags of full fine-tuning.

use clap::Args;

use crate::flags::{ema_decay, first_given};

/// How a whole backbone is fine-tuned.
#[derive(Debug, Args)]
pub(super) struct WholeArgs {
    /// AdamW's learning rate [default: 1e-4]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Decay of the moving average of the weights, which is what is written; 0 for the weights themselves
    /// [default: 0.99]
    #[arg(long, value_parser = ema_decay)]
    ema_decay: Option<f64>,
}

impl WholeArgs {
    pub(super) fn learning_rate(&self) -> f64 {
        self.learning_rate.unwrap_or(1e-4)
    }

    pub(super) fn ema_decay(&self) -> f64 {
        self.ema_decay.unwrap_or(0.99)
    }

    /// The first of these flags that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        first_given(&[
            ("--learning-rate", self.learning_rate.is_some()),
            ("--ema-decay", self.ema_decay.is_some()),
        ])
    }
}
