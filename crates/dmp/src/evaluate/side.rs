//! What is compared: images, statistics of features, or features, from whatever a user names.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use dmp_math::moments::Gaussian;
use dmp_model::checkpoint::{HostTensor, TensorFile, Tensors};

use super::extract::Extracted;
use super::pictures::Pictures;
use crate::data::Source;
use crate::npz::NpzFile;

/// One side of a comparison, opened.
pub enum Side<'a> {
    /// Images, whose features are still to be taken.
    Images(Pictures<'a>),
    /// Inception's features.
    Inception(Extracted),
    /// Mean and covariance of Inception's features, as other evaluators save them.
    Statistics(Statistics),
    /// Features that another program has taken.
    Features(Features),
}

/// Mean and covariance.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Of the pooled features.
    pub pool: Gaussian,
    /// Of the spatial ones.
    pub spatial: Option<Gaussian>,
}

/// Rows of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// `[count, dim]`.
    pub values: Vec<f32>,
    /// Width of a row.
    pub dim: usize,
}

impl Side<'_> {
    /// Images, or rows of features; statistics do not say of how many they are.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::Images(pictures) => Some(pictures.count),
            Self::Inception(extracted) => Some(extracted.count),
            Self::Features(features) => Some(features.values.len() / features.dim.max(1)),
            Self::Statistics(_) => None,
        }
    }
}

/// Opens images (a folder, a tar or parquet file, an `.npz`), an `.npz` of statistics, or a `.safetensors` of features.
pub fn open(path: &Path) -> Result<Side<'static>> {
    let images = || {
        let source = Source::open(&path.display().to_string())?;
        Ok(Side::Images(Pictures::of(source)))
    };
    if path.is_dir() {
        return images();
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    match ending.map(str::to_lowercase).as_deref() {
        Some("npz") => match statistics(path)? {
            Some(statistics) => Ok(Side::Statistics(statistics)),
            None => images(),
        },
        Some("tar" | "parquet") => images(),
        Some("safetensors") => features(path),
        _ => bail!(
            "{}: give a folder of images, a .tar or .parquet of them, an .npz of images ('arr_0') or of statistics \
             ('mu', 'sigma'), or a .safetensors of features",
            path.display()
        ),
    }
}

/// `mu` and `sigma`, and `mu_s` and `sigma_s` if they are there; `None` for an archive of something else.
fn statistics(path: &Path) -> Result<Option<Statistics>> {
    let shown = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{shown}: cannot be read"))?;
    let mut archive = NpzFile::new(file).with_context(|| shown.clone())?;
    if !archive.has("mu") && !archive.has("sigma") {
        return Ok(None);
    }
    let spatial = archive.has("mu_s") && archive.has("sigma_s");
    let mut gaussian = |mean: &str, sigma: &str| -> Result<Gaussian> {
        let mean = numbers(&mut archive, mean).with_context(|| shown.clone())?;
        let covariance = numbers(&mut archive, sigma).with_context(|| shown.clone())?;
        ensure!(
            covariance.len() == mean.len() * mean.len(),
            "{shown}: a covariance of {} numbers does not belong to a mean of {}",
            covariance.len(),
            mean.len()
        );
        ensure!(
            is_covariance(&covariance, mean.len()),
            "{shown}: '{sigma}' is not symmetric or has a negative variance, so that it is no covariance; make the statistics again"
        );
        Ok(Gaussian {
            // Such files do not say of how many images they are.
            count: 0,
            mean,
            covariance,
        })
    };
    let pool = gaussian("mu", "sigma")?;
    let spatial = spatial.then(|| gaussian("mu_s", "sigma_s")).transpose()?;
    Ok(Some(Statistics { pool, spatial }))
}

/// Symmetric but for rounding, with no variance below zero.
fn is_covariance(values: &[f64], dim: usize) -> bool {
    let largest = (0..dim).map(|i| values[i * dim + i]).fold(0.0, f64::max);
    let tolerance = 1e-5 * largest;
    (0..dim).all(|i| {
        values[i * dim + i] >= -tolerance
            && (0..i).all(|j| (values[i * dim + j] - values[j * dim + i]).abs() <= tolerance)
    })
}

fn numbers(archive: &mut NpzFile<File>, name: &str) -> Result<Vec<f64>> {
    let array = archive.array(name)?;
    array.floats().with_context(|| format!("'{name}'"))
}

/// The one tensor `[count, dim]` of a file, or that named `features`.
/// Features of another program, or all that `--save` keeps of Inception's.
fn features(path: &Path) -> Result<Side<'static>> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("{shown}: cannot be read"))?;
    let mut tensors = TensorFile::from_bytes(&bytes)
        .with_context(|| shown.clone())?
        .tensors;
    let named = tensors.remove("features");
    if let (Some(pool), true) = (&named, tensors.contains_key("spatial")) {
        let all = Tensors::from([("pool".to_owned(), pool.clone())]);
        let extracted = Extracted::from_tensors(all.into_iter().chain(tensors).collect());
        let whole = extracted.filter(Extracted::is_whole).with_context(|| {
            format!("{shown}: its tensors are not of as many images each, or not Inception's; save them again")
        })?;
        return Ok(Side::Inception(whole));
    }
    let HostTensor { shape, values } = match named {
        Some(tensor) => tensor,
        None if tensors.len() == 1 => tensors
            .pop_first()
            .map(|(_, tensor)| tensor)
            .with_context(|| shown.clone())?,
        None => bail!("{shown}: has no tensor 'features' and not just one other"),
    };
    let &[_, dim] = shape.as_slice() else {
        bail!("{shown}: features of shape {shape:?}; give [count, width]");
    };
    Ok(Side::Features(Features { values, dim }))
}
