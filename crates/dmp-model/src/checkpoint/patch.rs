//! The patch's file, shipped the way people ship LoRAs.
//!
//! Tensors `prompts.<block>` `[N, D]` (of a mixture `[N, T·D]`; of low rank `prompts.<block>.left` and `.right`), `gate.weight`
//! `[N, W+1]` and `gate.bias` `[N]` (and what other gates have; `gates.<block>.…` where blocks do not share one), `w_noise` `[W, N]`,
//! and `settings` `[5]` or `[9]` = position, gate, gate input (as numbered below), k, noise schedule and so on: what changes
//! the output is in tensors too, and a file whose metadata disagree with them is refused. Metadata: ModelSpec 1.0.1 keys,
//! `dmp.config` (JSON), `dmp.schedule` and `dmp.base_sha256`, the fingerprint of the backbone.

use burn::tensor::Device;
use dmp_math::schedule::BetaSchedule;
use sha2::{Digest, Sha256};

use super::schedule::{SCHEDULE_KEY, schedule_in};
use super::{
    CheckpointError, HostTensor, StoredType, TensorFile, Tensors, apply, check_finite, check_size,
    collect, hex,
};
use crate::patch::{GateInput, GateKind, GateSharing, Patch, PatchConfig, Position};

const CONFIG_KEY: &str = "dmp.config";
const BASE_KEY: &str = "dmp.base_sha256";
const SETTINGS: &str = "settings";

/// What a patch file says of itself besides its tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PatchMetadata {
    /// Fingerprint of the backbone it was trained on.
    pub base_sha256: String,
    /// Noise schedule it was trained with.
    pub schedule: BetaSchedule,
    /// Architecture of that backbone, as in `dit`.
    pub architecture: String,
    /// A name for people.
    pub title: String,
    /// `<width>x<height>` it was trained at.
    pub resolution: String,
    /// Day it was made, `YYYY-MM-DD`.
    pub date: String,
}

/// A patch read from a file.
#[derive(Debug, Clone)]
pub struct PatchFile {
    /// The patch.
    pub patch: Patch,
    /// What the file says of itself.
    pub metadata: PatchMetadata,
}

impl PatchFile {
    /// Refuses any backbone but the one the patch was trained on.
    pub fn check_backbone(&self, fingerprint: &str) -> Result<(), CheckpointError> {
        if self.metadata.base_sha256 == fingerprint {
            return Ok(());
        }
        let short = |hash: &str| hash.chars().take(12).collect();
        Err(CheckpointError::WrongBackbone {
            expected: short(&self.metadata.base_sha256),
            actual: short(fingerprint),
        })
    }
}

/// Reads a patch strictly.
pub fn load_patch(mut file: TensorFile, device: &Device) -> Result<PatchFile, CheckpointError> {
    let text = |key: &str| file.metadata.get(key).cloned().unwrap_or_default();
    let bad = |reason: String| CheckpointError::Metadata {
        key: CONFIG_KEY,
        reason,
    };
    let json = file
        .metadata
        .get(CONFIG_KEY)
        .ok_or_else(|| bad("it is not there: this is no patch of this program".into()))?;
    let config: PatchConfig = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
    let tokens = match config.position {
        Position::Mix => config.prompt_tokens,
        Position::Add | Position::Prepend | Position::Both => config.num_prompts,
    };
    config.validate(tokens, config.hidden_size, config.depth)?;
    check_size(config.trained_params(), &file.tensors)?;
    check_finite(&file.tensors)?;
    let schedule = schedule_in(&file)?.ok_or(CheckpointError::Metadata {
        key: SCHEDULE_KEY,
        reason: "it is not there".to_owned(),
    })?;
    match file.tensors.remove(SETTINGS) {
        Some(found) if found == settings(&config, schedule) => {}
        Some(_) => return Err(bad(format!("it disagrees with the tensor '{SETTINGS}'"))),
        None => {
            return Err(bad(format!(
                "the tensor '{SETTINGS}' that repeats it is missing"
            )));
        }
    }
    let metadata = PatchMetadata {
        base_sha256: text(BASE_KEY),
        schedule,
        architecture: text("modelspec.architecture")
            .trim_end_matches("/dmp")
            .to_owned(),
        title: text("modelspec.title"),
        resolution: text("modelspec.resolution"),
        date: text("modelspec.date"),
    };
    let patch = apply(Patch::zeroed(&config, device), file.tensors, str::to_owned)?;
    Ok(PatchFile { patch, metadata })
}

