//! The folder of a sweep.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::output::write_atomic;
use crate::run::{RunDir, RunDirError, RunLock};

/// The recipe that the sweep was last begun with; it tells that the folder is a sweep's.
const RECIPE: &str = "recipe.toml";

/// The settings of a run directory, which a sweep would mix with.
const RUN: &str = "config.toml";

/// A folder that is a sweep's or may become one.
pub(super) struct Folder {
    path: PathBuf,
    recipe: PathBuf,
}

/// Where the results of a recipe are written: files with its name, so that recipes that share a folder leave one another's alone.
#[derive(Debug, Clone)]
pub(super) struct Pages(PathBuf);

impl Pages {
    /// The table, for people.
    pub(super) fn text(&self) -> PathBuf {
        self.with("md")
    }

    /// The same for programs.
    pub(super) fn json(&self) -> PathBuf {
        self.with("json")
    }

    /// The picture.
    pub(super) fn picture(&self) -> PathBuf {
        self.with("svg")
    }

    /// Not `with_extension`: what follows a dot in the name is a part of it.
    fn with(&self, extension: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(format!(".{extension}"));
        path.into()
    }
}

impl Folder {
    /// The one at `path`, for the recipe in a file. Refuses a place that is taken; writes nothing.
    pub(super) fn of(path: &Path, recipe: &Path) -> Result<Self> {
        let folder = Self {
            path: path.to_owned(),
            recipe: recipe.to_owned(),
        };
        let shown = path.display();
        ensure!(!path.is_file(), "'out' is {shown}, a file; give a folder");
        let pages = folder.pages();
        let foreign = [pages.text(), pages.json(), pages.picture(), path.join(RUN)];
        let foreign = foreign.iter().find(|file| file.exists());
        if let (false, Some(file)) = (path.join(RECIPE).exists(), foreign) {
            bail!(
                "'out' is {shown}, which holds {} and no sweep; move it, or give another folder",
                file.display()
            );
        }
        Ok(folder)
    }

    /// Where the results go.
    pub(super) fn pages(&self) -> Pages {
        let mut name = OsString::from("results-");
        name.push(self.recipe.file_stem().unwrap_or_default());
        Pages(self.path.join(name))
    }

    /// Names of what is in it.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&self.path).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<std::io::Result<Vec<_>>>()
        });
        let mut names = entries.with_context(|| {
            format!(
                "{}: cannot be read; check its permissions",
                self.path.display()
            )
        })?;
        names.sort();
        Ok(names)
    }

    /// Makes the folder, takes it for this process, and keeps the recipe in it.
    pub(super) fn begin(&self) -> Result<RunLock> {
        let recipe = &self.recipe;
        let lock = RunDir::at(&self.path).lock().map_err(|error| match error {
            RunDirError::Taken { path } => anyhow::anyhow!(
                "{}: another sweep runs there; wait for it, or give the recipe another 'out'",
                path.display()
            ),
            error => error.into(),
        })?;
        let text = fs::read(recipe)
            .with_context(|| format!("recipe {}: cannot be read", recipe.display()))?;
        write_atomic(&self.path.join(RECIPE), &text)?;
        Ok(lock)
    }
}
