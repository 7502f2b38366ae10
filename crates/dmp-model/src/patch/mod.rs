//! The patch: learnable prompts for the input of each block, mixed by a gate that looks at the noise
//! level (Diffusion Model Patching, arXiv 2405.17825). A patch knows no backbone: it needs a token
//! width, a number of tokens and a [`Conditioning`].

mod balance;
mod config;
mod gate;
mod select;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

pub use balance::{BalanceForm, BalanceLoss, BalanceTerms, cv_squared};
pub use config::{GateInput, GateKind, Init, PatchConfig, PatchConfigError, Position};
pub use gate::{LinearGate, NOISE_FLOOR};
pub use select::top_k_softmax;

use crate::denoiser::{BlockHook, Conditioning};
use crate::fused;
use crate::init::{self, Initializer};
use gate::Logits;
use select::prob_in_top_k;

/// Learnable prompts `P_l ∈ R^{N×D}` (of a mixture `R^{N×T·D}`) for the first `depth` blocks, and one gate for all of
/// them.
#[derive(Module, Debug)]
pub struct Patch {
    prompts: Vec<Param<Tensor<2>>>,
    gate: Option<LinearGate>,
    w_noise: Option<Param<Tensor<2>>>,
    #[module(skip)]
    config: PatchConfig,
}

impl Patch {
    /// A patch of zeros: the paper's initialisation, under which the first step equals the bare backbone.
    pub fn zeroed(config: &PatchConfig, device: &Device) -> Self {
        let (n, d) = (config.num_prompts, config.hidden_size);
        let linear = config.gate == GateKind::Linear;
        Self {
            prompts: (0..config.depth)
                .map(|_| init::zeros([n, config.prompt_size()], device))
                .collect(),
            gate: linear.then(|| LinearGate::zeroed(d, n, device)),
            w_noise: linear.then(|| init::zeros([d, n], device)),
            config: config.clone(),
        }
    }

    /// Initialises as the configuration says: zeros, Xavier-uniform (the paper's ablation), or that for the gate alone.
    pub fn init(config: &PatchConfig, seed: u64, device: &Device) -> Self {
        let mut patch = Self::zeroed(config, device);
        let mut init = Initializer::new(seed, 1, device);
        let (l, n, d) = (config.depth, config.num_prompts, config.hidden_size);
        if config.init == Init::Random {
            let width = config.prompt_size();
            // Fans of the stacked [L, N, D] tensor, as the public code initialises it.
            patch
                .prompts
                .iter_mut()
                .for_each(|p| *p = init.xavier([n, width], n * width, l * width));
        }
        if config.init != Init::Zero
            && let Some(gate) = &mut patch.gate
        {
            gate.init(&mut init);
            patch.w_noise = Some(init.xavier([d, n], n, d));
        }
        patch
    }

    /// Sizes and choices of this patch.
    pub fn config(&self) -> &PatchConfig {
        &self.config
    }

    /// The prompts of each patched block, `[N, D]`, of a mixture `[N, T·D]`.
    pub fn prompts(&self) -> &[Param<Tensor<2>>] {
        &self.prompts
    }

    /// The linear gate, if there is one.
    pub fn gate(&self) -> Option<&LinearGate> {
        self.gate.as_ref()
    }

    /// The noise weights `[D, N]` of a linear gate.
    pub fn w_noise(&self) -> Option<Tensor<2>> {
        self.w_noise.as_ref().map(|w| w.val())
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

    /// What the gate does for these conditionings in every patched block; noisy with `noise`, as in training.
    pub fn route(&self, conditioning: &Conditioning, noise: Option<&GateNoise>) -> Routing {
        let mut router = Router::new(self, noise);
        for block in 0..self.config.depth {
            router.mask(block, conditioning);
        }
        router.into_routing()
    }
}

/// Gate noise ε ~ N(0, 1) of one training step, `[depth, B, N]`.
#[derive(Debug, Clone)]
pub struct GateNoise(pub Tensor<3>);

/// What the gate did in one forward pass; the balance losses are made from it.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// Mask of each patched block, `[B, N]`.
    pub masks: Vec<Tensor<2>>,
    /// P(n in top-k under fresh noise) of each patched block, `[B, N]`; empty unless training with k < N.
    pub in_top_k: Vec<Tensor<2>>,
}

/// Applies a patch around the blocks of a backbone, and remembers what the gate did.
pub struct Router<'a> {
    patch: &'a Patch,
    noise: Option<&'a GateNoise>,
    logits: Option<Logits>,
    routing: Routing,
}

