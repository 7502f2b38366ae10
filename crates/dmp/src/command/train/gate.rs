//! Flags of a patch's gate. Each is an option, so that one given to another method can be refused by name.

use clap::{Args, ValueEnum};
use dmp_model::patch::{BalanceForm, BalanceLoss, GateInput, GateKind, GateSharing};

use crate::flags::{self, first_given};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GateName {
    /// Linear map of the gate's input and the block
    Linear,
    /// The same with a hidden layer
    Mlp,
    /// Attention to a learned key a prompt
    Attention,
    /// Every prompt 1/N
    Uniform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GateInputName {
    /// Timestep and label
    Conditioning,
    /// Timestep alone
    Timestep,
    /// The two side by side
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GateSharingName {
    /// One gate, which is told the block
    Shared,
    /// A gate each
    PerBlock,
}

/// How prompts are mixed.
#[derive(Debug, Args)]
pub(super) struct GateArgs {
    /// AdamW's learning rate for gate and noise weights [default: 1e-3; 1e-4 with --position mix]
    #[arg(long, value_parser = flags::non_negative)]
    gate_rate: Option<f64>,
    /// Steps before the gate begins to learn, so that prompts have learnt something by then [default: 0]
    #[arg(long)]
    gate_after: Option<u64>,
    /// What makes the mask, the weight of each prompt [default: linear]
    #[arg(long, value_enum)]
    gate: Option<GateName>,
    /// What the gate looks at [default: conditioning]
    #[arg(long, value_enum)]
    gate_input: Option<GateInputName>,
    /// Width of the hidden layer of --gate mlp, or of the keys of --gate attention [default: the tokens']
    #[arg(long, value_parser = flags::count)]
    gate_hidden: Option<usize>,
    /// Whether blocks share a gate [default: shared]
    #[arg(long, value_enum)]
    gate_sharing: Option<GateSharingName>,
    /// What the gate's logits are divided by before the softmax: above 1 masks are flatter [default: 1]
    #[arg(long, value_parser = flags::positive)]
    temperature: Option<f64>,
    /// Random noise on the gate's logits in training; without it there is no load term [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    gate_noise: Option<bool>,
    /// Share of the prompts that a gate may select, as 0.5 for half of them [default: 1]
    #[arg(long)]
    top_k: Option<f64>,
    /// Balance loss: shazeer (arXiv 1701.06538, section 4) or reference, what the authors' public code computes [default: shazeer]
    #[arg(long)]
    balance: Option<BalanceForm>,
    /// Weight of the balance loss's importance term [default: 0.01]
    #[arg(long, value_parser = flags::non_negative)]
    importance: Option<f64>,
    /// Weight of the balance loss's load term, of a noisy gate with --top-k below 1 [default: 0.01]
    #[arg(long, value_parser = flags::non_negative)]
    load: Option<f64>,
}

impl GateArgs {
    /// The first of these flags that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        first_given(&[("--gate", self.gate.is_some())]).or(self.first_of_learning())
    }

    /// Why a hidden width would mean nothing, if it would.
    pub(super) fn hidden_in_vain(&self) -> Option<&'static str> {
        (self.gate_hidden.is_some() && !self.kind().has_hidden()).then_some(
            "--gate-hidden is of --gate mlp and attention, not of this gate; leave it out",
        )
    }

    pub(super) fn kind(&self) -> GateKind {
        match self.gate {
            None | Some(GateName::Linear) => GateKind::Linear,
            Some(GateName::Uniform) => GateKind::Uniform,
            Some(GateName::Mlp) => GateKind::Mlp,
            Some(GateName::Attention) => GateKind::Attention,
        }
    }

    /// Width of the hidden layer of `gate`, for tokens of width `tokens`.
    pub(super) fn hidden(&self, gate: GateKind, tokens: usize) -> usize {
        if gate.has_hidden() {
            self.gate_hidden.unwrap_or(tokens)
        } else {
            0
        }
    }

    pub(super) fn sharing(&self) -> GateSharing {
        match self.gate_sharing {
            None | Some(GateSharingName::Shared) => GateSharing::Shared,
            Some(GateSharingName::PerBlock) => GateSharing::PerBlock,
        }
    }

    pub(super) fn input(&self) -> GateInput {
        match self.gate_input {
            None | Some(GateInputName::Conditioning) => GateInput::Conditioning,
            Some(GateInputName::Timestep) => GateInput::Timestep,
            Some(GateInputName::Both) => GateInput::Both,
        }
    }

    pub(super) fn temperature(&self) -> f64 {
        self.temperature.unwrap_or(1.0)
    }

    pub(super) fn top_k(&self) -> f64 {
        self.top_k.unwrap_or(1.0)
    }

    pub(super) fn rate(&self, default: f64) -> f64 {
        self.gate_rate.unwrap_or(default)
    }

    pub(super) fn after(&self) -> u64 {
        self.gate_after.unwrap_or(0)
    }

    pub(super) fn noise(&self) -> bool {
        self.gate_noise.unwrap_or(true)
    }

    pub(super) fn balance_loss(&self) -> BalanceLoss {
        BalanceLoss {
            form: self.balance.unwrap_or(BalanceForm::Shazeer),
            importance: self.importance.unwrap_or(0.01),
            // Where every prompt is selected, or no noise selects, there is no such term.
            load: match self.idle_load() {
                Some(_) => 0.0,
                None => self.load.unwrap_or(0.01),
            },
        }
    }

    /// The first given of those that mean nothing to a uniform gate, which looks at nothing and learns nothing.
    pub(super) fn idle(&self) -> Option<&'static str> {
        self.first_of_learning()
            .filter(|_| self.gate == Some(GateName::Uniform))
    }

    /// Why there is no load term, if there is none: it is the probability to be among the k largest under the noise.
    fn idle_load(&self) -> Option<&'static str> {
        if self.gate_noise == Some(false) {
            Some("--gate-noise is false")
        } else if self.top_k.is_none_or(|share| share >= 1.0) {
            Some("without --top-k below 1 every prompt is selected")
        } else {
            None
        }
    }

    /// Why the load term that is asked for is not there.
    pub(super) fn load_in_vain(&self) -> Option<&'static str> {
        self.idle_load()
            .filter(|_| self.load.is_some_and(|weight| weight > 0.0))
    }

    fn first_of_learning(&self) -> Option<&'static str> {
        first_given(&[
            ("--gate-rate", self.gate_rate.is_some()),
            ("--gate-after", self.gate_after.is_some()),
            ("--gate-input", self.gate_input.is_some()),
            ("--gate-hidden", self.gate_hidden.is_some()),
            ("--gate-sharing", self.gate_sharing.is_some()),
            ("--temperature", self.temperature.is_some()),
            ("--gate-noise", self.gate_noise.is_some()),
            ("--top-k", self.top_k.is_some()),
            ("--balance", self.balance.is_some()),
            ("--importance", self.importance.is_some()),
            ("--load", self.load.is_some()),
        ])
    }
}
