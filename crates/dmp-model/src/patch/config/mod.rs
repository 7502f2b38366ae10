//! Sizes and choices of a patch.

mod error;
mod fit;

use serde::{Deserialize, Serialize};

pub use error::PatchConfigError;
pub(crate) use fit::has_places;

/// Everything that says what a patch is, besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchConfig {
    /// Where prompts go.
    #[serde(default)]
    pub position: Position,
    /// What makes the mask.
    #[serde(default)]
    pub gate: GateKind,
    /// Width H of an `mlp` gate's hidden layer, or of an `attention` gate's keys.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gate_hidden: usize,
    /// Whether blocks share a gate.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gate_sharing: GateSharing,
    /// What the gate looks at.
    #[serde(default)]
    pub gate_input: GateInput,
    /// What logits are divided by before the softmax.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub temperature: f64,
    /// Share of prompts a gate may select, in (0, 1]; k = floor(top_k·N).
    #[serde(default = "one")]
    pub top_k: f64,
    /// How the patch starts.
    #[serde(default)]
    pub init: Init,
    /// Prompts N of each block: a grid's number of tokens for `add`, free for `prepend` and `mix`, and both together for
    /// `both`.
    pub num_prompts: usize,
    /// Tokens T that a prompt covers: a grid's for `mix`, otherwise 1.
    #[serde(default = "one_token")]
    pub prompt_tokens: usize,
    /// Rank r of the prompts of a block, as `[N·T, r]·[r, D]`; 0 for prompts that are whole.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prompt_rank: usize,
    /// Rows and columns of the grid of tokens that prompts lie on, where they do; nothing for the backbone's own. On
    /// tokens of another grid they are interpolated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grid: Option<[usize; 2]>,
    /// The patch acts at timesteps below this one, and leaves noisier ones to the backbone; nothing for all. Not in the paper.
    #[serde(default, skip_serializing_if = "is_default")]
    pub patch_below: Option<usize>,
    /// Token width D.
    pub hidden_size: usize,
    /// Blocks patched, from the first.
    pub depth: usize,
}

fn one() -> f64 {
    1.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

fn one_token() -> usize {
    1
}

/// Such are not written, so that files are what they were before there was one.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where prompts go (section 4.1 of the paper).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// `x ← x + m ⊙ P`, prompt i on token i: the paper's choice.
    #[default]
    Add,
    /// Prompts are extra tokens before the image's.
    Prepend,
    /// `x ← x + Σ_n m_n P_n`, each prompt a vector for every token: their number is free of the tokens', and the gate
    /// decides what is added where, not how much of it. Not in the paper.
    Mix,
    /// The first prompts are extra tokens, the others are added; one mask over all of them.
    Both,
}

/// What makes the mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateKind {
    /// Mask ≡ 1: plain prompt tuning.
    None,
    /// Mask ≡ 1/N: prompts without selection.
    Uniform,
    /// Linear map of the gate input and the block index: the paper's choice.
    #[default]
    Linear,
    /// The same with a hidden layer.
    Mlp,
    /// Attention of a query, made of the same, to a learned key a prompt.
    Attention,
}

impl GateKind {
    /// Whether there is something to learn.
    pub fn learns(self) -> bool {
        !matches!(self, Self::None | Self::Uniform)
    }

    /// Whether it has a width of its own.
    pub fn has_hidden(self) -> bool {
        matches!(self, Self::Mlp | Self::Attention)
    }
}

/// Whether blocks share a gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateSharing {
    /// One for all, which is told the block's index: the paper's choice.
    #[default]
    Shared,
    /// One each.
    PerBlock,
}

/// What the gate looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateInput {
    /// Timestep plus label embedding: what the public code does for `add`.
    #[default]
    Conditioning,
    /// Timestep embedding alone: what the paper says, and the public code does for `prepend`.
    Timestep,
    /// The two side by side.
    Both,
}

impl GateInput {
    /// Width W of what the gate looks at, for tokens of width D.
    pub fn width(self, hidden_size: usize) -> usize {
        match self {
            Self::Conditioning | Self::Timestep => hidden_size,
            Self::Both => 2 * hidden_size,
        }
    }
}