impl<'a> Router<'a> {
    /// With `noise` the gate is noisy, as in training; without, it is as in sampling.
    pub fn new(patch: &'a Patch, noise: Option<&'a GateNoise>) -> Self {
        Self {
            patch,
            noise,
            logits: None,
            routing: Routing::default(),
        }
    }

    /// What the gate did.
    pub fn into_routing(self) -> Routing {
        self.routing
    }

    /// Mask `[B, N]` of one block; `None` where every prompt is used whole (prompt tuning).
    fn mask(&mut self, block: usize, conditioning: &Conditioning) -> Option<Tensor<2>> {
        let config = &self.patch.config;
        let mask = match (&config.gate, &self.patch.gate) {
            (GateKind::None, _) => return None,
            (GateKind::Linear, Some(gate)) => self.linear_mask(gate, block, conditioning),
            (GateKind::Uniform, _) | (GateKind::Linear, None) => {
                self.ones(conditioning) / config.num_prompts as f32
            }
        };
        self.routing.masks.push(mask.clone());
        Some(mask)
    }

    fn linear_mask(
        &mut self,
        gate: &LinearGate,
        block: usize,
        conditioning: &Conditioning,
    ) -> Tensor<2> {
        let config = &self.patch.config;
        let w_noise = self.noise.and(self.patch.w_noise.as_ref());
        let shared = self.logits.get_or_insert_with(|| {
            let input = match config.gate_input {
                GateInput::Conditioning => conditioning.combined.clone(),
                GateInput::Timestep => conditioning.timestep.clone(),
            };
            gate.logits(input, w_noise.map(|w| w.val()))
        });
        let clean = shared.at_block(block);
        let k = config.k();
        let (Some(GateNoise(noise)), Some(sigma)) = (self.noise, shared.noise_std.clone()) else {
            return top_k_softmax(clean, k);
        };
        let epsilon = noise.clone().narrow(0, block, 1).squeeze_dim::<2>(0);
        let noisy = clean.clone() + epsilon * sigma.clone();
        if k < config.num_prompts {
            self.routing
                .in_top_k
                .push(prob_in_top_k(clean, noisy.clone(), sigma, k));
        }
        top_k_softmax(noisy, k)
    }

    fn ones(&self, conditioning: &Conditioning) -> Tensor<2> {
        let batch = conditioning.timestep.dims()[0];
        Tensor::ones(
            [batch, self.patch.config.num_prompts],
            &conditioning.timestep.device(),
        )
    }
}

impl BlockHook for Router<'_> {
    fn before_block(
        &mut self,
        block: usize,
        tokens: Tensor<3>,
        conditioning: &Conditioning,
    ) -> Tensor<3> {
        let Some(prompts) = self.patch.prompts.get(block) else {
            return tokens;
        };
        let prompts = prompts.val();
        let mask = self.mask(block, conditioning);
        match (self.patch.config.position, mask) {
            (Position::Add, Some(mask)) if fused::available(&tokens.device()) => {
                fused::prompt_add(tokens, mask, prompts)
            }
            (Position::Add, mask) => tokens + masked(prompts, mask),
            (Position::Mix, mask) => {
                let [batch, length, width] = tokens.dims();
                let mask = mask.unwrap_or_else(|| self.ones(conditioning));
                tokens + mask.matmul(prompts).reshape([batch, length, width])
            }
            (Position::Prepend, mask) => {
                let masked = masked(prompts, mask);
                let [batch, length, width] = tokens.dims();
                let n = self.patch.config.num_prompts;
                let image = if block == 0 {
                    tokens
                } else {
                    tokens.narrow(1, n, length - n)
                };
                Tensor::cat(vec![masked.expand([batch, n, width]), image], 1)
            }
        }
    }

    fn after_blocks(&mut self, tokens: Tensor<3>) -> Tensor<3> {
        match self.patch.config.position {
            Position::Add | Position::Mix => tokens,
            Position::Prepend => {
                let (n, length) = (self.patch.config.num_prompts, tokens.dims()[1]);
                tokens.narrow(1, n, length - n)
            }
        }
    }
}

/// `m ⊙ P`: mask `[B, N]` and prompts `[N, D]` → `[B, N, D]`, or the prompts alone `[1, N, D]`.
fn masked(prompts: Tensor<2>, mask: Option<Tensor<2>>) -> Tensor<3> {
    let prompts = prompts.unsqueeze::<3>();
    match mask {
        Some(mask) => mask.unsqueeze_dim::<3>(2) * prompts,
        None => prompts,
    }
}
