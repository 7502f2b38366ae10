//! Folders as diffusers writes them: a pipeline (`model_index.json` with `transformer/`, `vae/`, `scheduler/`) or one of its
//! parts, whole or in shards, as safetensors or as PyTorch files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use dmp_math::schedule::BetaSchedule;
use dmp_model::checkpoint::{
    BackboneFile, DiffusersDit, TensorFile, Tensors, fingerprint, from_diffusers, hex,
    load_backbone,
};
use dmp_model::vae::{Vae, VaeConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::backbone::{local, tensors};
use crate::DIFFUSION_STEPS;

/// Whether a folder is such a one, and no run directory of ours.
pub(super) fn is_one(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    folder.is_dir()
        && !has("backbone.safetensors")
        && (has("model_index.json") || has("transformer/config.json") || is_part(folder))
}

/// Whether a folder's `config.json` is diffusers': it says so, or weights beside it are called as theirs are. Beside a
/// checkpoint of another kind it says sizes.
fn is_part(folder: &Path) -> bool {
    let Ok(text) = fs::read(folder.join("config.json")) else {
        return false;
    };
    let said: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let class = said.get("_class_name").is_some();
    class
        || fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| {
                let name = entry.file_name();
                name.as_encoded_bytes()
                    .starts_with(b"diffusion_pytorch_model.")
                    || name
                        .as_encoded_bytes()
                        .starts_with(b"diffusion_pytorch_model-")
            })
}

/// The folder of a part of a pipeline, or the folder itself if it is that part.
fn part(folder: &Path, name: &str) -> PathBuf {
    let inside = folder.join(name);
    if inside.is_dir() {
        inside
    } else {
        folder.to_owned()
    }
}

/// Opens the DiT in a folder.
pub(super) fn open(folder: &Path, device: &Device) -> Result<BackboneFile> {
    let transformer = part(folder, "transformer");
    let config: DiffusersDit = json(&transformer.join("config.json"))?;
    let shown = || transformer.display().to_string();
    let sizes = config.sizes().with_context(shown)?;
    sizes.validate().with_context(shown)?;
    let found = weights(&transformer)?;
    let file = TensorFile {
        tensors: from_diffusers(&sizes, found, device).with_context(shown)?,
        ..TensorFile::default()
    };
    let file = load_backbone(file, Some(&sizes), device).with_context(shown)?;
    Ok(BackboneFile {
        schedule: schedule(folder)?,
        ..file
    })
}

/// Opens the autoencoder in a folder, or that of `owner/name` on the hub.
///
/// # Errors
/// When it is not there, or not whole.
pub fn open_vae(folder: &Path, device: &Device) -> Result<VaeFile> {
    let folder = part(&local("autoencoder", folder)?, "vae");
    let config: VaeConfig = json(&folder.join("config.json"))?;
    let found = weights(&folder)?;
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_string(&config)?);
    hasher.update(fingerprint(&found));
    let vae = Vae::load(&config, found, device).with_context(|| folder.display().to_string())?;
    let sha256 = hex(&hasher.finalize());
    Ok(VaeFile { vae, sha256 })
}

/// An autoencoder read from a folder.
pub struct VaeFile {
    /// The network.
    pub vae: Vae,
    /// SHA-256 of its configuration and tensors.
    pub sha256: String,
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let shown = path.display();
    let text = fs::read(path).with_context(|| {
        format!("{shown}: cannot be read; give a folder that diffusers' save_pretrained wrote")
    })?;
    serde_json::from_slice(&text).with_context(|| format!("{shown}: cannot be understood"))
}

/// What the files of a part's weights are called, the best first; each may have an `.index.json` instead that names shards.
const WEIGHTS: [&str; 4] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
];

/// All tensors of a part.
fn weights(folder: &Path) -> Result<Tensors> {
    for name in WEIGHTS {
        if folder.join(name).is_file() {
            return read(&folder.join(name));
        }
        // Where half precision is said has changed over time.
        let stem = name.replace(".fp16", "");
        let mut indices = vec![format!("{name}.index.json")];
        if stem != name {
            indices.push(format!("{stem}.index.fp16.json"));
            indices.push(format!("{stem}.fp16.index.json"));
        }
        for index in indices {
            let index = folder.join(index);
            if index.is_file() {
                return sharded(&index);
            }
        }
    }
    bail!(
        "{}: has none of {} (or an .index.json of one); copy the folder again",
        folder.display(),
        WEIGHTS.join(", ")
    )
}

