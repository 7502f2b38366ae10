//! What the samples came to, kept as a reference for later.

use std::path::Path;

use anyhow::{Context, Result, bail};
use dmp_math::moments::Gaussian;
use dmp_model::checkpoint::{HostTensor, StoredType, TensorFile, Tensors};

use crate::evaluate::figures::{pooled, spatial};
use crate::evaluate::side::Side;
use crate::npz::Npz;
use crate::output::{check_target, write_atomic};

/// A file to be written, and what it holds.
pub(super) struct Save<'a> {
    path: &'a Path,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    Features,
    Statistics,
}

impl<'a> Save<'a> {
    /// Refuses what could not be written.
    pub(super) fn to(path: &'a Path) -> Result<Self> {
        let form = match path.extension().and_then(|ending| ending.to_str()) {
            Some("safetensors") => Form::Features,
            Some("npz") => Form::Statistics,
            _ => bail!(
                "--save {}: features are written as .safetensors and statistics as .npz; give a name that ends so",
                path.display()
            ),
        };
        check_target(path)?;
        Ok(Self { path, form })
    }

    /// Writes what `side` came to.
    pub(super) fn write(&self, side: &Side<'_>) -> Result<()> {
        let bytes = match self.form {
            Form::Features => features(side),
            Form::Statistics => statistics(side),
        };
        let bytes = bytes.with_context(|| format!("--save {}", self.path.display()))?;
        Ok(write_atomic(self.path, &bytes)?)
    }
}

fn features(side: &Side<'_>) -> Result<Vec<u8>> {
    let tensors = match side {
        Side::Inception(extracted) => {
            let mut tensors = extracted.tensors();
            let pool = tensors.remove("pool");
            tensors.extend(pool.map(|pool| ("features".to_owned(), pool)));
            tensors
        }
        Side::Features(features) => Tensors::from([(
            "features".to_owned(),
            HostTensor {
                shape: vec![features.values.len() / features.dim.max(1), features.dim],
                values: features.values.clone(),
            },
        )]),
        Side::Statistics(_) | Side::Images(_) => {
            bail!("the samples are statistics, not features; give a name that ends in .npz")
        }
    };
    let file = TensorFile {
        tensors,
        ..TensorFile::default()
    };
    Ok(file.to_bytes(StoredType::F32)?)
}

fn statistics(side: &Side<'_>) -> Result<Vec<u8>> {
    let mut archive = Npz::default();
    let mut add = |[mean, covariance]: [&str; 2], gaussian: Gaussian| -> Result<()> {
        let dim = gaussian.mean.len() as u64;
        archive.array(mean, &[dim], gaussian.mean)?;
        archive.array(covariance, &[dim, dim], gaussian.covariance)
    };
    add(["mu", "sigma"], pooled(side)?)?;
    if let Some(gaussian) = spatial(side)? {
        add(["mu_s", "sigma_s"], gaussian)?;
    }
    archive.finish()
}
