//! Opening what a user names: a backbone, a patch or a LoRA, the two together.

mod addition;
mod agreement;
mod backbone;
mod diffusers;
mod identity;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use dmp_math::schedule::BetaSchedule;
use dmp_model::baked::Baked;
use dmp_model::checkpoint::BackboneFile;
use dmp_model::denoiser::{Backbone, Denoiser, ImageLayout};
use dmp_model::dit::Dit;
use dmp_model::patched::Patched;
use dmp_model::vae::Vae;

pub use addition::{
    Addition, PEFT_CONFIG, PEFT_TENSORS, addition_path, addition_sha256, is_addition,
    open_addition, peft_folder,
};
pub use agreement::{check_data, schedule_of};
pub use backbone::open_backbone;
pub use diffusers::{VaeFile, open_vae};
pub use identity::Identity;

use backbone::local;

use crate::compute::Dtype;
use crate::flags;
use crate::memory::least_of_an_image;

/// Side of the tiles that larger images are decoded in.
const TILE: usize = 512;

/// What images are drawn from.
#[derive(Debug, Clone)]
pub struct Model {
    network: Network,
    /// Classes it knows.
    pub num_classes: usize,
    /// Noise schedule it was trained with.
    pub schedule: BetaSchedule,
    /// What makes images of the latents it draws.
    vae: Option<Box<Vae>>,
    identity: Identity,
}

/// A backbone, alone, with a patch, or with one that was baked for some timesteps.
#[derive(Debug, Clone)]
enum Network {
    Bare(Box<Dit>),
    Patched(Box<Patched<Dit>>),
    Baked(Box<Baked<Dit>>),
}

impl Model {
    /// Opens the backbone `name` and puts the patch in `patch` on it, if one is given, `scale` times as strong as it is, if that is
    /// given too.
    pub fn open(
        name: &str,
        patch: Option<&Path>,
        scale: Option<f64>,
        asked: Option<BetaSchedule>,
        dtype: Dtype,
        device: &Device,
    ) -> Result<Self> {
        anyhow::ensure!(
            patch.is_some() || scale.is_none(),
            "--patch-scale: there is no patch or LoRA whose strength it could be; leave the flag out"
        );
        let mut backbone = open_backbone(name, device)?;
        let Some(path) = patch else {
            dtype.pack_weights(&mut backbone.model, device)?;
            return Self::bare(backbone, asked);
        };
        Self::with(backbone, path, scale, asked, dtype, device)
    }

    /// A backbone with the patch in a file, which must have been made for it. A LoRA is merged into the weights before
    /// they are packed, so that it costs nothing to compute with.
    fn with(
        mut backbone: BackboneFile,
        path: &Path,
        scale: Option<f64>,
        asked: Option<BetaSchedule>,
        dtype: Dtype,
        device: &Device,
    ) -> Result<Self> {
        let shown = || format!("patch {}", path.display());
        let mut addition = open_addition(path, device)?;
        if let Some(scale) = scale {
            addition = addition.scaled(scale).with_context(shown)?;
        }
        let metadata = addition.metadata();
        metadata
            .check_backbone(&backbone.fingerprint)
            .with_context(shown)?;
        let schedule = schedule_of(Some(metadata.schedule), asked)?;
        if let Addition::Lora(file) = &addition {
            backbone.model = file.lora.merge(&backbone.model).with_context(shown)?;
        }
        dtype.pack_weights(&mut backbone.model, device)?;
        let identity = Identity {
            backbone_sha256: backbone.fingerprint,
            patch_sha256: Some(addition_sha256(path)?),
            vae_sha256: None,
        };
        let model = backbone.model;
        let classes = model.config().num_classes;
        let network = match addition {
            Addition::Patch(file) => Network::Patched(Box::new(Patched::new(model, file.patch)?)),
            Addition::Lora(_) => Network::Bare(Box::new(model)),
            Addition::Baked(file) => {
                Network::Baked(Box::new(Baked::new(model, file.steps).with_context(shown)?))
            }
        };
        Ok(Self {
            identity,
            ..Self::of(network, classes, schedule)
        })
    }

    fn of(network: Network, num_classes: usize, schedule: BetaSchedule) -> Self {
        Self {
            network,
            num_classes,
            schedule,
            vae: None,
            identity: Identity::default(),
        }
    }

    /// The same for images of another height and width than it was trained with, if one is given.
    pub fn resized(self, size: Option<[usize; 2]>) -> Result<Self> {
        let Some(size) = size else { return Ok(self) };
        let pixels = self.pixels_a_latent();
        anyhow::ensure!(
            size.iter().all(|side| side.is_multiple_of(pixels)),
            "{}x{}: a latent covers {pixels}x{pixels} pixels; give multiples of {pixels}",
            size[0],
            size[1]
        );
        let size = size.map(|side| side / pixels);
        let network = match self.network {
            Network::Bare(model) => Network::Bare(Box::new(model.resized(size)?)),
            Network::Patched(model) => {
                Network::Patched(Box::new(model.map_backbone(|model| model.resized(size))?))
            }
            Network::Baked(model) => {
                Network::Baked(Box::new(model.map_backbone(|model| model.resized(size))?))
            }
        };
        Ok(Self { network, ..self })
    }

