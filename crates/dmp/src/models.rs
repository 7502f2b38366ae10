//! Opening what a user names: a backbone, a patch or a LoRA, the two together.

mod addition;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use dmp_math::schedule::BetaSchedule;
use dmp_model::checkpoint::torch::TorchFile;
use dmp_model::checkpoint::{
    AdditionKind, BackboneFile, Hints, TensorFile, describes_itself, load_backbone,
};
use dmp_model::denoiser::{Denoiser, ImageLayout};
use dmp_model::dit::{Dit, DitConfig};
use dmp_model::patched::Patched;

pub use addition::{Addition, is_addition, open_addition};

use crate::compute::Dtype;
use crate::data::{Dataset, demo};

/// Opens a backbone: `demo`, a `.safetensors` file or a PyTorch checkpoint (with its sizes in its metadata or in
/// its shapes; a `config.json` beside it gives what those do not say), or a folder (a run directory) with
/// `backbone.safetensors` in it.
pub fn open_backbone(name: &str, device: &Device) -> Result<BackboneFile> {
    if name == "demo" {
        return Ok(load_backbone(
            TensorFile::from_bytes(demo::BACKBONE)?,
            None,
            device,
        )?);
    }
    let path = Path::new(name);
    let path = if path.is_dir() {
        path.join("backbone.safetensors")
    } else {
        path.to_owned()
    };
    let shown = path.display().to_string();
    let bytes = fs::read(&path).with_context(|| {
        format!(
            "model {shown}: cannot be read; give 'demo', a .safetensors or .pt file, or a run directory"
        )
    })?;
    let file = tensors(bytes).with_context(|| format!("model {shown}"))?;
    anyhow::ensure!(
        AdditionKind::of(&file).is_none(),
        "model {shown}: this is a patch; give it with --patch, and its backbone with --model"
    );
    // Files of other programs do not say their sizes; what shapes do not say, a config.json beside them may.
    let config = if describes_itself(&file) {
        None
    } else {
        let hints = hints(&path.with_file_name("config.json"))?;
        Some(DitConfig::infer(&file.tensors, &hints).with_context(|| format!("model {shown}"))?)
    };
    load_backbone(file, config.as_ref(), device).with_context(|| format!("model {shown}"))
}

fn hints(path: &Path) -> Result<Hints> {
    match fs::read(path) {
        Ok(json) => serde_json::from_slice(&json)
            .with_context(|| format!("{}: cannot be understood", path.display())),
        Err(_) => Ok(Hints::default()),
    }
}

/// The tensors of a safetensors file or of a PyTorch one. Of a training checkpoint, `{model, ema, …}`, the average is
/// taken; of a wrapped model, names without the wrapper's.
fn tensors(bytes: Vec<u8>) -> Result<TensorFile> {
    if !TorchFile::is_one(&bytes) {
        return Ok(TensorFile::from_bytes(&bytes)?);
    }
    let file = TorchFile::from_bytes(bytes)?;
    let names = file.names();
    let part = ["ema", "model", "state_dict"]
        .into_iter()
        .find(|part| names.iter().any(|name| name == part));
    let tensors = file.tensors(part)?;
    let tensors = tensors
        .into_iter()
        .map(|(name, tensor)| match name.strip_prefix("module.") {
            Some(inner) => (inner.to_owned(), tensor),
            None => (name, tensor),
        })
        .collect();
    Ok(TensorFile {
        tensors,
        ..TensorFile::default()
    })
}

/// The noise schedule of a model: what its file says, else what the user says with `--schedule`, else linear as for
/// the public checkpoints. A user who contradicts the file is refused.
pub fn schedule_of(
    said: Option<BetaSchedule>,
    asked: Option<BetaSchedule>,
) -> Result<BetaSchedule> {
    if let (Some(said), Some(asked)) = (said, asked)
        && said != asked
    {
        bail!("--schedule {asked}: the model was trained with {said}; leave the flag out");
    }
    Ok(said.or(asked).unwrap_or_default())
}

