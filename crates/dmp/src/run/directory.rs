//! A run directory: `config.toml`, `stats.jsonl`, `checkpoints/`, and what the run makes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::stats::Line;
use crate::output::{OutputError, write_atomic};

/// Checkpoints kept besides those asked to be kept.
const RECENT: usize = 2;

/// Where a run keeps everything.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

/// Why a run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// The operating system refused.
    #[error("{path}: {source}; check that the folder exists, is yours and has room")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The directory holds a run with other settings.
    #[error(
        "{path} holds a run with other settings ({difference}); give the same settings to go on with it, or another --out"
    )]
    OtherRun {
        /// The directory.
        path: PathBuf,
        /// The first line that differs.
        difference: String,
    },
    /// The settings could not be written as TOML.
    #[error("the settings cannot be written as TOML: {0}")]
    Toml(#[from] toml::ser::Error),
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
        let config = root.join("config.toml");
        let wanted = toml::to_string(settings)?;
        if config.is_file() {
            let found = fs::read_to_string(&config).map_err(|source| RunDirError::Io {
                path: config.clone(),
                source,
            })?;
            if let Some(difference) = first_difference(&found, &wanted, free) {
                return Err(RunDirError::OtherRun {
                    path: root,
                    difference,
                });
            }
        }
        Ok(Self { root })
    }

    /// Begins, or goes on after `done` steps: writes the settings, and forgets statistics of later steps.
    pub fn begin(&self, settings: &impl Serialize, done: u64) -> Result<(), RunDirError> {
        create_dir(&self.path("checkpoints"))?;
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
    pub fn latest_checkpoint(&self) -> Result<Option<(u64, PathBuf)>, RunDirError> {
        Ok(self.checkpoints()?.pop())
    }

    /// Whole checkpoints, oldest first.
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>, RunDirError> {
        let folder = self.path("checkpoints");
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&folder).map_err(|source| RunDirError::Io {
            path: folder.clone(),
            source,
        })?;
        let mut found: Vec<(u64, PathBuf)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
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
        let partial = name.with_extension("partial");
        let io = |path: &Path, source| RunDirError::Io {
            path: path.to_owned(),
            source,
        };
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(|source| io(&partial, source))?;
        }
        create_dir(&partial)?;
        fill(&partial)?;
        fs::rename(&partial, &name).map_err(|source| io(&name, source))?;
        let mut old = self.checkpoints()?;
        old.truncate(old.len().saturating_sub(RECENT));
        for (step, path) in old {
            if keep_every.is_none_or(|every| !step.is_multiple_of(every)) {
                fs::remove_dir_all(&path).map_err(|source| io(&path, source))?;
            }
        }
        Ok(())
    }

    /// Statistics written so far.
    pub fn stats(&self) -> Vec<Line> {
        let text = fs::read_to_string(self.path("stats.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Seconds of training that the statistics tell of, over every process that took part.
    pub fn training_seconds(&self) -> f64 {
        let mut before = 0;
        let seconds = |line: &Line| {
            let images = line
                .images
                .saturating_sub(std::mem::replace(&mut before, line.images));
            images as f64 / line.images_per_second
        };
        self.stats().iter().map(seconds).sum()
    }

    /// Forgets statistics after `step`: a resumed run writes them again.
    fn truncate_stats(&self, step: u64) -> Result<(), RunDirError> {
        let path = self.path("stats.jsonl");
        if !path.is_file() {
            return Ok(());
        }
        let kept: String = self
            .stats()
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

fn create_dir(path: &Path) -> Result<(), RunDirError> {
    fs::create_dir_all(path).map_err(|source| RunDirError::Io {
        path: path.to_owned(),
        source,
    })
}

/// The first line of `found` that `wanted` has not, but for the keys in `free`.
fn first_difference(found: &str, wanted: &str, free: &[&str]) -> Option<String> {
    let relevant = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| {
                !free.iter().any(|key| {
                    line.split('=')
                        .next()
                        .is_some_and(|name| name.trim() == *key)
                })
            })
            .map(str::to_owned)
            .collect()
    };
    let (found, wanted) = (relevant(found), relevant(wanted));
    let there = found.iter().find(|line| !wanted.contains(line));
    let here = wanted.iter().find(|line| !found.contains(line));
    match (there, here) {
        (None, None) => None,
        (Some(there), Some(here)) => Some(format!("'{there}' there, '{here}' here")),
        (Some(there), None) => Some(format!("'{there}' there, nothing here")),
        (None, Some(here)) => Some(format!("nothing there, '{here}' here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Settings {
        steps: u64,
        rate: f64,
    }

    #[test]
    fn other_settings_are_refused_by_name_and_free_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let begun = Settings {
            steps: 10,
            rate: 0.1,
        };
        let directory = RunDir::open(&run, &begun, &["steps"]).unwrap();
        assert!(!run.exists(), "opening writes nothing");
        directory.begin(&begun, 0).unwrap();
        RunDir::open(
            &run,
            &Settings {
                steps: 20,
                rate: 0.1,
            },
            &["steps"],
        )
        .unwrap();
        let error = RunDir::open(
            &run,
            &Settings {
                steps: 20,
                rate: 0.2,
            },
            &["steps"],
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("'rate = 0.1' there, 'rate = 0.2' here"),
            "{error}"
        );
    }

    #[test]
    fn checkpoints_are_whole_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            steps: 10,
            rate: 0.1,
        };
        let run = RunDir::open(folder.path(), &settings, &[]).unwrap();
        run.begin(&settings, 0).unwrap();
        for step in [10, 20, 30, 40] {
            let fill = |path: &Path| {
                fs::write(path.join("x"), "x").map_err(|source| RunDirError::Io {
                    path: path.into(),
                    source,
                })
            };
            run.save_checkpoint(step, Some(20), fill).unwrap();
        }
        let steps: Vec<u64> = run
            .checkpoints()
            .unwrap()
            .into_iter()
            .map(|(step, _)| step)
            .collect();
        assert_eq!(steps, [20, 30, 40]);
        // One that was cut off is not a checkpoint.
        let failed = run.save_checkpoint(50, None, |path| {
            Err(RunDirError::Io {
                path: path.into(),
                source: std::io::Error::other("full"),
            })
        });
        assert!(failed.is_err());
        assert_eq!(run.latest_checkpoint().unwrap().unwrap().0, 40);
    }
}
