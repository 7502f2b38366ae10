//! The backbone's file: public DiT key names, configuration as JSON in the metadata.

use burn::module::Module;
use burn::tensor::Device;
use dmp_math::schedule::BetaSchedule;

use super::schedule::{SCHEDULE_KEY, schedule_in};
use super::{
    CheckpointError, Hints, StoredType, TensorFile, apply, check_finite, check_size, collect,
    fingerprint,
};
use crate::dit::{Dit, DitConfig, public_key};

/// Metadata key of the configuration.
const CONFIG_KEY: &str = "dmp.backbone";

/// A backbone read from a file.
#[derive(Debug, Clone)]
pub struct BackboneFile {
    /// The network, not requiring gradients.
    pub model: Dit,
    /// SHA-256 of its tensors; see [`fingerprint`].
    pub fingerprint: String,
    /// The noise schedule it was trained with, if the file says; public checkpoints do not.
    pub schedule: Option<BetaSchedule>,
}

/// Whether the file's metadata hold the sizes of its backbone.
pub fn describes_itself(file: &TensorFile) -> bool {
    file.metadata.contains_key(CONFIG_KEY)
}

/// Reads a backbone strictly. Its sizes are those of `config`, else of the file's metadata, else what the shapes of a
/// published DiT say.
pub fn load_backbone(
    file: TensorFile,
    config: Option<&DitConfig>,
    device: &Device,
) -> Result<BackboneFile, CheckpointError> {
    let config = match (config, file.metadata.get(CONFIG_KEY)) {
        (Some(config), _) => config.clone(),
        (None, Some(json)) => {
            serde_json::from_str(json).map_err(|error| CheckpointError::Metadata {
                key: CONFIG_KEY,
                reason: error.to_string(),
            })?
        }
        (None, None) => DitConfig::infer(&file.tensors, &Hints::default())?,
    };
    config.validate()?;
    check_size(config.num_params(), &file.tensors)?;
    check_finite(&file.tensors)?;
    let schedule = schedule_in(&file)?;
    let fingerprint = fingerprint(&file.tensors);
    let model = apply(
        Dit::zeroed(&config, device).no_grad(),
        file.tensors,
        public_key,
    )?;
    Ok(BackboneFile {
        model,
        fingerprint,
        schedule,
    })
}

/// The file of a backbone trained with `schedule`.
pub fn backbone_bytes(
    model: &Dit,
    schedule: BetaSchedule,
    stored: StoredType,
) -> Result<Vec<u8>, CheckpointError> {
    let json =
        serde_json::to_string(model.config()).map_err(|error| CheckpointError::Metadata {
            key: CONFIG_KEY,
            reason: error.to_string(),
        })?;
    let mut file = TensorFile {
        tensors: collect(model, public_key),
        ..Default::default()
    };
    check_finite(&file.tensors)?;
    file.metadata.insert("format".to_owned(), "pt".to_owned());
    file.metadata.insert(CONFIG_KEY.to_owned(), json);
    file.metadata
        .insert(SCHEDULE_KEY.to_owned(), schedule.name().to_owned());
    Ok(file.to_bytes(stored)?)
}
