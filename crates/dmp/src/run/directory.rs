//! A run directory: `config.toml`, `stats.jsonl`, `checkpoints/`, and what the run makes.

mod error;
mod sums;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use error::RunDirError;

use super::difference::first_difference;
use super::stats::Line;
use crate::output::{sync_folder, write_atomic};

/// Checkpoints kept besides those asked to be kept.
const RECENT: usize = 2;

/// Ending of a checkpoint's folder while it is being written or removed.
const PARTIAL: &str = "partial";

/// What runs make: a folder without a run that holds one of these is not theirs to write to.
const PRODUCTS: [&str; 6] = [
    "patch.safetensors",
    "lora.safetensors",
    "backbone.safetensors",
    "report.html",
    "stats.jsonl",
    "checkpoints",
];

/// Where a run keeps everything.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

/// A run directory taken by this process, until this is dropped or the process ends.
#[derive(Debug)]
pub struct RunLock {
    _file: fs::File,
}

impl RunDir {
    /// Opens the directory for a run with these settings; writes nothing yet. A run begun with the same
    /// settings is gone on with; one with others is refused. Settings named in `free` may differ.
    pub fn open(
        root: impl Into<PathBuf>,
        settings: &impl Serialize,
        free: &[&str],
    ) -> Result<Self, RunDirError> {
        let root = root.into();
        if root.exists() && !root.is_dir() {
            return Err(RunDirError::File { path: root });
        }
        let config = root.join("config.toml");
        let wanted = toml::to_string(settings)?;
        let large = |line: &&str| {
            let value = line
                .split_once(" = ")
                .map(|(_, value)| value.parse::<u64>());
            matches!(value, Some(Ok(value)) if i64::try_from(value).is_err())
        };
        if let Some(setting) = wanted.lines().find(large) {
            return Err(RunDirError::Large {
                setting: setting.to_owned(),
            });
        }
        if config.is_file() {
            let found = fs::read(&config).map_err(|source| RunDirError::Io {
                path: config.clone(),
                source,
            })?;
            let understood = |text: &String| {
                let table = text.parse::<toml::Table>();
                table.is_ok_and(|table| !table.is_empty())
            };
            let Some(found) = String::from_utf8(found).ok().filter(understood) else {
                return Err(RunDirError::Settings { path: root });
            };
            if let Some(difference) = first_difference(&found, &wanted, free) {
                return Err(RunDirError::OtherRun {
                    path: root,
                    difference,
                });
            }
        } else if let Some(name) = PRODUCTS.iter().find(|name| holds(&root.join(name))) {
            return Err(RunDirError::NoRun { path: root, name });
        }
        Ok(Self { root })
    }

