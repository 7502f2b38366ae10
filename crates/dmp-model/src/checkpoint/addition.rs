//! What files that add to a backbone say of themselves, patches and LoRAs alike: ModelSpec 1.0.1 keys, the backbone's
//! fingerprint, the noise schedule, and a configuration whose key tells the kinds apart.

use std::collections::BTreeMap;

use dmp_math::schedule::BetaSchedule;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::schedule::{SCHEDULE_KEY, schedule_in};
use super::{CheckpointError, TensorFile, Tensors, hex};

const BASE_KEY: &str = "dmp.base_sha256";

/// What is put on a backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdditionKind {
    /// Prompts and a gate.
    Patch,
    /// Low-rank changes of its weights.
    Lora,
    /// What a patch comes to at each step of one sampler.
    Baked,
}

impl AdditionKind {
    /// What the file says it holds, if that is one of them.
    pub fn of(file: &TensorFile) -> Option<Self> {
        [Self::Patch, Self::Lora, Self::Baked]
            .into_iter()
            .find(|kind| file.metadata.contains_key(kind.config_key()))
    }

    /// Metadata key of the configuration.
    fn config_key(self) -> &'static str {
        match self {
            Self::Patch => "dmp.config",
            Self::Lora => "dmp.lora",
            Self::Baked => "dmp.baked",
        }
    }

    /// What a user calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Lora => "LoRA",
            Self::Baked => "baked patch",
        }
    }

    /// What follows the backbone's name in ModelSpec's architecture.
    fn suffix(self) -> &'static str {
        match self {
            Self::Patch => "/dmp",
            Self::Lora => "/lora",
            Self::Baked => "/dmp-baked",
        }
    }

    /// ModelSpec's reference implementation.
    fn implementation(self) -> &'static str {
        match self {
            Self::Patch | Self::Baked => "https://github.com/sangminwoo/DMP",
            Self::Lora => "https://github.com/microsoft/LoRA",
        }
    }

    /// The configuration cannot be used.
    pub(super) fn bad_config(self, reason: String) -> CheckpointError {
        CheckpointError::Metadata {
            key: self.config_key(),
            reason,
        }
    }

    /// The configuration in a file.
    pub(super) fn config<C: DeserializeOwned>(
        self,
        file: &TensorFile,
    ) -> Result<C, CheckpointError> {
        let json = file.metadata.get(self.config_key()).ok_or_else(|| {
            let name = self.name();
            self.bad_config(format!(
                "it is not there: this is no {name} of this program"
            ))
        })?;
        serde_json::from_str(json).map_err(|error| self.bad_config(error.to_string()))
    }
}

/// What the file of a patch or a LoRA says of itself besides its tensors.
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

impl PatchMetadata {
    /// Refuses any backbone but the one it was trained on.
    pub fn check_backbone(&self, fingerprint: &str) -> Result<(), CheckpointError> {
        if self.base_sha256 == fingerprint {
            return Ok(());
        }
        let short = |hash: &str| hash.chars().take(12).collect();
        Err(CheckpointError::WrongBackbone {
            expected: short(&self.base_sha256),
            actual: short(fingerprint),
        })
    }

    /// Those of a file of this kind.
    pub(super) fn read(file: &TensorFile, kind: AdditionKind) -> Result<Self, CheckpointError> {
        let text = |key: &str| file.metadata.get(key).cloned().unwrap_or_default();
        let schedule = schedule_in(file)?.ok_or(CheckpointError::Metadata {
            key: SCHEDULE_KEY,
            reason: "it is not there".to_owned(),
        })?;
        if !file.metadata.contains_key(BASE_KEY) {
            return Err(CheckpointError::Metadata {
                key: BASE_KEY,
                reason: "it is not there".to_owned(),
            });
        }
        Ok(Self {
            base_sha256: text(BASE_KEY),
            schedule,
            architecture: text("modelspec.architecture")
                .trim_end_matches(kind.suffix())
                .to_owned(),
            title: text("modelspec.title"),
            resolution: text("modelspec.resolution"),
            date: text("modelspec.date"),
        })
    }

    /// Their entries in a file of this kind with these tensors.
    pub(super) fn entries(
        &self,
        kind: AdditionKind,
        config: &impl Serialize,
        tensors: &Tensors,
    ) -> Result<BTreeMap<String, String>, CheckpointError> {
        let json =
            serde_json::to_string(config).map_err(|error| kind.bad_config(error.to_string()))?;
        let entries = [
            ("format", "pt".to_owned()),
            ("modelspec.sai_model_spec", "1.0.1".to_owned()),
            (
                "modelspec.architecture",
                format!("{}{}", self.architecture, kind.suffix()),
            ),
            ("modelspec.implementation", kind.implementation().to_owned()),
            ("modelspec.title", self.title.clone()),
            ("modelspec.resolution", self.resolution.clone()),
            ("modelspec.date", self.date.clone()),
            ("modelspec.hash_sha256", content_hash(tensors)),
            (BASE_KEY, self.base_sha256.clone()),
            (SCHEDULE_KEY, self.schedule.name().to_owned()),
            (kind.config_key(), json),
        ];
        Ok(entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect())
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
