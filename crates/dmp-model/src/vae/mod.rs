//! The autoencoder between pixels and latents: AutoencoderKL, in the layout of Stable Diffusion 1.x.

mod config;
mod conv;
mod keys;
mod layers;
mod tiling;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

pub use config::{VaeConfig, VaeConfigError};
pub use keys::public_key;

use crate::checkpoint::{CheckpointError, Tensors, apply, check_finite, check_size};
use conv::Conv;
use layers::{Down, GroupNorm, Middle, Up};

/// Largest and smallest logarithm of a latent's variance, as in the original.
const LOG_VARIANCE: [f32; 2] = [-30.0, 20.0];

/// The autoencoder, which stays on the device that it was loaded on: its convolutions are packed for it. Images are `[B, C, H, W]` in [-1, 1], H and W multiples of [`VaeConfig::downsampling`].
#[derive(Module, Debug)]
pub struct Vae {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Option<Conv>,
    post_quant_conv: Option<Conv>,
    #[module(skip)]
    config: VaeConfig,
}

#[derive(Module, Debug)]
struct Encoder {
    conv_in: Conv,
    down_blocks: Vec<Down>,
    mid_block: Middle,
    conv_norm_out: GroupNorm,
    conv_out: Conv,
}

#[derive(Module, Debug)]
struct Decoder {
    conv_in: Conv,
    mid_block: Middle,
    up_blocks: Vec<Up>,
    conv_norm_out: GroupNorm,
    conv_out: Conv,
}

/// What the encoder says of images: a Gaussian a latent, each tensor `[B, latent, h, w]`. Latents are as the diffusion model
/// takes them, `(z − shift)·scale` of what the network gives.
#[derive(Debug, Clone)]
pub struct LatentGaussian {
    /// Means.
    pub mean: Tensor<4>,
    /// Standard deviations.
    pub std: Tensor<4>,
}

impl Vae {
    /// A network of zeros, for strict loading to fill.
    fn zeroed(config: &VaeConfig, device: &Device) -> Self {
        let latent = config.latent_channels;
        let quant =
            |used: bool, channels| used.then(|| Conv::zeroed(channels, channels, 1, device));
        Self {
            encoder: Encoder::zeroed(config, device),
            decoder: Decoder::zeroed(config, device),
            quant_conv: quant(config.use_quant_conv, 2 * latent),
            post_quant_conv: quant(config.use_post_quant_conv, latent),
            config: config.clone(),
        }
    }

    /// Reads a network strictly from the tensors of a diffusers file, of today or from before the attention's were renamed.
    ///
    /// # Errors
    /// A configuration that cannot be built, and every missing, unknown or misshapen tensor.
    pub fn load(
        config: &VaeConfig,
        tensors: Tensors,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        config.check()?;
        check_size(config.least_params(), &tensors)?;
        check_finite(&tensors)?;
        let empty = Self::zeroed(config, device);
        let mut vae = apply(empty, keys::renamed(tensors), public_key)?;
        vae.pack();
        Ok(vae)
    }

    /// Has all convolutions packed: the network is not trained.
    fn pack(&mut self) {
        let quant = self.quant_conv.iter_mut();
        quant
            .chain(&mut self.post_quant_conv)
            .chain(self.encoder.convs())
            .chain(self.decoder.convs())
            .for_each(Conv::pack);
    }

    /// Sizes of this network.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Images `[B, C, H, W]` → latents, scaled.
    pub fn encode(&self, images: Tensor<4>) -> LatentGaussian {
        self.gaussian(self.moments(images))
    }