    /// The same with its patch at timesteps below this one only, if one is given.
    ///
    /// # Errors
    /// Without a patch that can be so limited.
    pub fn patched_below(self, below: Option<usize>) -> Result<Self> {
        let Some(below) = below else { return Ok(self) };
        let Network::Patched(model) = self.network else {
            bail!(
                "there is no patch that can be limited (a LoRA is part of the weights, and a baked patch has its limit already); leave \
                 the flag out"
            );
        };
        let model = model.acting_below(flags::limit(below))?;
        Ok(Self {
            network: Network::Patched(Box::new(model)),
            ..self
        })
    }

    /// The same with an autoencoder that makes images of what it draws: the one in `folder`, or, of a folder that diffusers
    /// wrote, the one beside the model.
    pub fn with_vae(self, folder: Option<&Path>, name: &str, device: &Device) -> Result<Self> {
        let beside = match name {
            // The embedded model has none, whatever lies in a folder of its name.
            "demo" => PathBuf::new(),
            name => local("model", Path::new(name))?.join("vae"),
        };
        let folder = match folder {
            Some(folder) => folder,
            None if beside.is_dir() => &beside,
            None => return Ok(self),
        };
        let VaeFile { vae, sha256 } = open_vae(folder, device)?;
        let (drawn, taken) = (self.layout().channels, vae.config().latent_channels);
        anyhow::ensure!(
            drawn == taken,
            "autoencoder {}: makes images of {taken} channels of latents, and the model draws {drawn}; give the model's own",
            folder.display()
        );
        Ok(Self {
            vae: Some(Box::new(vae)),
            identity: Identity {
                vae_sha256: Some(sha256),
                ..self.identity
            },
            ..self
        })
    }

    /// What it is; of a model that was not opened from files, nothing.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Pixels that a value it draws covers in each direction.
    fn pixels_a_latent(&self) -> usize {
        self.vae
            .as_ref()
            .map_or(1, |vae| vae.config().downsampling())
    }

    /// What the images made of its samples are.
    pub fn image_layout(&self) -> ImageLayout {
        let drawn = self.layout();
        let pixels = self.pixels_a_latent();
        ImageLayout {
            channels: (self.vae.as_ref()).map_or(drawn.channels, |vae| vae.config().out_channels),
            height: pixels * drawn.height,
            width: pixels * drawn.width,
        }
    }

    /// Bytes that an image takes while it is drawn, at the least.
    pub fn least_bytes_an_image(&self) -> u128 {
        let backbone = match &self.network {
            Network::Bare(model) => model,
            Network::Patched(model) => model.backbone(),
            Network::Baked(model) => model.backbone(),
        };
        least_of_an_image(backbone.num_tokens(), backbone.hidden_size())
    }

    /// Whether what it draws are latents, which may have any value.
    pub fn draws_latents(&self) -> bool {
        self.vae.is_some() || !matches!(self.layout().channels, 1 | 3)
    }

    /// Images `[B, C, H, W]` of what it has drawn.
    pub fn images(&self, drawn: Tensor<4>) -> Tensor<4> {
        let Some(vae) = &self.vae else { return drawn };
        // One after the other: a decoder's activations are far larger than what it makes.
        let count = drawn.dims()[0];
        let one = |index| vae.decode_tiled(drawn.clone().narrow(0, index, 1), TILE);
        Tensor::cat((0..count).map(one).collect(), 0)
    }

    /// Refuses timesteps that a baked patch was not made for.
    pub fn check_timesteps(&self, timesteps: &[usize]) -> Result<()> {
        let Network::Baked(model) = &self.network else {
            return Ok(());
        };
        match timesteps
            .iter()
            .find(|step| !model.timesteps().contains(step))
        {
            None => Ok(()),
            Some(step) => bail!(
                "the patch was baked for {} steps, and timestep {step} is none of them; give the --sampling-steps it was baked \
                 for ('dmp inspect' shows them), or the patch itself",
                model.timesteps().len()
            ),
        }
    }

    /// What has been joined already.
    pub fn joined(model: Patched<Dit>, schedule: BetaSchedule) -> Self {
        let classes = model.backbone().config().num_classes;
        Self::of(Network::Patched(Box::new(model)), classes, schedule)
    }

    /// A backbone alone.
    pub fn bare(backbone: BackboneFile, asked: Option<BetaSchedule>) -> Result<Self> {
        let schedule = schedule_of(backbone.schedule, asked)?;
        let classes = backbone.model.config().num_classes;
        let identity = Identity {
            backbone_sha256: backbone.fingerprint,
            ..Identity::default()
        };
        let network = Network::Bare(Box::new(backbone.model));
        Ok(Self {
            identity,
            ..Self::of(network, classes, schedule)
        })
    }
}

impl Network {
    fn denoiser(&self) -> &dyn Denoiser {
        match self {
            Self::Bare(model) => model.as_ref(),
            Self::Patched(model) => model.as_ref(),
            Self::Baked(model) => model.as_ref(),
        }
    }
}

impl Denoiser for Model {
    fn predict(&self, x: Tensor<4>, timesteps: &[usize], labels: &[usize]) -> Tensor<4> {
        self.network.denoiser().predict(x, timesteps, labels)
    }

    fn layout(&self) -> ImageLayout {
        self.network.denoiser().layout()
    }

    fn learns_variance(&self) -> bool {
        self.network.denoiser().learns_variance()
    }

    fn null_label(&self) -> Option<usize> {
        self.network.denoiser().null_label()
    }
}
