//! The folder of `--out`: what its images were drawn with and which are there, so that drawing goes on where it was stopped and
//! images of two samplings never mix.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use dmp_math::schedule::BetaSchedule;
use dmp_model::denoiser::ImageLayout;
use serde::Serialize;

use crate::data::picture::Picture;
use crate::models::{Identity, Model};
use crate::output::write_atomic;
use crate::run::first_difference;
use crate::sampling::SamplingArgs;

/// The file in the folder that says what the images were drawn with.
const SETTINGS: &str = "sampling.toml";

/// What may differ: an image depends neither on how many there are nor, but for rounding, on how many are drawn at a time, and an
/// autoencoder is known by its contents.
const FREE: [&str; 3] = ["sampling.count", "sampling.batch", "sampling.vae"];

#[derive(Serialize)]
struct Settings<'a> {
    schedule: BetaSchedule,
    model: &'a Identity,
    sampling: &'a SamplingArgs,
}

/// A folder that images of one sampling go into.
pub struct ImageFolder {
    root: PathBuf,
    layout: ImageLayout,
    /// Its images are there from the first on, without a gap.
    there: usize,
}

impl ImageFolder {
    /// Makes the folder, or opens one that has images of this sampling.
    ///
    /// # Errors
    /// When it cannot be made, or has images of another sampling or of a longer one.
    pub fn open(root: &Path, model: &Model, sampling: &SamplingArgs) -> Result<Self> {
        let shown = root.display();
        fs::create_dir_all(root).with_context(|| {
            format!("--out {shown}: is no folder and cannot be made one; give another")
        })?;
        let numbers = numbers(root).with_context(|| format!("--out {shown}"))?;
        if let Some(last) = numbers.last().filter(|&&last| last >= sampling.count) {
            anyhow::bail!(
                "--out {shown}: {last:06}.png there is of a sampling of more than {} images; remove it, or give another folder",
                sampling.count
            );
        }
        ensure!(
            i64::try_from(sampling.seed).is_ok(),
            "--seed {} is above {}, the largest that a folder of images keeps; give a smaller one",
            sampling.seed,
            i64::MAX
        );
        let settings = toml::to_string(&Settings {
            schedule: model.schedule,
            model: model.identity(),
            sampling,
        })
        .with_context(|| format!("--out {shown}: {SETTINGS}"))?;
        let path = root.join(SETTINGS);
        if !numbers.is_empty() {
            let found = fs::read_to_string(&path).ok();
            let found = found.filter(|text| text.parse::<toml::Table>().is_ok());
            let found = found.with_context(|| {
                format!(
                    "--out {shown}: has images, and no {SETTINGS} that says what they were drawn with; remove them, or give \
                     another folder"
                )
            })?;
            if let Some(difference) = first_difference(&found, &settings, &FREE) {
                anyhow::bail!(
                    "--out {shown}: its images were drawn with other settings ({difference}); give another folder, or remove it"
                );
            }
        }
        write_atomic(&path, settings.as_bytes())?;
        let there = (0..).take_while(|number| numbers.contains(number)).count();
        Ok(Self {
            root: root.to_owned(),
            layout: model.image_layout(),
            there,
        })
    }

    /// Images that need not be drawn: those before the first that is missing.
    pub fn there(&self) -> usize {
        self.there
    }

    /// The file of an image.
    pub fn path(&self, index: usize) -> PathBuf {
        self.root.join(format!("{index:06}.png"))
    }

    /// Pixels `[C, H, W]` of an image that is there.
    ///
    /// # Errors
    /// When it is not an image of this model any more.
    pub fn read(&self, index: usize) -> Result<Vec<u8>> {
        let (path, layout) = (self.path(index), self.layout);
        let damaged = || format!("{}: is damaged; remove it", path.display());
        let picture = Picture::read(&path).with_context(damaged)?;
        let found = (picture.channels, picture.size);
        ensure!(
            found == (layout.channels, [layout.height, layout.width]),
            damaged()
        );
        Ok(picture.planes)
    }
}

/// Numbers of the images in a folder.
fn numbers(folder: &Path) -> Result<BTreeSet<usize>> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number: Option<usize> = stem.and_then(|stem| stem.parse().ok());
        numbers.extend(number.filter(|_| path.extension().is_some_and(|ending| ending == "png")));
    }
    Ok(numbers)
}
