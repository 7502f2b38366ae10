//! Flags of a patch. Each is an option, so that one given to another method can be refused by name.

use clap::{Args, ValueEnum};
use dmp_model::denoiser::Backbone;
use dmp_model::patch::{
    BalanceForm, BalanceLoss, GateInput, GateKind, Init, PatchConfig, Position,
};

use super::MethodName;
use crate::compute::Dtype;
use crate::flags::{self, first_given};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PositionName {
    /// Prompt i is added to token i
    Add,
    /// Prompts are extra tokens
    Prepend,
    /// Each prompt covers all tokens, and their weighted sum is added
    Mix,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GateName {
    /// Linear map of the gate's input and the block
    Linear,
    /// Every prompt 1/N
    Uniform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GateInputName {
    /// Timestep and label
    Conditioning,
    /// Timestep alone
    Timestep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InitName {
    /// All zeros: starts as the bare backbone (with --position prepend, as the backbone with tokens of zeros before it)
    Zero,
    /// Xavier-uniform
    Random,
    /// Prompts zero, the gate Xavier-uniform
    Gate,
}

/// What a patch is and how it learns.
#[derive(Debug, Args)]
pub(super) struct PatchArgs {
    /// AdamW's learning rate for prompts; the paper has 1e-4 over 50 000 steps [default: 0.1; 0.005 with
    /// --position mix]
    #[arg(long, value_parser = flags::non_negative)]
    prompt_rate: Option<f64>,
    /// Where prompts go [default: add]
    #[arg(long, value_enum)]
    position: Option<PositionName>,
    /// How the patch starts [default: zero; gate with --position mix]
    #[arg(long, value_enum)]
    init: Option<InitName>,
    /// Number type of the frozen backbone's products; the patch, its gradients and all sums are f32 [default: f32]
    #[arg(long, value_enum)]
    dtype: Option<Dtype>,
    /// Prompts a block [default: one a token; 8 with --position mix]
    #[arg(long)]
    prompts: Option<usize>,
    /// Blocks patched, from the first [default: all]
    #[arg(long)]
    depth: Option<usize>,
    #[command(flatten, next_help_heading = "Of --method dmp")]
    pub(super) gate: GateArgs,
}

/// How prompts are mixed.
#[derive(Debug, Args)]
pub(super) struct GateArgs {
    /// AdamW's learning rate for gate and noise weights [default: 1e-3; 1e-4 with --position mix]
    #[arg(long, value_parser = flags::non_negative)]
    gate_rate: Option<f64>,
    /// Steps before the gate begins to learn: what it weighs is there by then [default: 0]
    #[arg(long)]
    gate_after: Option<u64>,
    /// What makes the mask [default: linear]
    #[arg(long, value_enum)]
    gate: Option<GateName>,
    /// What the gate looks at [default: conditioning]
    #[arg(long, value_enum)]
    gate_input: Option<GateInputName>,
    /// Random noise on the gate's logits in training; without it there is no load term [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    gate_noise: Option<bool>,
    /// Share of prompts a gate may select [default: 1]
    #[arg(long)]
    top_k: Option<f64>,
    /// Balance loss: shazeer or reference [default: shazeer]
    #[arg(long)]
    balance: Option<BalanceForm>,
    /// Weight of the balance loss's importance term [default: 0.01]
    #[arg(long, value_parser = flags::non_negative)]
    importance: Option<f64>,
    /// Weight of the balance loss's load term, of a noisy gate with --top-k below 1 [default: 0.01]
    #[arg(long, value_parser = flags::non_negative)]
    load: Option<f64>,
}

impl PatchArgs {
    /// Whether prompts cover all tokens; what suits one prompt a token is far too fast for them.
    fn mixes(&self) -> bool {
        self.position == Some(PositionName::Mix)
    }

    pub(super) fn prompt_rate(&self) -> f64 {
        self.prompt_rate
            .unwrap_or(if self.mixes() { 0.005 } else { 0.1 })
    }

    pub(super) fn dtype(&self) -> Dtype {
        self.dtype.unwrap_or_default()
    }

    pub(super) fn gate_rate(&self) -> f64 {
        let default = if self.mixes() { 1e-4 } else { 1e-3 };
        self.gate.gate_rate.unwrap_or(default)
    }

    pub(super) fn gate_after(&self) -> u64 {
        self.gate.gate_after.unwrap_or(0)
    }

    pub(super) fn gate_noise(&self) -> bool {
        self.gate.gate_noise.unwrap_or(true)
    }

    pub(super) fn balance(&self) -> BalanceLoss {
        BalanceLoss {
            form: self.gate.balance.unwrap_or(BalanceForm::Shazeer),
            importance: self.gate.importance.unwrap_or(0.01),
            // Where every prompt is selected, or no noise selects, there is no such term.
            load: match self.gate.idle_load() {
                Some(_) => 0.0,
                None => self.gate.load.unwrap_or(0.01),
            },
        }
    }

    /// The patch asked for, on this backbone.
    pub(super) fn config(&self, method: MethodName, backbone: &impl Backbone) -> PatchConfig {
        let position = match self.position {
            None | Some(PositionName::Add) => Position::Add,
            Some(PositionName::Prepend) => Position::Prepend,
            Some(PositionName::Mix) => Position::Mix,
        };
        let (prompts, prompt_tokens) = match position {
            Position::Add | Position::Prepend => (backbone.num_tokens(), 1),
            Position::Mix => (8, backbone.num_tokens()),
        };
        PatchConfig {
            position,
            gate: match (method, self.gate.gate) {
                (MethodName::PromptTuning, _) => GateKind::None,
                (_, None | Some(GateName::Linear)) => GateKind::Linear,
                (_, Some(GateName::Uniform)) => GateKind::Uniform,
            },
            gate_input: match self.gate.gate_input {
                None | Some(GateInputName::Conditioning) => GateInput::Conditioning,
                Some(GateInputName::Timestep) => GateInput::Timestep,
            },
            top_k: self.gate.top_k.unwrap_or(1.0),
            init: match self.init {
                // Prompts of a mixture that start alike under an equal gate would stay alike.
                None if position == Position::Mix => Init::Gate,
                None | Some(InitName::Zero) => Init::Zero,
                Some(InitName::Random) => Init::Random,
                Some(InitName::Gate) => Init::Gate,
            },
            num_prompts: self.prompts.unwrap_or(prompts),
            prompt_tokens,
            hidden_size: backbone.hidden_size(),
            depth: self.depth.unwrap_or(backbone.depth()),
        }
    }

    /// Why prompts would stay alike, or a gate that there is not would be made random.
    pub(super) fn alike(&self, method: MethodName) -> Option<&'static str> {
        let learns = method == MethodName::Dmp && self.gate.gate != Some(GateName::Uniform);
        let (mix, init) = (self.mixes(), self.init);
        match init {
            Some(InitName::Gate) if !learns => {
                Some("--init gate makes a gate random, and there is none that learns; leave it out")
            }
            None | Some(InitName::Zero) if mix && !learns => Some(
                "--position mix without a gate that learns makes all prompts of a block alike; give --init random, or \
                 --method dmp with --gate linear",
            ),
            Some(InitName::Zero) if mix => Some(
                "--position mix with --init zero makes all prompts of a block alike; give --init gate or random",
            ),
            _ => None,
        }
    }

    /// The first of these flags that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        first_given(&[("--dtype", self.dtype.is_some())]).or(self.first_but_dtype())
    }

    /// The first given of those that mean something to a patch alone.
    pub(super) fn first_but_dtype(&self) -> Option<&'static str> {
        first_given(&[
            ("--prompt-rate", self.prompt_rate.is_some()),
            ("--position", self.position.is_some()),
            ("--init", self.init.is_some()),
            ("--prompts", self.prompts.is_some()),
            ("--depth", self.depth.is_some()),
        ])
        .or(self.gate.first_given())
    }
}

