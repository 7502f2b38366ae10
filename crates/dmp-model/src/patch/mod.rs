//! The patch: learnable prompts for the input of each block, mixed by a gate that looks at the noise
//! level (Diffusion Model Patching, arXiv 2405.17825). A patch knows no backbone: it needs a token
//! width, a number of tokens and a [`Conditioning`].

mod acting;
mod baked;
mod balance;
mod config;
mod contribution;
mod gate;
mod prompts;
mod router;
mod select;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

pub use baked::{BakedHook, BakedSteps, LabelledGate};
pub use balance::{BalanceForm, BalanceLoss, BalanceTerms, cv_squared};
pub(crate) use config::has_places;
pub use config::{GateInput, GateKind, GateSharing, Init, PatchConfig, PatchConfigError, Position};
use contribution::Contribution;
pub use gate::{Affine, AttentionGate, Gate, LearnedGate, MlpGate, NOISE_FLOOR};
pub use prompts::{BlockPrompts, Factors};
pub use router::{GateNoise, Router, Routing};
pub use select::top_k_softmax;

use crate::denoiser::Conditioning;
use crate::init::{self, Initializer};

/// Learnable prompts `P_l ∈ R^{N×D}` (of a mixture `R^{N×T·D}`) for the first `depth` blocks, and one gate for all of
/// them, or one each.
#[derive(Module, Debug)]
pub struct Patch {
    prompts: Vec<BlockPrompts>,
    gate: Option<LearnedGate>,
    /// Of the blocks, where they do not share one.
    gates: Vec<LearnedGate>,
    w_noise: Option<Param<Tensor<2>>>,
    #[module(skip)]
    config: PatchConfig,
}

impl Patch {
    /// A patch of zeros: the paper's initialisation, under which the first step equals the bare backbone.
    pub fn zeroed(config: &PatchConfig, device: &Device) -> Self {
        let width = config.gate_input.width(config.hidden_size);
        let (shared, each) = match config.gate_sharing {
            GateSharing::Shared => (1, 0),
            GateSharing::PerBlock => (0, config.depth),
        };
        let gates = |count| (0..count).map_while(|_| LearnedGate::zeroed(config, device));
        Self {
            prompts: (0..config.depth)
                .map(|_| BlockPrompts::zeroed(config, device))
                .collect(),
            gate: gates(shared).next(),
            gates: gates(each).collect(),
            w_noise: config
                .gate
                .learns()
                .then(|| init::zeros([width, config.num_prompts], device)),
            config: config.clone(),
        }
    }

    /// Initialises as the configuration says.
    pub fn init(config: &PatchConfig, seed: u64, device: &Device) -> Self {
        let mut patch = Self::zeroed(config, device);
        let mut init = Initializer::new(seed, 1, device);
        for prompts in &mut patch.prompts {
            prompts.init(config, &mut init);
        }
        let silent = config.init == Init::Zero;
        for gate in patch.gate.iter_mut().chain(&mut patch.gates) {
            gate.init(&mut init, silent);
        }
        if !silent && let Some(w_noise) = &mut patch.w_noise {
            let [width, prompts] = w_noise.dims();
            *w_noise = init.xavier([width, prompts], prompts, width);
        }
        patch
    }

    /// Sizes and choices of this patch.
    pub fn config(&self) -> &PatchConfig {
        &self.config
    }

    /// The same, acting at timesteps below this one only; at all of them for `None`.
    ///
    /// # Errors
    /// Where it cannot be so limited: it has extra tokens.
    pub fn acting_below(mut self, below: Option<usize>) -> Result<Self, PatchConfigError> {
        self.config.patch_below = below;
        self.config.check_limit()?;
        Ok(self)
    }

    /// The same with what it adds to tokens `scale` times as large, as a LoRA's strength is set.
    ///
    /// # Errors
    /// With extra tokens, which change what a block attends to even where they are zeros.
    pub fn scaled(mut self, scale: f64) -> Result<Self, PatchConfigError> {
        if self.config.prepended() > 0 {
            return Err(PatchConfigError::ScaledTokens);
        }
        let scaled = |prompts: BlockPrompts| prompts.scaled(scale);
        self.prompts = self.prompts.into_iter().map(scaled).collect();
        Ok(self)
    }

    /// The prompts of each patched block.
    pub fn prompts(&self) -> &[BlockPrompts] {
        &self.prompts
    }

    /// The prompts of a block, `[N, D]`, of a mixture `[N, T·D]`; `None` beyond the patch's depth.
    pub fn prompts_of(&self, block: usize) -> Option<Tensor<2>> {
        let prompts = self.prompts.get(block)?;
        Some(prompts.of(self.config.num_prompts))
    }

    /// The gate that all blocks share, if they share one that learns.
    pub fn gate(&self) -> Option<&LearnedGate> {
        self.gate.as_ref()
    }

    /// The noise weights `[W, N]` of a gate that learns.
    pub fn w_noise(&self) -> Option<Tensor<2>> {
        self.w_noise.as_ref().map(|w| w.val())
    }

    /// Logits `[B, N]` of every patched block for a gate's input `[B, W]`, without noise; empty for a gate that makes none.
    fn logits(&self, input: &Tensor<2>) -> Vec<Tensor<2>> {
        let blocks: Vec<usize> = (0..self.config.depth).collect();
        match &self.gate {
            Some(gate) => gate.logits(input.clone(), &blocks),
            None => (self.gates.iter().enumerate())
                .flat_map(|(block, gate)| gate.logits(input.clone(), &[block]))
                .collect(),
        }
    }

    /// Mask of every patched block for these conditionings, without training noise: `depth` tensors `[B, N]`.
    pub fn masks(&self, conditioning: &Conditioning) -> Vec<Tensor<2>> {
        let mut router = Router::new(self, None);
        (0..self.config.depth)
            .map(|block| {
                router
                    .mask(block, conditioning)
                    .unwrap_or_else(|| router.ones(conditioning))
            })
            .collect()
    }

    /// What the prompts come to at these timesteps, whose conditionings are given, in every patched block, without training noise:
    /// rows `[B, K + T, D]`, the K extra tokens first.
    pub(super) fn contributions(
        &self,
        timesteps: &[usize],
        conditioning: &Conditioning,
    ) -> Vec<Tensor<3>> {
        let mut router = Router::new(self, None).at(timesteps);
        let rows = (0..self.config.depth).filter_map(|block| {
            let mask = router
                .mask(block, conditioning)
                .unwrap_or_else(|| router.ones(conditioning));
            let mask = router.where_acting(Some(mask), conditioning);
            Contribution::new(&self.config, self.prompts_of(block)?, mask).rows()
        });
        rows.collect()
    }

    /// What the gate does for these conditionings in every patched block; noisy with `noise`, as in training.
    pub fn route(&self, conditioning: &Conditioning, noise: Option<&GateNoise>) -> Routing {
        let mut router = Router::new(self, noise);
        for block in 0..self.config.depth {
            router.mask(block, conditioning);
        }
        router.into_routing()
    }
}
