//! What a step found, kept beside the run, and whether it still holds.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dmp_model::checkpoint::hex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::elsewhere::{Elsewhere, Wanted};
use super::plan::{Plan, Step, Work};
use super::stamp::Stamps;
use crate::digest::add_file;
use crate::evaluate::weights;
use crate::output::write_atomic;

/// What a step found, and of what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The command, for a reader.
    pub command: String,
    /// Stamps of the files that its flags name.
    pub inputs: BTreeMap<String, String>,
    /// SHA-256 of the length and contents of the file that was trained; none of the bare model.
    pub product: Option<String>,
    /// What the step took, on the clock.
    pub seconds: f64,
    /// What it found: of a training [`Trained`], of an evaluation what `dmp eval --json` prints.
    pub found: Value,
}

/// What is kept of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Seconds of training, over all processes that took part.
    pub seconds: f64,
    /// Parameters that sampling needs beside the model's; `None` where the program does not say.
    pub added_parameters: Option<u64>,
    /// Parameters of a model all of whose weights were trained.
    pub retrained_parameters: Option<u64>,
}

/// The records of a plan.
#[derive(Debug)]
pub struct Records<'a> {
    plan: &'a Plan,
    elsewhere: Elsewhere<'a>,
    stamps: Stamps,
    /// Hashes of products, each taken once.
    hashes: HashMap<PathBuf, String>,
}

impl<'a> Records<'a> {
    /// Of this plan; those that are not here may be elsewhere.
    pub fn new(plan: &'a Plan, elsewhere: Elsewhere<'a>) -> Self {
        Self {
            plan,
            elsewhere,
            stamps: Stamps::default(),
            hashes: HashMap::new(),
        }
    }

    /// The step's record, if the step need not be done again. A record that cannot be read is none.
    ///
    /// # Errors
    /// When what decides it cannot be read.
    pub fn current(&mut self, step: Step) -> Result<Option<Record>> {
        let Some(record) = read(&self.plan.record(step)) else {
            return self.of_elsewhere(step);
        };
        // What was measured of another training is of the past.
        let trained = match step.work {
            Work::Evaluate(_) if !self.plan.setting(step).base => {
                let training = Step {
                    work: Work::Train,
                    ..step
                };
                self.current(training)?.is_some()
            }
            _ => true,
        };
        let holds = trained
            && record.inputs == self.inputs(step)?
            && record.product == self.product(step)?
            && (record.product.is_some() || self.plan.product(step).is_none());
        Ok(holds.then_some(record))
    }

    /// The step's record from another machine. What it trained need not be here, and so the record counts only with those of all
    /// that is done with the same setting and seed, and where none of it was done here.
    fn of_elsewhere(&mut self, step: Step) -> Result<Option<Record>> {
        if self.elsewhere.0.is_empty() {
            return Ok(None);
        }
        let together = |other: &Step| {
            let trained = !self.plan.setting(step).base;
            (other.setting, other.seed) == (step.setting, step.seed) && (trained || *other == step)
        };
        let steps: Vec<Step> = self.plan.steps().into_iter().filter(together).collect();
        let mut wanted = Vec::new();
        for &step in &steps {
            let path = self.plan.record(step);
            if read(&path).is_some() {
                return Ok(None);
            }
            wanted.push(Wanted {
                file: path.file_name().unwrap_or_default().to_owned(),
                inputs: self.inputs(step)?,
            });
        }
        let product = self.product(step)?;
        let setting = self.plan.hash(step);
        let found = (self.elsewhere).records(&setting, &wanted, product.as_deref());
        Ok(found.and_then(|records| {
            let mut both = steps.into_iter().zip(records);
            both.find_map(|(of, record)| (of == step).then_some(record))
        }))
    }

    fn command(&self, step: Step) -> String {
        format!("dmp {}", super::plan::shell(&self.plan.words(step)))
    }

