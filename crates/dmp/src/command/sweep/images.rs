//! Folders of the images that evaluations measure: where they are, and when they go.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::running::Sweep;
use crate::output::write_atomic;
use crate::sweep::Step;

/// A file in such a folder that says whose it is: a recipe's name, or [`KEPT`].
const OWNER: &str = ".sweep";

/// Of a folder that a recipe keeps: no sweep removes it.
const KEPT: &str = "kept\n";

impl Sweep<'_> {
    /// The folder of a step's images, made if it is not there; none of a training.
    pub(super) fn images(&mut self, step: Step) -> Result<Option<PathBuf>> {
        let Some(folder) = self.records.images(step)? else {
            return Ok(None);
        };
        fs::create_dir_all(&folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))?;
        let path = folder.join(OWNER);
        if fs::read_to_string(&path).ok().as_deref() != Some(KEPT) {
            let owner = match self.plan.recipe.keep_images {
                true => KEPT.to_owned(),
                false => self.owner(),
            };
            write_atomic(&path, owner.as_bytes())?;
        }
        Ok(Some(folder))
    }

    /// Removes this recipe's images of a setting and seed that none of its steps needs any more.
    pub(super) fn tidy(&mut self, of: Step) -> Result<()> {
        let folders = self.plan.all_images(of);
        if folders.is_empty() {
            return Ok(());
        }
        let mut needed = Vec::new();
        for step in self.steps.clone() {
            if (step.setting, step.seed) == (of.setting, of.seed)
                && self.records.current(step)?.is_none()
            {
                needed.extend(self.records.images(step)?);
            }
        }
        let owner = Some(self.owner());
        for folder in folders {
            let ours = fs::read_to_string(folder.join(OWNER)).ok() == owner;
            if !ours || needed.contains(&folder) {
                continue;
            }
            if let Err(error) = fs::remove_dir_all(&folder) {
                crate::tell!(
                    "note: {} is not needed any more and cannot be removed ({error}); remove it",
                    folder.display()
                );
            }
        }
        Ok(())
    }

    fn owner(&self) -> String {
        let name = self.pages.text();
        format!(
            "{}\n",
            name.file_stem().unwrap_or_default().to_string_lossy()
        )
    }
}
