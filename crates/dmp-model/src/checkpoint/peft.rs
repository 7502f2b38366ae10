//! LoRAs as PEFT keeps them: `adapter_model.safetensors` with the factors, and `adapter_config.json` with rank and alpha.

use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::Deserialize;
use serde_json::json;

use super::{CheckpointError, StoredType, TensorFile, Tensors, apply, check_finite, collect};
use crate::dit::DitConfig;
use crate::lora::{Lora, LoraConfig, Target, public_key};

/// What is read of an `adapter_config.json`.
#[derive(Debug, Deserialize)]
struct PeftConfig {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    lora_bias: bool,
    #[serde(default)]
    rank_pattern: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, serde_json::Value>,
}

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
    Kind(&'static str),
    /// Nothing of a DiT's blocks is adapted.
    #[error(
        "no tensor is named as base_model.model.blocks.0.attn.qkv.lora_A.weight is; give a LoRA of the public DiT's attn.qkv, attn.proj, mlp.fc1 or mlp.fc2"
    )]
    NoTargets,
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
    let file = TensorFile {
        tensors,
        // As PEFT's own says; without it other loaders refuse the file.
        metadata: [("format".to_owned(), "pt".to_owned())].into(),
    };
    Ok((format!("{config:#}\n"), file.to_bytes(StoredType::F32)?))
}

/// The LoRA of `backbone` that PEFT's files hold.
///
/// # Errors
/// When they are of another kind, or do not fit.
pub fn from_peft(
    config: &str,
    tensors: Tensors,
    backbone: &DitConfig,
    device: &Device,
) -> Result<Lora, PeftError> {
    let said: PeftConfig = serde_json::from_str(config)?;
    said.check().map_err(PeftError::Kind)?;
    let adapted = |target: &Target| {
        let ending = format!(".{}.lora_A.weight", target.path());
        tensors.keys().any(|name| name.ends_with(&ending))
    };
    let config = LoraConfig {
        alpha: said.lora_alpha,
        targets: Target::ALL.into_iter().filter(adapted).collect(),
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
    fn check(&self) -> Result<(), &'static str> {
        let bias = self.bias.as_deref().unwrap_or("none");
        let odd = [
            (self.peft_type != "LORA", "peft_type is not LORA"),
            (self.use_rslora, "use_rslora is true"),
            (self.use_dora, "use_dora is true"),
            (bias != "none" || self.lora_bias, "biases are trained too"),
            (
                !self.rank_pattern.is_empty(),
                "rank_pattern gives modules ranks of their own",
            ),
            (
                !self.alpha_pattern.is_empty(),
                "alpha_pattern gives modules alphas of their own",
            ),
        ];
        match odd.into_iter().find(|(is, _)| *is) {
            Some((_, what)) => Err(what),
            None => Ok(()),
        }
    }
}
