//! Flags of a patch. Each is an option, so that one given to another method can be refused by name.

use clap::{Args, ValueEnum};
use dmp_model::dit::DitConfig;
use dmp_model::patch::{GateKind, Init, PatchConfig, Position};

use super::MethodName;
use super::gate::GateArgs;
use crate::compute::Dtype;
use crate::flags::{self, first_given};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PositionName {
    /// Prompt i is added to token i
    Add,
    /// Prompts are extra tokens
    Prepend,
    /// Each prompt covers all tokens, and their weighted sum is added (not in the paper; 8 of them take eight times the
    /// space of the paper's prompts, unless --prompt-rank makes them smaller)
    Mix,
    /// Some prompts are extra tokens, the others are added one to a token
    Both,
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
    /// AdamW's learning rate for prompts; the paper has 1e-4 over 50 000 steps. A gate shares one among all prompts, so that
    /// rates are high; on the demo's model 3 is best for a prompt a token [default: 0.1 for a prompt a token, and for others
    /// what moves tokens as fast: 0.1 x prompts / tokens, 0.1 / tokens without a gate; 0.005 with --position mix]
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
    /// Prompts a block; with --position both, those that are extra tokens [default: one a token; 8 with --position mix or
    /// both]
    #[arg(long, value_parser = flags::count)]
    prompts: Option<usize>,
    /// Rank of a block's prompts, as a product of two smaller matrices [default: they are whole]
    #[arg(long, value_parser = flags::count)]
    prompt_rank: Option<usize>,
    /// Rows and columns of the grid that prompts lie on, as in 4x4; they are interpolated to the tokens [default: the
    /// backbone's own]
    #[arg(long, value_parser = flags::grid)]
    prompt_grid: Option<[usize; 2]>,
    /// Patch timesteps below this one, and draw no others in training: noisier ones are left to the backbone. For --method lora
    /// too [default: 1000, all of them]
    #[arg(long, value_parser = flags::timestep)]
    patch_below: Option<usize>,
    /// Blocks patched, from the first [default: all]
    #[arg(long)]
    depth: Option<usize>,
    #[command(flatten, next_help_heading = "Of --method dmp")]
    pub(super) gate: GateArgs,
}

impl PatchArgs {
    /// Whether prompts cover all tokens; what suits one prompt a token is far too fast for them.
    fn mixes(&self) -> bool {
        self.position == Some(PositionName::Mix)
    }

    /// The rate asked for; else one that moves `tokens` tokens as fast whatever the mask of `patch` makes of a prompt.
    pub(super) fn prompt_rate(&self, patch: &PatchConfig, tokens: usize) -> f64 {
        // A gate shares one among all prompts.
        let shared = match patch.gate {
            GateKind::None => 1,
            _ => patch.num_prompts,
        };
        let default = match patch.position {
            Position::Mix => 0.005,
            _ if shared == tokens => 0.1,
            _ => 0.1 * shared as f64 / tokens as f64,
        };
        self.prompt_rate.unwrap_or(default)
    }

    pub(super) fn dtype(&self) -> Dtype {
        self.dtype.unwrap_or_default()
    }

    /// The timestep below which a patch or a LoRA acts, where it does not at all of them.
    pub(super) fn patch_below(&self) -> Option<usize> {
        self.patch_below.and_then(flags::limit)
    }

    pub(super) fn gate_rate(&self) -> f64 {
        self.gate.rate(if self.mixes() { 1e-4 } else { 1e-3 })
    }