fn read(path: &Path) -> Result<Tensors> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", shown()))?;
    Ok(tensors(bytes).with_context(shown)?.tensors)
}

/// Which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn sharded(path: &Path) -> Result<Tensors> {
    let shown = path.display();
    let Index { weight_map } = json(path)?;
    let files: BTreeSet<&String> = weight_map.values().collect();
    let mut all = Tensors::new();
    for file in files {
        let plain = Path::new(file)
            .file_name()
            .is_some_and(|name| name == file.as_str());
        ensure!(
            plain,
            "{shown}: names '{file}', which is no file beside it; copy the folder again"
        );
        all.extend(read(&path.with_file_name(file))?);
    }
    match weight_map.keys().find(|name| !all.contains_key(*name)) {
        Some(name) => bail!("{shown}: tensor '{name}' is in no shard; copy the folder again"),
        None => Ok(all),
    }
}

/// What is read of `scheduler/scheduler_config.json`.
#[derive(Deserialize)]
struct Scheduler {
    beta_schedule: String,
    #[serde(default = "thousand")]
    num_train_timesteps: usize,
    #[serde(default = "beta_start")]
    beta_start: f64,
    #[serde(default = "beta_end")]
    beta_end: f64,
    #[serde(default)]
    trained_betas: Option<serde_json::Value>,
    #[serde(default)]
    prediction_type: Option<String>,
    #[serde(default)]
    rescale_betas_zero_snr: bool,
}

fn thousand() -> usize {
    1000
}

fn beta_start() -> f64 {
    1e-4
}

fn beta_end() -> f64 {
    0.02
}

/// The noise schedule a pipeline says it was trained with.
fn schedule(folder: &Path) -> Result<Option<BetaSchedule>> {
    let path = folder.join("scheduler/scheduler_config.json");
    if !path.is_file() {
        let index = folder.join("model_index.json");
        let said: serde_json::Value = if index.is_file() {
            json(&index)?
        } else {
            serde_json::Value::Null
        };
        ensure!(
            !said["scheduler"][1].is_string(),
            "{}: is not there, and model_index.json says that it is; copy the folder again",
            path.display()
        );
        return Ok(None);
    }
    let scheduler: Scheduler = json(&path)?;
    let shown = path.display();
    ensure!(
        scheduler.num_train_timesteps == DIFFUSION_STEPS && scheduler.trained_betas.is_none(),
        "{shown}: a schedule of {} steps, or of betas of its own, is not known here; use a model of {DIFFUSION_STEPS} steps",
        scheduler.num_train_timesteps
    );
    let predicts = scheduler.prediction_type.as_deref().unwrap_or("epsilon");
    ensure!(
        predicts == "epsilon",
        "{shown}: prediction_type is '{predicts}'; only models that predict the noise (epsilon) can be used"
    );
    ensure!(
        !scheduler.rescale_betas_zero_snr,
        "{shown}: rescale_betas_zero_snr is true; only schedules that end with some signal can be used"
    );
    let betas = (scheduler.beta_start, scheduler.beta_end);
    match scheduler.beta_schedule.as_str() {
        "linear" if betas == (1e-4, 0.02) => Ok(Some(BetaSchedule::Linear)),
        "squaredcos_cap_v2" => Ok(Some(BetaSchedule::SquaredCosine)),
        other => bail!(
            "{shown}: the noise schedule '{other}' from {} to {} is not known here; a DiT's is linear from 0.0001 to 0.02, or \
             squaredcos_cap_v2",
            betas.0,
            betas.1
        ),
    }
}

#[cfg(test)]
mod tests {
    use dmp_model::denoiser::Denoiser;

    use super::*;

    /// What the exporter wrote for the tests of `dmp-model`.
    fn exported(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../dmp-model/tests/diffusers")
            .join(name)
    }

