//! A patch around the blocks of a backbone.

use burn::tensor::Tensor;

use super::Patch;
use super::acting::Acting;
use super::config::{GateKind, Position};
use super::contribution::{Contribution, without_first};
use super::gate::noise_std;
use super::select::{prob_in_top_k, top_k_softmax};
use crate::denoiser::{BlockHook, Conditioning};
use crate::fused;

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

/// What the gate makes of one conditioning, for all blocks at once.
struct Logits {
    /// `[B, N]` each.
    clean: Vec<Tensor<2>>,
    /// Standard deviation of the training noise, `[B, N]`.
    noise_std: Option<Tensor<2>>,
}

/// Applies a patch around the blocks of a backbone, and remembers what the gate did.
pub struct Router<'a> {
    patch: &'a Patch,
    noise: Option<&'a GateNoise>,
    spread: Option<&'a Tensor<2>>,
    acting: Acting,
    logits: Option<Logits>,
    routing: Routing,
}

impl<'a> Router<'a> {
    /// With `noise` the gate is noisy, as in training; without, it is as in sampling.
    pub fn new(patch: &'a Patch, noise: Option<&'a GateNoise>) -> Self {
        Self {
            patch,
            noise,
            spread: None,
            acting: Acting::Everywhere,
            logits: None,
            routing: Routing::default(),
        }
    }

    /// With prompts that lie on a grid brought to that of the tokens by `spread`, `[tokens, prompts on the grid]`.
    pub fn spread(self, spread: Option<&'a Tensor<2>>) -> Self {
        Self { spread, ..self }
    }

    /// At images of these timesteps: where the patch is limited to less noise, it leaves some of them as they are.
    pub fn at(self, timesteps: &[usize]) -> Self {
        let acting = Acting::at(timesteps, self.patch.config.patch_below);
        Self { acting, ..self }
    }

    /// What the gate did.
    pub fn into_routing(self) -> Routing {
        self.routing
    }

    /// Mask `[B, N]` of one block; `None` where every prompt is used whole (prompt tuning).
    pub(super) fn mask(&mut self, block: usize, conditioning: &Conditioning) -> Option<Tensor<2>> {
        let config = &self.patch.config;
        let mask = match config.gate {
            GateKind::None => return None,
            GateKind::Uniform => self.ones(conditioning) / config.num_prompts as f32,
            GateKind::Linear | GateKind::Mlp | GateKind::Attention => {
                self.learned_mask(block, conditioning)
            }
        };
        self.routing.masks.push(mask.clone());
        Some(mask)
    }

    fn learned_mask(&mut self, block: usize, conditioning: &Conditioning) -> Tensor<2> {
        let (patch, noise) = (self.patch, self.noise);
        let config = &patch.config;
        let logits = self.logits.get_or_insert_with(|| {
            let input = config.gate_input.of(conditioning);
            let w_noise = noise.and(patch.w_noise());
            Logits {
                clean: patch.logits(&input),
                noise_std: w_noise.map(|w_noise| noise_std(input, w_noise)),
            }
        });
        let select = |logits: Tensor<2>| match config.temperature {
            1.0 => top_k_softmax(logits, config.k()),
            temperature => top_k_softmax(logits / temperature, config.k()),
        };
        let clean = logits.clean[block].clone();
        let (Some(GateNoise(noise)), Some(sigma)) = (noise, logits.noise_std.clone()) else {
            return select(clean);
        };
        let epsilon = noise.clone().narrow(0, block, 1).squeeze_dim::<2>(0);
        let noisy = clean.clone() + epsilon * sigma.clone();
        if config.k() < config.num_prompts {
            let probability = prob_in_top_k(clean, noisy.clone(), sigma, config.k());
            self.routing.in_top_k.push(probability);
        }
        select(noisy)
    }

    /// A block's mask with zeros for images at which the patch does not act.
    pub(super) fn where_acting(
        &self,
        mask: Option<Tensor<2>>,
        conditioning: &Conditioning,
    ) -> Option<Tensor<2>> {
        let prompts = self.patch.config.num_prompts;
        (self.acting).of(mask, prompts, &conditioning.timestep.device())
    }

    pub(super) fn ones(&self, conditioning: &Conditioning) -> Tensor<2> {
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
        if self.acting == Acting::Nowhere {
            return tokens;
        }
        let Some(prompts) = self.patch.prompts_of(block) else {
            return tokens;
        };
        let mask = self.mask(block, conditioning);
        let mask = self.where_acting(mask, conditioning);
        match (self.patch.config.position, mask) {
            (Position::Add, Some(mask))
                if self.spread.is_none() && fused::available(&tokens.device()) =>
            {
                fused::prompt_add(tokens, mask, prompts)
            }
            (_, mask) => Contribution::new(&self.patch.config, prompts, mask).apply(
                tokens,
                block,
                self.spread,
            ),
        }
    }

    fn after_blocks(&mut self, tokens: Tensor<3>) -> Tensor<3> {
        match self.patch.config.prepended() {
            0 => tokens,
            extra => without_first(tokens, extra),
        }
    }
}