/// How a patch starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Prompts, gate and noise weights all zero: the paper's choice. (But for what would never learn if it were: the first
    /// layer of a gate with two, and the left factor of low-rank prompts, are random.)
    #[default]
    Zero,
    /// Xavier-uniform: the ablation.
    Random,
    /// Prompts zero, the gate Xavier-uniform: starts as the bare backbone too, and the prompts of a mixture differ from
    /// the first step.
    Gate,
}

impl PatchConfig {
    /// The paper's patch for a backbone of `depth` blocks over `num_tokens` tokens of width `hidden_size`.
    pub fn paper(num_tokens: usize, hidden_size: usize, depth: usize) -> Self {
        Self {
            position: Position::Add,
            gate: GateKind::Linear,
            gate_hidden: 0,
            gate_sharing: GateSharing::Shared,
            gate_input: GateInput::Conditioning,
            temperature: 1.0,
            top_k: 1.0,
            init: Init::Zero,
            num_prompts: num_tokens,
            prompt_tokens: 1,
            prompt_rank: 0,
            grid: None,
            patch_below: None,
            hidden_size,
            depth,
        }
    }

    /// A mixture of `num_prompts` prompts that each cover all tokens, its gate random at first: equal prompts under an
    /// equal gate would stay equal.
    pub fn mixture(
        num_prompts: usize,
        num_tokens: usize,
        hidden_size: usize,
        depth: usize,
    ) -> Self {
        Self {
            position: Position::Mix,
            init: Init::Gate,
            num_prompts,
            prompt_tokens: num_tokens,
            ..Self::paper(num_tokens, hidden_size, depth)
        }
    }

    /// Whether the mask of a timestep depends on the label.
    pub fn sees_labels(&self) -> bool {
        self.gate.learns() && self.gate_input != GateInput::Timestep
    }

    /// Values of a prompt: its tokens' vectors, one after the other.
    pub fn prompt_size(&self) -> usize {
        self.prompt_tokens * self.hidden_size
    }

    /// Prompts selected at a time: floor(top_k·N).
    pub fn k(&self) -> usize {
        (self.top_k * self.num_prompts as f64) as usize
    }

    /// Prompts that are extra tokens.
    pub fn prepended(&self) -> usize {
        match self.position {
            Position::Add | Position::Mix => 0,
            Position::Prepend => self.num_prompts,
            Position::Both => {
                let [rows, columns] = self.grid.unwrap_or_default();
                self.num_prompts.saturating_sub(rows * columns)
            }
        }
    }

    /// Parameters added to the model that samples: L·N·D prompts (times the tokens that each covers; r·(N·T + D) a block
    /// at rank r), and for a linear gate N·(W+1)+N.
    ///
    /// This is the count behind the paper's +1.43 % for DiT-L/2; see [`Self::trained_params`].
    pub fn added_params(&self) -> usize {
        let (n, h) = (self.num_prompts, self.gate_hidden);
        let vectors = n * self.prompt_tokens;
        let prompts = match self.prompt_rank {
            0 => n * self.prompt_size(),
            rank => rank * (vectors + self.hidden_size),
        };
        let affine = |outputs: usize| outputs * (self.gate_input.width(self.hidden_size) + 2);
        let gate = match self.gate {
            GateKind::None | GateKind::Uniform => 0,
            GateKind::Linear => affine(n),
            GateKind::Mlp => affine(h) + n * (h + 1),
            GateKind::Attention => affine(h) + n * h,
        };
        let gates = match self.gate_sharing {
            GateSharing::Shared => 1,
            GateSharing::PerBlock => self.depth,
        };
        self.depth * prompts + gates * gate
    }

    /// Parameters trained: those added, and the W·N noise weights that only training uses.
    pub fn trained_params(&self) -> usize {
        let noise = if self.gate.learns() {
            self.num_prompts * self.gate_input.width(self.hidden_size)
        } else {
            0
        };
        self.added_params() + noise
    }
}