    /// Latents `[B, latent, h, w]`, scaled → images.
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.images(self.unscaled(latents))
    }

    /// Means and logarithms of variances, `[B, 2·latent, h, w]`, as the network gives them.
    fn moments(&self, images: Tensor<4>) -> Tensor<4> {
        let moments = self.encoder.forward(images);
        match &self.quant_conv {
            Some(conv) => conv.forward(moments),
            None => moments,
        }
    }

    fn gaussian(&self, moments: Tensor<4>) -> LatentGaussian {
        let latent = self.config.latent_channels;
        let mean = moments.clone().narrow(1, 0, latent);
        let [least, most] = LOG_VARIANCE;
        let log_variance = moments.narrow(1, latent, latent).clamp(least, most);
        let (scale, shift) = (self.config.scaling_factor, self.shift());
        LatentGaussian {
            mean: (mean - shift) * scale,
            std: (log_variance * 0.5).exp() * scale,
        }
    }

    fn shift(&self) -> f64 {
        self.config.shift_factor.unwrap_or(0.0)
    }

    fn unscaled(&self, latents: Tensor<4>) -> Tensor<4> {
        latents / self.config.scaling_factor + self.shift()
    }

    /// Images of what the network calls latents.
    fn images(&self, latents: Tensor<4>) -> Tensor<4> {
        self.decoder.forward(match &self.post_quant_conv {
            Some(conv) => conv.forward(latents),
            None => latents,
        })
    }
}

impl Encoder {
    fn zeroed(config: &VaeConfig, device: &Device) -> Self {
        let (levels, groups) = (&config.block_out_channels, config.norm_num_groups);
        let (first, last) = (levels[0], levels[levels.len() - 1]);
        let down = |index: usize| {
            let channels = [levels[index.saturating_sub(1)], levels[index]];
            let halves = index + 1 < levels.len();
            Down::zeroed(channels, config.layers_per_block, groups, halves, device)
        };
        Self {
            conv_in: Conv::zeroed(config.in_channels, first, 3, device),
            down_blocks: (0..levels.len()).map(down).collect(),
            mid_block: Middle::zeroed(last, groups, config.mid_block_add_attention, device),
            conv_norm_out: GroupNorm::zeroed(last, groups, device),
            conv_out: Conv::zeroed(last, 2 * config.latent_channels, 3, device),
        }
    }

    fn convs(&mut self) -> impl Iterator<Item = &mut Conv> {
        let ends = [&mut self.conv_in, &mut self.conv_out].into_iter();
        ends.chain(self.down_blocks.iter_mut().flat_map(Down::convs))
            .chain(self.mid_block.convs())
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let x = self.conv_in.forward(images);
        let x = (self.down_blocks.iter()).fold(x, |x, down| down.forward(x));
        let x = self.mid_block.forward(x);
        self.conv_out.forward(self.conv_norm_out.silu(x))
    }
}

impl Decoder {
    fn zeroed(config: &VaeConfig, device: &Device) -> Self {
        let levels: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let groups = config.norm_num_groups;
        let up = |index: usize| {
            let channels = [levels[index.saturating_sub(1)], levels[index]];
            let doubles = index + 1 < levels.len();
            Up::zeroed(
                channels,
                config.layers_per_block + 1,
                groups,
                doubles,
                device,
            )
        };
        let (first, last) = (levels[0], levels[levels.len() - 1]);
        Self {
            conv_in: Conv::zeroed(config.latent_channels, first, 3, device),
            mid_block: Middle::zeroed(first, groups, config.mid_block_add_attention, device),
            up_blocks: (0..levels.len()).map(up).collect(),
            conv_norm_out: GroupNorm::zeroed(last, groups, device),
            conv_out: Conv::zeroed(last, config.out_channels, 3, device),
        }
    }

    fn convs(&mut self) -> impl Iterator<Item = &mut Conv> {
        let ends = [&mut self.conv_in, &mut self.conv_out].into_iter();
        ends.chain(self.up_blocks.iter_mut().flat_map(Up::convs))
            .chain(self.mid_block.convs())
    }

    fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let x = self.mid_block.forward(self.conv_in.forward(latents));
        let x = (self.up_blocks.iter()).fold(x, |x, up| up.forward(x));
        self.conv_out.forward(self.conv_norm_out.silu(x))
    }
}
