//! The folder of a sweep.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::output::write_atomic;
use crate::run::{RunDir, RunDirError, RunLock};

/// The recipe that the sweep was last begun with; it tells that the folder is a sweep's.
const RECIPE: &str = "recipe.toml";

/// What a folder that is no sweep's may hold, and a sweep would write over or mix with.
const FOREIGN: [&str; 4] = ["results.md", "results.json", "results.svg", "config.toml"];

/// A folder that is a sweep's or may become one.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Refuses a place that is taken; writes nothing.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let shown = path.display();
        ensure!(!path.is_file(), "'out' is {shown}, a file; give a folder");
        let foreign = FOREIGN.iter().find(|name| path.join(name).exists());
        if let (false, Some(name)) = (path.join(RECIPE).exists(), foreign) {
            bail!(
                "'out' is {shown}, which holds a file '{name}' and no sweep; move it, or give another folder"
            );
        }
        Ok(Self(path.to_owned()))
    }

    /// Names of what is in it.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        if !self.0.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&self.0).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<std::io::Result<Vec<_>>>()
        });
        let mut names = entries.with_context(|| {
            format!(
                "{}: cannot be read; check its permissions",
                self.0.display()
            )
        })?;
        names.sort();
        Ok(names)
    }

    /// Makes the folder, takes it for this process, and keeps the recipe in it.
    pub(super) fn begin(&self, recipe: &Path) -> Result<RunLock> {
        let lock = RunDir::at(&self.0).lock().map_err(|error| match error {
            RunDirError::Taken { path } => anyhow::anyhow!(
                "{}: another sweep runs there; wait for it, or give the recipe another 'out'",
                path.display()
            ),
            error => error.into(),
        })?;
        let text = fs::read(recipe)
            .with_context(|| format!("recipe {}: cannot be read", recipe.display()))?;
        write_atomic(&self.0.join(RECIPE), &text)?;
        Ok(lock)
    }
}
