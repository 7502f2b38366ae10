//! A patch around the blocks of a backbone.

use burn::tensor::Tensor;

use super::Patch;
use super::config::{GateKind, Position};
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
            logits: None,
            routing: Routing::default(),
        }
    }

    /// With prompts that lie on a grid brought to that of the tokens by `spread`, `[tokens, prompts on the grid]`.
    pub fn spread(self, spread: Option<&'a Tensor<2>>) -> Self {
        Self { spread, ..self }
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

    pub(super) fn ones(&self, conditioning: &Conditioning) -> Tensor<2> {
        let batch = conditioning.timestep.dims()[0];
        Tensor::ones(
            [batch, self.patch.config.num_prompts],
            &conditioning.timestep.device(),
        )
    }

    /// What lies on the prompts' grid, `[B, base, D]`, on that of the tokens.
    fn onto_tokens(&self, on_grid: Tensor<3>) -> Tensor<3> {
        match self.spread {
            Some(spread) => spread.clone().unsqueeze::<3>().matmul(on_grid),
            None => on_grid,
        }
    }

    /// `x + m ⊙ P`: mask `[B, N]`, prompts `[N, D]`.
    fn added(&self, tokens: Tensor<3>, mask: Option<Tensor<2>>, prompts: Tensor<2>) -> Tensor<3> {
        match mask {
            Some(mask) if self.spread.is_none() && fused::available(&tokens.device()) => {
                fused::prompt_add(tokens, mask, prompts)
            }
            mask => tokens + self.onto_tokens(masked(prompts, mask)),
        }
    }
}

impl BlockHook for Router<'_> {
    fn before_block(
        &mut self,
        block: usize,
        tokens: Tensor<3>,
        conditioning: &Conditioning,
    ) -> Tensor<3> {
        let Some(prompts) = self.patch.prompts_of(block) else {
            return tokens;
        };
        let mask = self.mask(block, conditioning);
        let config = &self.patch.config;
        let [_, _, width] = tokens.dims();
        match config.position {
            Position::Add => self.added(tokens, mask, prompts),
            Position::Mix => {
                let mask = mask.unwrap_or_else(|| self.ones(conditioning));
                let batch = mask.dims()[0];
                let mixed = mask.matmul(prompts);
                tokens + self.onto_tokens(mixed.reshape([batch, config.prompt_tokens, width]))
            }
            Position::Prepend | Position::Both => {
                let (first, others) = (config.prepended(), config.num_prompts - config.prepended());
                let of_mask = |from, count| mask.clone().map(|mask| mask.narrow(1, from, count));
                let extra = masked(prompts.clone().narrow(0, 0, first), of_mask(0, first));
                let mut image = if block == 0 {
                    tokens
                } else {
                    without_first(tokens, first)
                };
                if others > 0 {
                    let prompts = prompts.narrow(0, first, others);
                    image = self.added(image, of_mask(first, others), prompts);
                }
                let batch = image.dims()[0];
                Tensor::cat(vec![extra.expand([batch, first, width]), image], 1)
            }
        }
    }

    fn after_blocks(&mut self, tokens: Tensor<3>) -> Tensor<3> {
        match self.patch.config.prepended() {
            0 => tokens,
            extra => without_first(tokens, extra),
        }
    }
}

/// Tokens `[B, N, D]` without the first `count`.
fn without_first(tokens: Tensor<3>, count: usize) -> Tensor<3> {
    let length = tokens.dims()[1];
    tokens.narrow(1, count, length - count)
}

/// `m ⊙ P`: mask `[B, N]` and prompts `[N, D]` → `[B, N, D]`, or the prompts alone `[1, N, D]`.
fn masked(prompts: Tensor<2>, mask: Option<Tensor<2>>) -> Tensor<3> {
    let prompts = prompts.unsqueeze::<3>();
    match mask {
        Some(mask) => mask.unsqueeze_dim::<3>(2) * prompts,
        None => prompts,
    }
}