/// The file of a patch.
pub fn patch_bytes(patch: &Patch, metadata: &PatchMetadata) -> Result<Vec<u8>, CheckpointError> {
    let json =
        serde_json::to_string(patch.config()).map_err(|error| CheckpointError::Metadata {
            key: CONFIG_KEY,
            reason: error.to_string(),
        })?;
    let mut tensors = collect(patch, str::to_owned);
    check_finite(&tensors)?;
    tensors.insert(
        SETTINGS.to_owned(),
        settings(patch.config(), metadata.schedule),
    );
    let entries = [
        ("format", "pt".to_owned()),
        ("modelspec.sai_model_spec", "1.0.1".to_owned()),
        (
            "modelspec.architecture",
            format!("{}/dmp", metadata.architecture),
        ),
        (
            "modelspec.implementation",
            "https://github.com/sangminwoo/DMP".to_owned(),
        ),
        ("modelspec.title", metadata.title.clone()),
        ("modelspec.resolution", metadata.resolution.clone()),
        ("modelspec.date", metadata.date.clone()),
        ("modelspec.hash_sha256", content_hash(&tensors)),
        (BASE_KEY, metadata.base_sha256.clone()),
        (SCHEDULE_KEY, metadata.schedule.name().to_owned()),
        (CONFIG_KEY, json),
    ];
    let metadata = entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    Ok(TensorFile { tensors, metadata }.to_bytes(StoredType::F32)?)
}

/// The numbered choices: position, gate, gate input, k, noise schedule; and, unless all are as in the paper, temperature,
/// whether blocks share the gate, and the prompts' grid.
fn settings(config: &PatchConfig, schedule: BetaSchedule) -> HostTensor {
    let position = match config.position {
        Position::Add => 0.0,
        Position::Prepend => 1.0,
        Position::Mix => 2.0,
        Position::Both => 3.0,
    };
    let gate = match config.gate {
        GateKind::None => 0.0,
        GateKind::Uniform => 1.0,
        GateKind::Linear => 2.0,
        GateKind::Mlp => 3.0,
        GateKind::Attention => 4.0,
    };
    let input = match config.gate_input {
        GateInput::Conditioning => 0.0,
        GateInput::Timestep => 1.0,
        GateInput::Both => 2.0,
    };
    let schedule = match schedule {
        BetaSchedule::Linear => 0.0,
        BetaSchedule::SquaredCosine => 1.0,
    };
    let mut values = vec![position, gate, input, config.k() as f32, schedule];
    let sharing = match config.gate_sharing {
        GateSharing::Shared => 0.0,
        GateSharing::PerBlock => 1.0,
    };
    let [rows, columns] = config.grid.unwrap_or_default().map(|side| side as f32);
    let more = [config.temperature as f32, sharing, rows, columns];
    if more != [1.0, 0.0, 0.0, 0.0] {
        values.extend(more);
    }
    HostTensor {
        shape: vec![values.len()],
        values,
    }
}

/// ModelSpec's hash: SHA-256 of the tensor bytes, in the order of the file.
fn content_hash(tensors: &Tensors) -> String {
    let mut hasher = Sha256::new();
    for tensor in tensors.values() {
        tensor
            .values
            .iter()
            .for_each(|value| hasher.update(value.to_le_bytes()));
    }
    format!("0x{}", hex(&hasher.finalize()))
}
