//! DiT: a diffusion transformer with adaLN-Zero conditioning (Peebles & Xie, arXiv 2212.09748),
//! with the numerics and the key names of the original implementation.
//!
//! A backbone knows nothing of prompts: what wants to change the input of a block does it through a
//! [`BlockHook`].

mod block;
mod config;
mod embed;
mod keys;
mod position;
mod preset;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation::silu};
use sha2::{Digest, Sha256};

pub use block::{DitBlock, Modulation};
pub use config::{ConfigError, DitConfig};
pub use embed::{LabelEmbedder, PatchEmbedder, TimestepEmbedder, timestep_features};
pub use keys::public_key;
pub use position::sincos_2d;
pub use preset::Preset;

use crate::checkpoint::{hash_values, hex};
use crate::denoiser::{Backbone, BlockHook, Conditioning, Denoiser, ImageLayout, NoHook};
use crate::fused::{self, Checkpointing, Precision};
use crate::grid::grid_map;
use crate::init::{self, Initializer};
use block::{linear_zeros, norm_modulate};

/// The diffusion transformer. Build with [`Dit::zeroed`] (to load weights into) or [`Dit::init`].
#[derive(Module, Debug)]
pub struct Dit {
    x_embedder: PatchEmbedder,
    pos_embed: Param<Tensor<3>>,
    t_embedder: TimestepEmbedder,
    y_embedder: LabelEmbedder,
    blocks: Vec<DitBlock>,
    final_layer: FinalLayer,
    /// Height and width of the images it takes: the configuration's, or those of [`Dit::resized`].
    #[module(skip)]
    size: [usize; 2],
    /// The position table of that size, where it is not the one trained with.
    #[module(skip)]
    positions: Option<Tensor<3>>,
    #[module(skip)]
    config: DitConfig,
}

/// Images whose sides are no multiples of the patch size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "images of {}x{} are no whole number of patches of {patch}x{patch}; give a height and a width that are multiples of {patch}", .size[0], .size[1]
)]
pub struct SizeError {
    /// Height and width asked for.
    pub size: [usize; 2],
    /// Side of a patch.
    pub patch: usize,
}

/// adaLN, then a linear map from tokens to pixels.
#[derive(Module, Debug)]
pub struct FinalLayer {
    adaln_modulation_1: Linear,
    linear: Linear,
}

impl Dit {
    /// A network of zeros (and of the fixed position table), for strict loading to fill.
    pub fn zeroed(config: &DitConfig, device: &Device) -> Self {
        let d = config.hidden_size;
        let pos_embed =
            init::parameter(sincos_2d(config.grid_size(), d, device)).set_require_grad(false);
        Self {
            x_embedder: PatchEmbedder::zeroed(config.in_channels, config.patch_size, d, device),
            pos_embed,
            t_embedder: TimestepEmbedder::zeroed(d, device),
            y_embedder: LabelEmbedder::zeroed(config.label_rows(), d, device),
            blocks: (0..config.depth)
                .map(|_| DitBlock::zeroed(config, device))
                .collect(),
            final_layer: FinalLayer {
                adaln_modulation_1: linear_zeros(d, 2 * d, device),
                linear: linear_zeros(
                    d,
                    config.patch_size * config.patch_size * config.out_channels(),
                    device,
                ),
            },
            size: [config.input_size; 2],
            positions: None,
            config: config.clone(),
        }
    }

    /// The network for images of another height and width than it was trained with. Its position table is interpolated
    /// bilinearly, so that tokens at the edges keep their positions.
    ///
    /// # Errors
    /// Unless both are multiples of the patch size.
    pub fn resized(mut self, size: [usize; 2]) -> Result<Self, SizeError> {
        let patch = self.config.patch_size;
        if size.iter().any(|side| *side == 0 || side % patch != 0) {
            return Err(SizeError { size, patch });
        }
        let trained = [self.config.grid_size(); 2];
        self.size = size;
        let grid = self.token_grid();
        self.positions = (grid != trained).then(|| {
            let table = self.pos_embed.val().detach();
            let onto = grid_map(trained, grid, &table.device());
            onto.unsqueeze::<3>().matmul(table)
        });
        Ok(self)
    }

    /// The original's initialisation: Xavier-uniform linear maps, N(0, 0.02²) embedders, and zeros in
    /// every adaLN map and in the output, so that each block starts as the identity.
    pub fn init(config: &DitConfig, seed: u64, device: &Device) -> Self {
        let mut init = Initializer::new(seed, 0, device);
        let mut dit = Self::zeroed(config, device);
        dit.x_embedder.init(&mut init);
        dit.t_embedder.init(&mut init);
        dit.y_embedder.init(&mut init);
        dit.blocks
            .iter_mut()
            .for_each(|block| block.init(&mut init));
        dit
    }

