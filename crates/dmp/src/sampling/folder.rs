//! The folder of `--out`: what its images were drawn with and which are there, so that drawing goes on where it was stopped and
//! images of two samplings never mix.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use dmp_math::schedule::BetaSchedule;
use dmp_model::denoiser::ImageLayout;
use serde::Serialize;

use crate::data::picture::Picture;
use crate::models::{Identity, Model};
use crate::output::{self, write_atomic};
use crate::report::grid::{GridStyle, Tiles};
use crate::run::{RunDir, RunLock, first_difference};
use crate::sampling::SamplingArgs;

/// The file in the folder that says what the images were drawn with.
const SETTINGS: &str = "sampling.toml";

/// What it does not say: an image depends neither on how many there are nor, but for rounding, on how many are drawn at a time;
/// an autoencoder is known by its contents, and the size by what comes of it.
const LEFT_OUT: [&str; 4] = ["count", "batch", "vae", "size"];

/// Images written at a time.
const WRITERS: usize = 8;

#[derive(Serialize)]
struct Settings<'a> {
    schedule: BetaSchedule,
    /// Height and width of the images.
    size: [usize; 2],
    model: &'a Identity,
    sampling: &'a SamplingArgs,
}

/// A folder that images of one sampling go into, held by this process.
pub struct ImageFolder {
    root: PathBuf,
    layout: ImageLayout,
    /// Its images are there from the first on, without a gap.
    there: usize,
    _lock: RunLock,
}

impl ImageFolder {
    /// Makes the folder, or opens one that has images of this sampling.
    ///
    /// # Errors
    /// When it cannot be made, has images of another sampling or of a longer one, or another process draws into it.
    pub fn open(root: &Path, model: &Model, sampling: &SamplingArgs) -> Result<Self> {
        let shown = root.display();
        let settings = settings(model, sampling)?;
        fs::create_dir_all(root).with_context(|| {
            format!("--out {shown}: is no folder and cannot be made one; give another")
        })?;
        let lock = RunDir::at(root).lock()?;
        let found = found(&root.join(SETTINGS)).with_context(|| format!("--out {shown}"))?;
        let numbers = numbers(root).with_context(|| format!("--out {shown}"))?;
        if let Some(last) = numbers.last().filter(|&&last| last >= sampling.count) {
            bail!(
                "--out {shown}: {} there is of a sampling of more than {} images; remove it, or give another folder",
                name(*last),
                sampling.count
            );
        }
        ensure!(
            found.is_some() || numbers.is_empty(),
            "--out {shown}: has images, and no {SETTINGS} that says what they were drawn with; remove them, or give another folder"
        );
        if let Some(found) = found.as_ref().filter(|_| !numbers.is_empty())
            && let Some(difference) = first_difference(found, &settings, &[])
        {
            bail!(
                "--out {shown}: its images were drawn with other settings ({difference}); give another folder, or remove it"
            );
        }
        let folder = Self {
            root: root.to_owned(),
            layout: model.image_layout(),
            there: (0..).take_while(|number| numbers.contains(number)).count(),
            _lock: lock,
        };
        if folder.there < sampling.count {
            output::check_target(&folder.path(sampling.count - 1))?;
        }
        output::remove_cut_off(root).with_context(|| format!("--out {shown}"))?;
        if found.as_ref() != Some(&settings) {
            write_atomic(&root.join(SETTINGS), settings.as_bytes())?;
        }
        Ok(folder)
    }