    /// The directory as it is, to read what a run has left there.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Takes the directory for this process; another that wants it is refused until the result is dropped.
    pub fn lock(&self) -> Result<RunLock, RunDirError> {
        create_dir(&self.root)?;
        let path = self.path(".lock");
        let io = |source| RunDirError::Io {
            path: path.clone(),
            source,
        };
        let file = fs::File::create(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(RunDirError::Taken {
                path: self.root.clone(),
            }),
            Err(fs::TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Begins, or goes on after `done` steps: writes the settings, forgets statistics of later steps, and clears
    /// away checkpoints that were cut off.
    pub fn begin(&self, settings: &impl Serialize, done: u64) -> Result<(), RunDirError> {
        let folder = self.path("checkpoints");
        create_dir(&folder)?;
        for path in entries(&folder)? {
            if path.extension().is_some_and(|ending| ending == PARTIAL) {
                remove(&path)?;
            }
        }
        write_atomic(
            &self.path("config.toml"),
            toml::to_string(settings)?.as_bytes(),
        )?;
        self.truncate_stats(done)
    }

    /// A file or folder of this name in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The newest whole checkpoint: its steps and its folder.
    ///
    /// # Errors
    /// When a file in it is not what the run wrote.
    pub fn latest_checkpoint(&self) -> Result<Option<(u64, PathBuf)>, RunDirError> {
        let latest = self.checkpoints()?.pop();
        if let Some((_, folder)) = &latest {
            sums::check(folder)?;
        }
        Ok(latest)
    }

    /// Whole checkpoints, oldest first.
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>, RunDirError> {
        let folder = self.path("checkpoints");
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut found: Vec<(u64, PathBuf)> = entries(&folder)?
            .into_iter()
            .filter_map(|path| {
                let step = path
                    .file_name()?
                    .to_str()?
                    .strip_prefix("step-")?
                    .parse()
                    .ok()?;
                Some((step, path))
            })
            .collect();
        found.sort();
        Ok(found)
    }

    /// Writes a checkpoint: `fill` puts files into an empty folder, which then gets its name at once.
    /// Older ones are removed but for two and every `keep_every`-th step.
    pub fn save_checkpoint<E: From<RunDirError>>(
        &self,
        step: u64,
        keep_every: Option<u64>,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let name = self.path("checkpoints").join(format!("step-{step:08}"));
        if name.is_dir() {
            return Ok(());
        }
        let partial = name.with_extension(PARTIAL);
        let io = |path: &Path, source| RunDirError::Io {
            path: path.to_owned(),
            source,
        };
        if partial.exists() {
            remove(&partial)?;
        }
        create_dir(&partial)?;
        fill(&partial)?;
        sums::write(&partial)?;
        fs::rename(&partial, &name).map_err(|source| io(&name, source))?;
        let folder = self.path("checkpoints");
        sync_folder(&folder).map_err(|source| io(&folder, source))?;
        let mut old = self.checkpoints()?;
        old.truncate(old.len().saturating_sub(RECENT));
        for (step, path) in old {
            if keep_every.is_none_or(|every| !step.is_multiple_of(every)) {
                // Without its name first: half a checkpoint must not look like one.
                let going = path.with_extension(PARTIAL);
                fs::rename(&path, &going).map_err(|source| io(&path, source))?;
                remove(&going)?;
            }
        }
        Ok(())
    }

    /// Statistics written so far. A last line without its end was cut off, and is left out.
    pub fn stats(&self) -> Result<Vec<Line>, RunDirError> {
        let path = self.path("stats.jsonl");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let bytes = fs::read(&path).map_err(|source| RunDirError::Io {
            path: path.clone(),
            source,
        })?;
        // What is no text is no statistics either, in the line where it is.
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let line = |(number, line)| {
            serde_json::from_str(line).map_err(|error| RunDirError::Stats {
                path: path.clone(),
                line: number + 1,
                reason: error.to_string(),
            })
        };
        whole.lines().enumerate().map(line).collect()
    }

    /// Seconds of training that the statistics tell of, over every process that took part.
    pub fn training_seconds(&self) -> Result<f64, RunDirError> {
        let mut before = 0;
        let seconds = |line: &Line| {
            let images = line
                .images
                .saturating_sub(std::mem::replace(&mut before, line.images));
            images as f64 / line.images_per_second
        };
        Ok(self.stats()?.iter().map(seconds).sum())
    }

    /// Forgets statistics after `step`: a resumed run writes them again.
    fn truncate_stats(&self, step: u64) -> Result<(), RunDirError> {
        let path = self.path("stats.jsonl");
        if !path.is_file() {
            return Ok(());
        }
        let kept: String = self
            .stats()?
            .into_iter()
            .filter(|line| line.step <= step)
            .filter_map(|line| serde_json::to_string(&line).ok().map(|json| json + "\n"))
            .collect();
        Ok(write_atomic(&path, kept.as_bytes())?)
    }

    /// Adds a line to the statistics.
    pub fn append_stats(&self, line: &Line) -> Result<(), RunDirError> {
        let path = self.path("stats.jsonl");
        let io = |source| RunDirError::Io {
            path: path.clone(),
            source,
        };
        let json = serde_json::to_string(line).map_err(|error| io(error.into()))?;
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(io)?;
        writeln!(file, "{json}").map_err(io)
    }
}

/// Whether there is a file, or a folder that is not empty.
fn holds(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut inside) => inside.next().is_some(),
        Err(_) => path.exists(),
    }
}

/// What is in a folder, in no order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, RunDirError> {
    let io = |source| RunDirError::Io {
        path: folder.to_owned(),
        source,
    };
    let entries = fs::read_dir(folder).map_err(io)?;
    entries.map(|entry| Ok(entry.map_err(io)?.path())).collect()
}

fn remove(folder: &Path) -> Result<(), RunDirError> {
    fs::remove_dir_all(folder).map_err(|source| RunDirError::Io {
        path: folder.to_owned(),
        source,
    })
}

fn create_dir(path: &Path) -> Result<(), RunDirError> {
    fs::create_dir_all(path).map_err(|source| RunDirError::Io {
        path: path.to_owned(),
        source,
    })
}
