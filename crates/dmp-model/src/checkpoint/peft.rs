//! LoRAs as PEFT keeps them: `adapter_model.safetensors` with the factors, and `adapter_config.json` with rank and alpha.
//!
//! PEFT's act at all timesteps. A limit of ours is in the metadata of the first, where PEFT does not look, and is found there again.

use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CheckpointError, StoredType, TensorFile, apply, check_finite, collect};
use crate::dit::DitConfig;
use crate::lora::{LIMIT_KEY, Lora, LoraConfig, Target, public_key};

/// What is read of an `adapter_config.json`.
#[derive(Debug, Deserialize)]
struct PeftConfig {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    init_lora_weights: Value,
    /// Everything else.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// What changes nothing of the model that the factors make, whatever it says.
const HARMLESS: [&str; 15] = [
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "lora_dropout",
    "low_cpu_mem_usage",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "target_modules",
    "task_type",
];

/// Starts that leave the backbone's weights as they are; others (PiSSA, OLoRA, CorDA, LoftQ, …) take from them what they put into the
/// factors.
const PLAIN_STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// Why a LoRA of PEFT's cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PeftError {
    /// The configuration is none.
    #[error(
        "adapter_config.json: cannot be understood ({0}); give one that PEFT's save_pretrained wrote"
    )]
    Config(#[from] serde_json::Error),
    /// A kind that is not computed here.
    #[error("adapter_config.json: {0}; only plain LoRAs of one rank and alpha can be used")]
    Kind(String),
    /// Nothing of a DiT's blocks is adapted.
    #[error(
        "no tensor is named as base_model.model.blocks.0.attn.qkv.lora_A.weight is; give a LoRA of the public DiT's attn.qkv, attn.proj, mlp.fc1 or mlp.fc2"
    )]
    NoTargets,
    /// A limit that is no number.
    #[error("the metadata's {LIMIT_KEY} is no timestep; export it again")]
    Limit,
    /// Tensors or sizes that do not fit the backbone.
    #[error(transparent)]
    Tensors(#[from] CheckpointError),
}

/// `adapter_config.json` and `adapter_model.safetensors` of a LoRA, for `PeftModel.from_pretrained` on the public DiT.
///
/// # Errors
/// When a value is no number.
pub fn peft_files(lora: &Lora) -> Result<(String, Vec<u8>), CheckpointError> {
    let LoraConfig {
        rank,
        alpha,
        targets,
        patch_below,
        ..
    } = lora.config();
    let modules: Vec<&str> = targets.iter().map(|target| target.path()).collect();
    let config = json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": null,
        "inference_mode": true,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": modules,
    });
    let tensors = collect(lora, public_key);
    check_finite(&tensors)?;
    // As PEFT's own says; without it other loaders refuse the file.
    let format = ("format".to_owned(), "pt".to_owned());
    let limit = patch_below.map(|below| (LIMIT_KEY.to_owned(), below.to_string()));
    let file = TensorFile {
        tensors,
        metadata: [format].into_iter().chain(limit).collect(),
    };
    Ok((format!("{config:#}\n"), file.to_bytes(StoredType::F32)?))
}

/// The LoRA of `backbone` that PEFT's files hold.
///
/// # Errors
/// When they are of another kind, or do not fit.
pub fn from_peft(
    config: &str,
    file: TensorFile,
    backbone: &DitConfig,
    device: &Device,
) -> Result<Lora, PeftError> {
    let said: PeftConfig = serde_json::from_str(config)?;
    said.check().map_err(PeftError::Kind)?;
    let TensorFile { tensors, metadata } = file;
    let below = metadata.get(LIMIT_KEY).map(|below| below.parse());
    let adapted = |target: &Target| {
        let ending = format!(".{}.lora_A.weight", target.path());
        tensors.keys().any(|name| name.ends_with(&ending))
    };
    let config = LoraConfig {
        alpha: said.lora_alpha,
        targets: Target::ALL.into_iter().filter(adapted).collect(),
        patch_below: below.transpose().map_err(|_| PeftError::Limit)?,
        ..LoraConfig::new(said.r, backbone)
    };
    if config.targets.is_empty() {
        return Err(PeftError::NoTargets);
    }
    config.validate(backbone).map_err(CheckpointError::from)?;
    check_finite(&tensors)?;
    let lora = Lora::zeroed(&config, device);
    Ok(apply(lora, tensors, public_key).map_err(CheckpointError::from)?)
}

impl PeftConfig {
    /// Says what is not plain about it.
    fn check(&self) -> Result<(), String> {
        if self.peft_type != "LORA" {
            return Err("peft_type is not LORA".to_owned());
        }
        if self.bias.as_deref().is_some_and(|bias| bias != "none") {
            return Err("bias says that biases are trained too".to_owned());
        }
        let plain = match &self.init_lora_weights {
            Value::Null | Value::Bool(_) => true,
            Value::String(start) => PLAIN_STARTS.contains(&start.as_str()),
            _ => false,
        };
        if !plain {
            return Err(format!(
                "init_lora_weights is {}, which changes the backbone's weights",
                self.init_lora_weights
            ));
        }
        let says_nothing = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        let odd = self
            .others
            .iter()
            .find(|(key, value)| !HARMLESS.contains(&key.as_str()) && !says_nothing(value));
        match odd {
            Some((key, value)) => Err(format!("{key} is {value}")),
            None => Ok(()),
        }
    }
}