    /// Images that need not be drawn: those before the first that is missing.
    pub fn there(&self) -> usize {
        self.there
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes the images from number `first` on, `[count, C, H, W]`, but for those that are there: of a batch that was stopped
    /// midway, some are.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(&self, first: usize, pixels: &[u8]) -> Result<()> {
        let images: Vec<(usize, &[u8])> = (first..)
            .zip(pixels.chunks(self.layout.len()))
            .filter(|(index, _)| *index >= self.there)
            .collect();
        // Each waits for the disk, which takes several at once: a quarter of the time or less.
        let share = images.len().div_ceil(WRITERS).max(1);
        thread::scope(|scope| {
            let writers = images.chunks(share).map(|share| {
                let mut share = share.iter();
                scope.spawn(move || share.try_for_each(|(index, image)| self.put(*index, image)))
            });
            let writers: Vec<_> = writers.collect();
            writers.into_iter().try_for_each(|writer| {
                let written = writer.join();
                written.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    fn put(&self, index: usize, image: &[u8]) -> Result<()> {
        let ImageLayout {
            channels,
            height,
            width,
        } = self.layout;
        let png = Tiles::new(image, [1, channels, height, width])?.to_png(&GridStyle::PLAIN)?;
        Ok(write_atomic(&self.path(index), png.as_bytes())?)
    }

    fn path(&self, index: usize) -> PathBuf {
        self.root.join(name(index))
    }

    /// Pixels `[C, H, W]` of an image that is there.
    ///
    /// # Errors
    /// When it cannot be read, or is not an image of this model any more.
    pub fn read(&self, index: usize) -> Result<Vec<u8>> {
        let (path, layout) = (self.path(index), self.layout);
        let bytes = fs::read(&path).with_context(|| {
            format!("{}: cannot be read; check its permissions", path.display())
        })?;
        let damaged = || format!("{}: is damaged; remove it", path.display());
        let picture = Picture::decode(&bytes).with_context(damaged)?;
        let found = (picture.channels, picture.size);
        ensure!(
            found == (layout.channels, [layout.height, layout.width]),
            damaged()
        );
        Ok(picture.planes)
    }

    /// Refuses a file in the folder that has an image's name, as another's place.
    pub fn refuse(&self, flag: &str, path: &Path) -> Result<()> {
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let parent = parent.unwrap_or(Path::new(".")).canonicalize();
        ensure!(
            number(path).is_none()
                || !matches!((parent, self.root.canonicalize()), (Ok(a), Ok(b)) if a == b),
            "{flag} {}: that is the name of an image in --out; give another",
            path.display()
        );
        Ok(())
    }
}

/// What is kept in [`SETTINGS`].
fn settings(model: &Model, sampling: &SamplingArgs) -> Result<String> {
    ensure!(
        i64::try_from(sampling.seed).is_ok(),
        "--seed {} is above {}, the largest that a folder of images keeps; give a smaller one",
        sampling.seed,
        i64::MAX
    );
    let ImageLayout { height, width, .. } = model.image_layout();
    let mut settings = toml::Table::try_from(Settings {
        schedule: model.schedule,
        size: [height, width],
        model: model.identity(),
        sampling,
    })?;
    if let Some(toml::Value::Table(sampling)) = settings.get_mut("sampling") {
        sampling.retain(|key, _| !LEFT_OUT.contains(&key));
    }
    Ok(toml::to_string(&settings)?)
}

/// What a folder's settings are; `None` where it has none.
fn found(path: &Path) -> Result<Option<String>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| {
            format!(
                "{SETTINGS} there cannot be read; check its permissions, or give another folder"
            )
        })?,
    };
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let ours = ["model", "sampling"].map(|key| table.get(key).is_some_and(toml::Value::is_table));
    ensure!(
        ours == [true; 2],
        "{SETTINGS} there is damaged, or of something else; remove it and the images, or give another folder"
    );
    Ok(Some(text))
}

fn name(index: usize) -> String {
    format!("{index:06}.png")
}

/// The image that a file is by its name.
fn number(path: &Path) -> Option<usize> {
    let number = path.file_stem()?.to_str()?.parse().ok()?;
    (path.file_name()?.to_str()? == name(number)).then_some(number)
}

/// Numbers of the images in a folder.
fn numbers(folder: &Path) -> io::Result<BTreeSet<usize>> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(number(&entry?.path()));
    }
    Ok(numbers)
}