/// Refuses data that a model of `layout` and `known` classes was not made for; `name` is what the user calls the data.
pub fn check_data(data: &Dataset, name: &str, layout: ImageLayout, known: usize) -> Result<()> {
    let shape = data.shape();
    anyhow::ensure!(
        (layout.channels, layout.height, layout.width)
            == (shape.channels, shape.height, shape.width),
        "the model takes {}x{}x{} images, data '{name}' has {}x{}x{}; give the data the model was trained on",
        layout.channels,
        layout.height,
        layout.width,
        shape.channels,
        shape.height,
        shape.width
    );
    let classes = data.num_classes();
    if known > 1 && classes == 1 {
        eprintln!(
            "note: data '{name}' has no classes, the model {known}; every image is taken for one of class 0 (a sub-folder \
             a class tells them apart)"
        );
    }
    anyhow::ensure!(
        known == 1 || classes <= known,
        "data '{name}' has {classes} classes, the model {known}; give the data the model was trained on"
    );
    Ok(())
}

/// What images are drawn from.
#[derive(Debug, Clone)]
pub struct Model {
    network: Network,
    /// Classes it knows.
    pub num_classes: usize,
    /// Noise schedule it was trained with.
    pub schedule: BetaSchedule,
}

/// A backbone, alone or with a patch.
#[derive(Debug, Clone)]
enum Network {
    Bare(Box<Dit>),
    Patched(Box<Patched<Dit>>),
}

impl Model {
    /// Opens the backbone `name` and puts the patch in `patch` on it, if one is given.
    pub fn open(
        name: &str,
        patch: Option<&Path>,
        asked: Option<BetaSchedule>,
        dtype: Dtype,
        device: &Device,
    ) -> Result<Self> {
        let mut backbone = open_backbone(name, device)?;
        let Some(path) = patch else {
            dtype.pack_weights(&mut backbone.model, device)?;
            return Self::bare(backbone, asked);
        };
        Self::with(backbone, path, asked, dtype, device)
    }

    /// A backbone with the patch in a file, which must have been made for it. A LoRA is merged into the weights before
    /// they are packed, so that it costs nothing to compute with.
    fn with(
        mut backbone: BackboneFile,
        path: &Path,
        asked: Option<BetaSchedule>,
        dtype: Dtype,
        device: &Device,
    ) -> Result<Self> {
        let shown = || format!("patch {}", path.display());
        let addition = open_addition(path, device)?;
        let metadata = addition.metadata();
        metadata
            .check_backbone(&backbone.fingerprint)
            .with_context(shown)?;
        let schedule = schedule_of(Some(metadata.schedule), asked)?;
        if let Addition::Lora(file) = &addition {
            backbone.model = file.lora.merge(&backbone.model).with_context(shown)?;
        }
        dtype.pack_weights(&mut backbone.model, device)?;
        Ok(match addition {
            Addition::Patch(file) => {
                Self::joined(Patched::new(backbone.model, file.patch)?, schedule)
            }
            Addition::Lora(_) => Self {
                num_classes: backbone.model.config().num_classes,
                schedule,
                network: Network::Bare(Box::new(backbone.model)),
            },
        })
    }

    /// What has been joined already.
    pub fn joined(model: Patched<Dit>, schedule: BetaSchedule) -> Self {
        Self {
            num_classes: model.backbone().config().num_classes,
            schedule,
            network: Network::Patched(Box::new(model)),
        }
    }

    /// A backbone alone.
    pub fn bare(backbone: BackboneFile, asked: Option<BetaSchedule>) -> Result<Self> {
        Ok(Self {
            num_classes: backbone.model.config().num_classes,
            schedule: schedule_of(backbone.schedule, asked)?,
            network: Network::Bare(Box::new(backbone.model)),
        })
    }
}

impl Denoiser for Model {
    fn predict(&self, x: Tensor<4>, timesteps: &[usize], labels: &[usize]) -> Tensor<4> {
        match &self.network {
            Network::Bare(model) => model.predict(x, timesteps, labels),
            Network::Patched(model) => model.predict(x, timesteps, labels),
        }
    }

    fn layout(&self) -> ImageLayout {
        match &self.network {
            Network::Bare(model) => model.layout(),
            Network::Patched(model) => model.layout(),
        }
    }

    fn learns_variance(&self) -> bool {
        match &self.network {
            Network::Bare(model) => model.learns_variance(),
            Network::Patched(model) => model.learns_variance(),
        }
    }

    fn null_label(&self) -> Option<usize> {
        match &self.network {
            Network::Bare(model) => model.null_label(),
            Network::Patched(model) => model.null_label(),
        }
    }
}
