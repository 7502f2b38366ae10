//! The patch's file, shipped the way people ship LoRAs.
//!
//! Tensors `prompts.<block>` `[N, D]` (of a mixture `[N, T·D]`; of low rank `prompts.<block>.left` and `.right`), `gate.weight`
//! `[N, W+1]` and `gate.bias` `[N]` (and what other gates have; `gates.<block>.…` where blocks do not share one), `w_noise` `[W, N]`,
//! and `settings` `[5]`, `[9]` or `[10]` = position, gate, gate input (as numbered below), k, noise schedule and so on: what changes
//! the output is in tensors too, and a file whose metadata disagree with them is refused. Metadata: ModelSpec 1.0.1 keys,
//! `dmp.config` (JSON), `dmp.schedule` and `dmp.base_sha256`, the fingerprint of the backbone.

use burn::tensor::Device;
use dmp_math::schedule::BetaSchedule;

use super::addition::{AdditionKind, PatchMetadata};
use super::schedule::schedule_number;
use super::{
    CheckpointError, HostTensor, StoredType, TensorFile, apply, check_finite, check_size, collect,
};
use crate::patch::{GateInput, GateKind, GateSharing, Patch, PatchConfig, Position};

const SETTINGS: &str = "settings";

/// A patch read from a file.
#[derive(Debug, Clone)]
pub struct PatchFile {
    /// The patch.
    pub patch: Patch,
    /// What the file says of itself.
    pub metadata: PatchMetadata,
}

/// Reads a patch strictly.
pub fn load_patch(mut file: TensorFile, device: &Device) -> Result<PatchFile, CheckpointError> {
    let config: PatchConfig = AdditionKind::Patch.config(&file)?;
    let tokens = match config.position {
        Position::Mix => config.prompt_tokens,
        Position::Add | Position::Prepend | Position::Both => config.num_prompts,
    };
    config.validate(tokens, config.hidden_size, config.depth)?;
    check_size(config.trained_params(), &file.tensors)?;
    check_finite(&file.tensors)?;
    let metadata = PatchMetadata::read(&file, AdditionKind::Patch)?;
    let bad = |reason| AdditionKind::Patch.bad_config(reason);
    match file.tensors.remove(SETTINGS) {
        Some(found) if found == settings(&config, metadata.schedule) => {}
        Some(_) => return Err(bad(format!("it disagrees with the tensor '{SETTINGS}'"))),
        None => {
            return Err(bad(format!(
                "the tensor '{SETTINGS}' that repeats it is missing"
            )));
        }
    }
    let patch = apply(Patch::zeroed(&config, device), file.tensors, str::to_owned)?;
    Ok(PatchFile { patch, metadata })
}

/// The file of a patch.
pub fn patch_bytes(patch: &Patch, metadata: &PatchMetadata) -> Result<Vec<u8>, CheckpointError> {
    let mut tensors = collect(patch, str::to_owned);
    check_finite(&tensors)?;
    tensors.insert(
        SETTINGS.to_owned(),
        settings(patch.config(), metadata.schedule),
    );
    let metadata = metadata.entries(AdditionKind::Patch, patch.config(), &tensors)?;
    Ok(TensorFile { tensors, metadata }.to_bytes(StoredType::F32)?)
}

/// The numbered choices: position, gate, gate input, k, noise schedule; and, unless all are as in the paper, temperature,
/// whether blocks share the gate, and the prompts' grid; and the timestep below which it acts, unless it acts at all of them.
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
    let schedule = schedule_number(schedule);
    let mut values = vec![position, gate, input, config.k() as f32, schedule];
    let sharing = match config.gate_sharing {
        GateSharing::Shared => 0.0,
        GateSharing::PerBlock => 1.0,
    };
    let [rows, columns] = config.grid.unwrap_or_default().map(|side| side as f32);
    let more = [config.temperature as f32, sharing, rows, columns];
    if more != [1.0, 0.0, 0.0, 0.0] || config.patch_below.is_some() {
        values.extend(more);
    }
    values.extend(config.patch_below.map(|below| below as f32));
    HostTensor {
        shape: vec![values.len()],
        values,
    }
}