    /// A copy of it that may be changed.
    fn copied() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("transformer")).unwrap();
        for entry in fs::read_dir(exported("dit/transformer")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(
                entry.path(),
                folder.path().join("transformer").join(entry.file_name()),
            )
            .unwrap();
        }
        folder
    }

    #[test]
    fn a_sharded_pipeline_is_a_backbone_and_its_transformer_alone_too() {
        let device = Device::flex();
        let whole =
            super::super::open_backbone(exported("dit").to_str().unwrap(), &device).unwrap();
        assert_eq!(whole.model.layout().channels, 4);
        assert_eq!(whole.schedule, None);
        let alone = exported("dit/transformer");
        let alone = super::super::open_backbone(alone.to_str().unwrap(), &device).unwrap();
        assert_eq!(alone.fingerprint, whole.fingerprint);
        assert_eq!(
            open_vae(&exported("vae"), &device)
                .unwrap()
                .vae
                .config()
                .latent_channels,
            4
        );
    }

    #[test]
    fn a_scheduler_says_the_schedule() {
        let folder = copied();
        fs::create_dir(folder.path().join("scheduler")).unwrap();
        let say = |text: &str| {
            fs::write(folder.path().join("scheduler/scheduler_config.json"), text).unwrap();
            open(folder.path(), &Device::flex())
        };
        let said = say(r#"{"beta_schedule": "squaredcos_cap_v2", "clip_sample": false}"#).unwrap();
        assert_eq!(said.schedule, Some(BetaSchedule::SquaredCosine));
        let said = say(r#"{"beta_schedule": "linear", "beta_end": 0.02}"#).unwrap();
        assert_eq!(said.schedule, Some(BetaSchedule::Linear));
        let error = say(r#"{"beta_schedule": "scaled_linear", "beta_end": 0.012}"#).unwrap_err();
        assert!(error.to_string().contains("'scaled_linear'"), "{error}");
        for (field, says) in [
            (r#""prediction_type": "v_prediction""#, "'v_prediction'"),
            (
                r#""rescale_betas_zero_snr": true"#,
                "rescale_betas_zero_snr is true",
            ),
        ] {
            let text = format!(r#"{{"beta_schedule": "linear", {field}}}"#);
            let error = say(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        say(r#"{"beta_schedule": "linear", "prediction_type": "epsilon"}"#).unwrap();
    }

    #[test]
    fn a_pipelines_scheduler_must_be_there() {
        let folder = copied();
        let index = folder.path().join("model_index.json");
        fs::write(&index, r#"{"scheduler": ["diffusers", "DDIMScheduler"]}"#).unwrap();
        let error = open(folder.path(), &Device::flex())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("scheduler_config.json: is not there"),
            "{error}"
        );
        fs::write(&index, r#"{"scheduler": [null, null]}"#).unwrap();
        assert_eq!(open(folder.path(), &Device::flex()).unwrap().schedule, None);
    }

    #[test]
    fn hints_beside_a_checkpoint_are_no_folder_of_diffusers() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("config.json", r#"{"num_heads": 4}"#);
        write("0001.pt", "");
        assert!(!is_one(folder.path()));
        write("diffusion_pytorch_model.bin", "");
        assert!(is_one(folder.path()));
        fs::remove_file(folder.path().join("diffusion_pytorch_model.bin")).unwrap();
        write("config.json", r#"{"_class_name": "DiTTransformer2DModel"}"#);
        assert!(is_one(folder.path()));
    }

    #[test]
    fn what_is_not_whole_is_refused_by_name() {
        let folder = copied();
        let transformer = folder.path().join("transformer");
        let index = transformer.join("diffusion_pytorch_model.safetensors.index.json");
        let text = fs::read_to_string(&index).unwrap();
        let refused = |text: &str| {
            fs::write(&index, text).unwrap();
            format!("{:#}", open(folder.path(), &Device::flex()).unwrap_err())
        };
        let error = refused(&text.replace("diffusion_pytorch_model-00001", "../elsewhere"));
        assert!(
            error.contains("../elsewhere") && error.contains("no file beside it"),
            "{error}"
        );
        let error = refused(&text.replace("proj_out_1.bias", "proj_out_9.bias"));
        assert!(
            error.contains("'proj_out_9.bias' is in no shard"),
            "{error}"
        );
        fs::remove_file(&index).unwrap();
        let error = format!("{:#}", open(folder.path(), &Device::flex()).unwrap_err());
        assert!(
            error.contains("diffusion_pytorch_model.safetensors"),
            "{error}"
        );
    }
}