    /// The patch asked for, on this backbone.
    pub(super) fn config(&self, method: MethodName, sizes: &DitConfig) -> PatchConfig {
        let position = match self.position {
            None | Some(PositionName::Add) => Position::Add,
            Some(PositionName::Prepend) => Position::Prepend,
            Some(PositionName::Mix) => Position::Mix,
            Some(PositionName::Both) => Position::Both,
        };
        let grid = self.prompt_grid.unwrap_or([sizes.grid_size(); 2]);
        let on_grid = grid[0] * grid[1];
        let (num_prompts, prompt_tokens) = match position {
            Position::Add | Position::Prepend => (self.prompts.unwrap_or(on_grid), 1),
            Position::Mix => (self.prompts.unwrap_or(8), on_grid),
            Position::Both => (on_grid + self.prompts.unwrap_or(8), 1),
        };
        let gate = match method {
            MethodName::PromptTuning => GateKind::None,
            _ => self.gate.kind(),
        };
        PatchConfig {
            position,
            gate,
            gate_hidden: self.gate.hidden(gate, sizes.hidden_size),
            gate_sharing: self.gate.sharing(),
            gate_input: self.gate.input(),
            temperature: self.gate.temperature(),
            top_k: self.gate.top_k(),
            init: match self.init {
                // Prompts of a mixture that start alike under an equal gate would stay alike.
                None if position == Position::Mix => Init::Gate,
                None | Some(InitName::Zero) => Init::Zero,
                Some(InitName::Random) => Init::Random,
                Some(InitName::Gate) => Init::Gate,
            },
            num_prompts,
            prompt_tokens,
            prompt_rank: self.prompt_rank.unwrap_or(0),
            grid: match position {
                Position::Both => Some(grid),
                Position::Add | Position::Mix | Position::Prepend => self.prompt_grid,
            },
            patch_below: self.patch_below(),
            hidden_size: sizes.hidden_size,
            depth: self.depth.unwrap_or(sizes.depth),
        }
    }

    /// Why a grid would mean nothing, if it would.
    pub(super) fn grid_in_vain(&self) -> Option<&'static str> {
        (self.prompt_grid.is_some() && self.position == Some(PositionName::Prepend)).then_some(
            "--prompt-grid is where prompts lie that are added, and --position prepend adds none; leave it out",
        )
    }

    /// Why prompts would stay alike, or a gate that there is not would be made random.
    pub(super) fn alike(&self, method: MethodName) -> Option<&'static str> {
        let learns = method == MethodName::Dmp && self.gate.kind().learns();
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
        first_given(&[("--dtype", self.dtype.is_some())])
            .or(self.first_of_any())
            .or(self.first_of_prompts())
    }

    /// The first given of those that mean something to a LoRA too.
    pub(super) fn first_of_any(&self) -> Option<&'static str> {
        first_given(&[("--patch-below", self.patch_below.is_some())])
    }

    /// The first given of those that mean nothing to a LoRA.
    pub(super) fn first_of_prompts(&self) -> Option<&'static str> {
        first_given(&[
            ("--prompt-rate", self.prompt_rate.is_some()),
            ("--position", self.position.is_some()),
            ("--init", self.init.is_some()),
            ("--prompts", self.prompts.is_some()),
            ("--prompt-rank", self.prompt_rank.is_some()),
            ("--prompt-grid", self.prompt_grid.is_some()),
            ("--depth", self.depth.is_some()),
        ])
        .or(self.gate.first_given())
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};
    use dmp_model::dit::Preset;

    use super::*;

    #[test]
    fn rates_suit_what_a_mask_leaves_of_a_prompt() {
        let rates = |words: &[&str]| {
            let command = PatchArgs::augment_args(clap::Command::new("train").no_binary_name(true));
            let args = PatchArgs::from_arg_matches(&command.get_matches_from(words)).unwrap();
            let sizes = "dit-b-2".parse::<Preset>().unwrap().config(32, 1);
            let config = args.config(MethodName::Dmp, &sizes);
            let ungated = args.config(MethodName::PromptTuning, &sizes);
            assert!(
                args.prompt_rate.is_some()
                    || args.mixes()
                    || args.prompt_rate(&ungated, 256) == 0.1 / 256.0
            );
            (args.prompt_rate(&config, 256), args.gate_rate())
        };
        assert_eq!(rates(&[]), (0.1, 1e-3));
        let before = ["--position", "prepend", "--prompts", "64"];
        assert_eq!(rates(&before), (0.025, 1e-3));
        assert_eq!(rates(&["--prompt-grid", "8x8"]), (0.025, 1e-3));
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
        let source = concat!(include_str!("patch.rs"), include_str!("gate.rs"));
        for arg in PatchArgs::augment_args(clap::Command::new("")).get_arguments() {
            let flag = arg.get_long().unwrap();
            assert!(source.contains(&format!("(\"--{flag}\", self.")), "{flag}");
        }
    }
}
