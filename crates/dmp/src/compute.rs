//! How a backbone is computed: the number type of its products, and what its backward pass computes anew.

use anyhow::Result;
use burn::tensor::Device;
use clap::ValueEnum;
use dmp_model::dit::Dit;
use dmp_model::fused::{self, Checkpointing, Precision};
use serde::{Deserialize, Serialize};

/// What the products of a frozen backbone's blocks are computed in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dtype {
    /// f32 throughout
    #[default]
    F32,
    /// Frozen weights and what they are multiplied with in bf16, sums in f32; faster where the CPU has AMX or AVX-512-BF16
    Bf16,
}

impl Dtype {
    /// Refuses bf16 on a device without the kernels for it.
    ///
    /// # Errors
    /// The flag, and what to give instead.
    pub fn check(self, device: &Device) -> Result<()> {
        anyhow::ensure!(
            self == Self::F32 || fused::available(device),
            "--dtype bf16 is the CPU's so far; give --dtype f32, or --device cpu"
        );
        Ok(())
    }

    /// Packs the weights of a network that stays frozen for products in it.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn pack_weights(self, model: &mut Dit, device: &Device) -> Result<()> {
        self.check(device)?;
        model.pack_weights(match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        });
        Ok(())
    }
}

/// What is computed anew instead of being kept for the backward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointingName {
    /// Nothing: the fastest
    #[default]
    None,
    /// The MLPs' hidden values: about half the memory of activations, a tenth more work (a seventh where the backbone is frozen)
    Mlp,
    /// Everything but each block's input: a tenth of the memory of activations, a third more work (a half where the backbone is frozen)
    Block,
}

impl From<CheckpointingName> for Checkpointing {
    fn from(name: CheckpointingName) -> Self {
        match name {
            CheckpointingName::None => Self::None,
            CheckpointingName::Mlp => Self::Mlp,
            CheckpointingName::Block => Self::Block,
        }
    }
}