    /// How much the CPU's kernels keep of each block for the backward pass; gradients are the same to the bit.
    pub fn set_checkpointing(&mut self, checkpointing: Checkpointing) {
        self.blocks
            .iter_mut()
            .for_each(|block| block.set_checkpointing(checkpointing));
    }

    /// Packs the blocks' weights for the CPU's kernels, as they are now and once for the whole run; does nothing elsewhere
    /// or a second time. Sums, activations between products and gradients are f32 in either precision. The weights' tensors
    /// are given up: such a network is there to compute with, not to be trained or written.
    pub fn pack_weights(&mut self, precision: Precision) {
        if fused::available(&self.pos_embed.device()) {
            self.blocks
                .iter_mut()
                .for_each(|block| block.pack_weights(precision));
        }
    }

    /// SHA-256 of every value that a frozen network computes with, in whatever form it holds it: what must be the same
    /// after a patch's training as before.
    pub fn frozen_hash(&self) -> String {
        let mut hasher = Sha256::new();
        hash_values(self, &mut hasher);
        for frozen in self.blocks.iter().filter_map(DitBlock::frozen) {
            frozen.bytes(&mut |bytes| hasher.update(bytes));
        }
        hex(&hasher.finalize())
    }

    /// Sizes of this network.
    pub fn config(&self) -> &DitConfig {
        &self.config
    }

    /// `[B, N, p·p·C_out]` → `[B, C_out, H, W]`.
    fn unpatchify(&self, x: Tensor<3>) -> Tensor<4> {
        let [b, _, _] = x.dims();
        let [rows, columns] = self.token_grid();
        let (p, c) = (self.config.patch_size, self.config.out_channels());
        x.reshape([b, rows, columns, p, p, c])
            .permute([0, 5, 1, 3, 2, 4])
            .reshape([b, c, rows * p, columns * p])
    }
}

impl FinalLayer {
    /// tokens `[B, N, D]`, conditioning `[B, D]` → `[B, N, p·p·C_out]`.
    fn forward(&self, tokens: Tensor<3>, conditioning: Tensor<2>) -> Tensor<3> {
        let mut parts = self
            .adaln_modulation_1
            .forward(silu(conditioning))
            .chunk(2, 1)
            .into_iter();
        let (Some(shift), Some(scale)) = (parts.next(), parts.next()) else {
            unreachable!("chunk(2) of a 2D-wide tensor gives two parts")
        };
        self.linear.forward(norm_modulate(tokens, shift, scale))
    }
}

impl Denoiser for Dit {
    fn predict(&self, x: Tensor<4>, timesteps: &[usize], labels: &[usize]) -> Tensor<4> {
        self.predict_hooked(x, timesteps, labels, &mut NoHook)
    }

    fn layout(&self) -> ImageLayout {
        let [height, width] = self.size;
        ImageLayout {
            channels: self.config.in_channels,
            height,
            width,
        }
    }

    fn learns_variance(&self) -> bool {
        self.config.learn_sigma
    }

    fn null_label(&self) -> Option<usize> {
        (self.config.class_dropout_prob > 0.0).then_some(self.config.num_classes)
    }
}

impl Backbone for Dit {
    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn token_grid(&self) -> [usize; 2] {
        self.size.map(|side| side / self.config.patch_size)
    }

    fn depth(&self) -> usize {
        self.config.depth
    }

    fn condition(&self, timesteps: &[usize], labels: &[usize]) -> Conditioning {
        let timestep = self.t_embedder.forward(timesteps);
        let combined = timestep.clone() + self.y_embedder.forward(labels);
        Conditioning { timestep, combined }
    }

    fn predict_hooked<H: BlockHook>(
        &self,
        x: Tensor<4>,
        timesteps: &[usize],
        labels: &[usize],
        hook: &mut H,
    ) -> Tensor<4> {
        let positions = self.positions.clone();
        let positions = positions.unwrap_or_else(|| self.pos_embed.val());
        let mut tokens = self.x_embedder.forward(x) + positions;
        let conditioning = self.condition(timesteps, labels);
        // SiLU(c) is what every block's adaLN map reads.
        let activated = silu(conditioning.combined.clone());
        for (index, block) in self.blocks.iter().enumerate() {
            tokens = hook.before_block(index, tokens, &conditioning);
            tokens = block.forward(tokens, activated.clone());
        }
        tokens = hook.after_blocks(tokens);
        self.unpatchify(self.final_layer.forward(tokens, conditioning.combined))
    }
}

fn linear(d_input: usize, d_output: usize, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(d_input, d_output).init(device);
    linear.weight = init::zeros([d_input, d_output], device);
    linear.bias = Some(init::zeros([d_output], device));
    linear
}
