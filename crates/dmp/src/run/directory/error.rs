//! Why a run directory cannot be used.

use std::path::PathBuf;

use crate::output::OutputError;

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
    /// The settings of the run there are none.
    #[error(
        "{path}: its config.toml cannot be understood; put back what was there, or give another --out"
    )]
    Settings {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds a run with other settings.
    #[error(
        "{path} holds a run with other settings ({difference}); give the same settings to go on with it, remove it, or give another --out (a sweep's recipe: another 'out')"
    )]
    OtherRun {
        /// The directory.
        path: PathBuf,
        /// The first setting that differs.
        difference: String,
    },
    /// The directory holds what a run would overwrite, and no run.
    #[error("{path} holds '{name}' and no config.toml of a run; move it, or give another --out")]
    NoRun {
        /// The directory.
        path: PathBuf,
        /// The file.
        name: &'static str,
    },
    /// A file is where the directory would be.
    #[error("{path} is a file; give another --out, a folder")]
    File {
        /// The file.
        path: PathBuf,
    },
    /// TOML's integers have 64 bits with a sign: what is larger could be written and not be read again.
    #[error(
        "'{setting}' is above {}, the largest that a run keeps; give a smaller one",
        i64::MAX
    )]
    Large {
        /// As `key = value`.
        setting: String,
    },
    /// Another process trains there.
    #[error("{path} is in use by another process; wait for it, or give another --out")]
    Taken {
        /// The directory.
        path: PathBuf,
    },
    /// A file of a checkpoint is missing, damaged or of another.
    #[error(
        "{path}: is not what the run wrote there; delete this checkpoint to go on from the one before, or from the start if there is none"
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint holds a file that the run did not write.
    #[error("{path}: is none of the checkpoint's files; move it away")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A line of statistics cannot be read.
    #[error("{path}: line {line} is no statistics ({reason}); remove it")]
    Stats {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The settings could not be written as TOML.
    #[error("the settings cannot be written as TOML: {0}")]
    Toml(#[from] toml::ser::Error),
}
