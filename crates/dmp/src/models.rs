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
use dmp_model::lora::Limited;
use dmp_model::patched::Patched;
use dmp_model::vae::Vae;

pub use addition::{
    Addition, PEFT_CONFIG, PEFT_TENSORS, PatchUse, addition_path, addition_sha256, is_addition,
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

/// A backbone, alone (a LoRA may be merged into it), with a LoRA at some timesteps, with a patch, or with one that was baked.
#[derive(Debug, Clone)]
enum Network {
    Bare(Box<Dit>),
    Limited(Box<Limited>),
    Patched(Box<Patched<Dit>>),
    Baked(Box<Baked<Dit>>),
}

impl Model {
    /// Opens the backbone `name` and puts the patch in `patch` on it, if one is given, as `used` says.
    pub fn open(
        name: &str,
        patch: Option<&Path>,
        used: PatchUse,
        asked: Option<BetaSchedule>,
        dtype: Dtype,
        device: &Device,
    ) -> Result<Self> {
        if patch.is_none() {
            used.ensure_unasked()?;
        }
        let mut backbone = open_backbone(name, device)?;
        let Some(path) = patch else {
            dtype.pack_weights(&mut backbone.model, device)?;
            return Self::bare(backbone, asked);
        };
        Self::with(backbone, path, used, asked, dtype, device)
    }

    /// A backbone with the patch in a file, which must have been made for it. A LoRA is merged into the weights before
    /// they are packed, so that it costs nothing to compute with; where it acts at some timesteps only, the bare ones are kept too.
    fn with(
        backbone: BackboneFile,
        path: &Path,
        used: PatchUse,
        asked: Option<BetaSchedule>,
        dtype: Dtype,
        device: &Device,
    ) -> Result<Self> {
        let shown = || format!("patch {}", path.display());
        let addition = open_addition(path, device)?
            .used(used)
            .with_context(shown)?;
        let metadata = addition.metadata();
        metadata
            .check_backbone(&backbone.fingerprint)
            .with_context(shown)?;
        let schedule = schedule_of(Some(metadata.schedule), asked)?;
        let identity = Identity {
            backbone_sha256: backbone.fingerprint,
            patch_sha256: Some(addition_sha256(path)?),
            vae_sha256: None,
        };
        let mut model = backbone.model;
        let classes = model.config().num_classes;
        let pack = |mut model: Dit| dtype.pack_weights(&mut model, device).map(|()| model);
        let network = match addition {
            Addition::Patch(file) => {
                Network::Patched(Box::new(Patched::new(pack(model)?, file.patch)?))
            }
            Addition::Lora(file) => match file.lora.config().patch_below.and_then(flags::limit) {
                None => {
                    model = file.lora.merge(&model).with_context(shown)?;
                    Network::Bare(Box::new(pack(model)?))
                }
                Some(below) => {
                    let limited = Limited::new(model, &file.lora, below).with_context(shown)?;
                    Network::Limited(Box::new(limited.map_backbones(pack)?))
                }
            },
            Addition::Baked(file) => {
                let baked = Baked::new(pack(model)?, file.steps).with_context(shown)?;
                Network::Baked(Box::new(baked))
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
            Network::Limited(model) => {
                Network::Limited(Box::new(model.map_backbones(|model| model.resized(size))?))
            }
            Network::Patched(model) => {
                Network::Patched(Box::new(model.map_backbone(|model| model.resized(size))?))
            }
            Network::Baked(model) => {
                Network::Baked(Box::new(model.map_backbone(|model| model.resized(size))?))
            }
        };
        Ok(Self { network, ..self })
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
            Network::Limited(model) => model.backbone(),
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
            Self::Limited(model) => model.as_ref(),
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