impl GateArgs {
    /// The first of these flags that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        first_given(&[("--gate", self.gate.is_some())]).or(self.first_of_learning())
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
            ("--gate-noise", self.gate_noise.is_some()),
            ("--top-k", self.top_k.is_some()),
            ("--balance", self.balance.is_some()),
            ("--importance", self.importance.is_some()),
            ("--load", self.load.is_some()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    #[test]
    fn a_mixture_has_rates_of_its_own() {
        let rates = |words: &[&str]| {
            let command = PatchArgs::augment_args(clap::Command::new("train").no_binary_name(true));
            let args = PatchArgs::from_arg_matches(&command.get_matches_from(words)).unwrap();
            (args.prompt_rate(), args.gate_rate())
        };
        assert_eq!(rates(&[]), (0.1, 1e-3));
        assert_eq!(rates(&["--position", "mix"]), (0.005, 1e-4));
        let asked = [
            "--position",
            "mix",
            "--prompt-rate",
            "1",
            "--gate-rate",
            "2",
        ];
        assert_eq!(rates(&asked), (1.0, 2.0));
    }

    /// A flag that is not in a list would be accepted, and do nothing, where it has no meaning.
    #[test]
    fn every_flag_is_in_a_list() {
        let source = include_str!("patch.rs");
        for arg in PatchArgs::augment_args(clap::Command::new("")).get_arguments() {
            let flag = arg.get_long().unwrap();
            assert!(source.contains(&format!("(\"--{flag}\", self.")), "{flag}");
        }
    }
}