    /// The folder of the images that a step measures, the same for all that draw alike from the same model and patch; none of a
    /// training.
    ///
    /// # Errors
    /// As [`Self::current`].
    pub fn images(&mut self, step: Step) -> Result<Option<PathBuf>> {
        let Some(drawing) = self.plan.drawing(step) else {
            return Ok(None);
        };
        let inputs = self.inputs(step)?;
        let stamp = |flag: &str| inputs.get(flag).cloned().unwrap_or_default();
        let source = [
            stamp("model"),
            stamp("vae"),
            self.product(step)?.unwrap_or_default(),
        ];
        let source = hex(&Sha256::digest(source.join("\n"))[..6]);
        Ok(Some(self.plan.images(step, &source, &drawing)))
    }

    /// Keeps what a step found just now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&mut self, step: Step, seconds: f64, found: Value) -> Result<Record> {
        if step.work == Work::Train
            && let Some(product) = self.plan.product(step)
        {
            self.hashes.remove(&product);
        }
        let record = Record {
            command: self.command(step),
            inputs: self.inputs(step)?,
            product: self.product(step)?,
            seconds,
            found,
        };
        let folder = self.plan.folder(step);
        fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))?;
        let json = serde_json::to_string_pretty(&record)? + "\n";
        write_atomic(&self.plan.record(step), json.as_bytes())?;
        Ok(record)
    }

    fn inputs(&self, step: Step) -> Result<BTreeMap<String, String>> {
        let flags = self.plan.flags(step);
        let mut inputs = self.stamps.of(&flags)?;
        // Where no flag says it, the weights may come from elsewhere.
        if inputs.contains_key("reference")
            && flags.get("inception").is_none()
            && let Ok(path) = weights::locate(None)
        {
            inputs.extend(
                self.stamps
                    .path(&path)?
                    .map(|stamp| ("inception".to_owned(), stamp)),
            );
        }
        Ok(inputs)
    }

    /// Hash of the file that is trained; `None` where there is none yet, or none at all.
    fn product(&mut self, step: Step) -> Result<Option<String>> {
        let Some(path) = self.plan.product(step).filter(|path| path.is_file()) else {
            return Ok(None);
        };
        if let Some(hash) = self.hashes.get(&path) {
            return Ok(Some(hash.clone()));
        }
        let mut hasher = Sha256::new();
        let mut add = || {
            hasher.update(fs::metadata(&path)?.len().to_le_bytes());
            add_file(&mut hasher, &path)
        };
        add().with_context(|| format!("{}: cannot be read", path.display()))?;
        let hash = hex(&hasher.finalize());
        self.hashes.insert(path, hash.clone());
        Ok(Some(hash))
    }
}

/// A record; one that cannot be read is none.
pub(super) fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::Recipe;

    /// A record holds as long as what it is of does.
    #[test]
    fn a_record_holds_until_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.safetensors");
        fs::write(&model, "weights").unwrap();
        let text = format!(
            "out = {:?}\nseeds = [1]\n[train]\nmodel = {model:?}\n[eval]\n[[setting]]\nname = 'a'\n",
            folder.path().join("out")
        );
        let plan = Plan::new(Recipe::parse(&text).unwrap(), &[]);
        let [train, eval] = plan.steps()[..] else {
            panic!("two steps");
        };
        let current = |step| Records::new(&plan, Elsewhere(&[])).current(step).unwrap();
        assert_eq!(current(train), None);
        fs::create_dir_all(plan.run(train)).unwrap();
        let product = plan.product(train).unwrap();
        fs::write(&product, "patch").unwrap();

        let mut records = Records::new(&plan, Elsewhere(&[]));
        for step in [train, eval] {
            let kept = records
                .keep(step, 1.5, serde_json::json!({"fid": 3.0}))
                .unwrap();
            assert_eq!(current(step), Some(kept));
        }
        fs::write(&product, "another").unwrap();
        assert_eq!((current(train), current(eval)), (None, None));
        fs::write(&product, "patch").unwrap();
        assert!(current(train).is_some() && current(eval).is_some());
        let before = fs::read(plan.record(train)).unwrap();
        fs::write(plan.record(train), "").unwrap();
        assert_eq!(current(eval), None, "its training is to be done again");
        fs::write(plan.record(train), before).unwrap();
        assert!(current(eval).is_some());
        fs::write(&model, "other weights").unwrap();
        assert_eq!((current(train), current(eval)), (None, None));

        fs::write(plan.record(eval), "{\"command\": \"cut o").unwrap();
        assert_eq!(current(eval), None);
    }
}
