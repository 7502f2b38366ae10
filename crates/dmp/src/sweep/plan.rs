//! Which steps a sweep has, and where each keeps what it finds.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use super::recipe::{Recipe, Setting};
use crate::words::Words;

/// Flags of `dmp train` that say how often it writes or what it holds in memory, and nothing of what is trained: with
/// others a run goes on.
const UNDECIDING: [&str; 4] = [
    "checkpoint-every",
    "checkpointing",
    "keep-every",
    "log-every",
];

/// Flags of `dmp eval` that say how images are measured, and nothing of how they are drawn.
pub const MEASURING: [&str; 10] = [
    "bootstrap",
    "inception",
    "kid-subset-size",
    "kid-subsets",
    "metric-seed",
    "metrics",
    "neighbours",
    "preprocess",
    "reference",
    "splits",
];

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Trains a setting.
    Train,
    /// Measures what was trained, with the evaluation of this number.
    Evaluate(usize),
}

/// One process of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Number of the setting.
    pub setting: usize,
    /// Seed of the training and of the noise that images are drawn from.
    pub seed: u64,
    /// What it does.
    pub work: Work,
}

/// A recipe and the places of everything that comes of it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What was asked for.
    pub recipe: Recipe,
    /// Of each setting.
    folders: Vec<PathBuf>,
}

impl Plan {
    /// `existing` are the names in the sweep's folder: a setting with other flags gets another folder, one with another
    /// name finds what it has.
    pub fn new(recipe: Recipe, existing: &[String]) -> Self {
        let folder = |setting: &Setting| {
            let hash = hash(setting);
            let known = existing
                .iter()
                .find(|name| name.ends_with(&format!("-{hash}")));
            let name =
                known.map_or_else(|| format!("{}-{hash}", slug(&setting.name)), String::clone);
            recipe.out.join(name)
        };
        let folders = recipe.settings.iter().map(folder).collect();
        Self { recipe, folders }
    }

    /// All steps, a seed after the other, so that every setting has a first figure soon.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for &seed in &self.recipe.seeds {
            for (setting, what) in self.recipe.settings.iter().enumerate() {
                let trained = (!what.base).then_some(Work::Train);
                let measured = (0..self.recipe.evaluations.len()).map(Work::Evaluate);
                steps.extend(trained.into_iter().chain(measured).map(|work| Step {
                    setting,
                    seed,
                    work,
                }));
            }
        }
        steps
    }

    /// The setting of a step.
    pub fn setting(&self, step: Step) -> &Setting {
        &self.recipe.settings[step.setting]
    }

    /// What tells a setting from one of other flags, whatever they are called.
    pub fn hash(&self, step: Step) -> String {
        hash(self.setting(step))
    }

    /// The folder of a setting.
    pub fn folder(&self, step: Step) -> &PathBuf {
        &self.folders[step.setting]
    }

    /// The run directory of a setting and a seed.
    pub fn run(&self, step: Step) -> PathBuf {
        self.folder(step).join(format!("seed-{}", step.seed))
    }

    /// The file that is trained; none of the bare model.
    pub fn product(&self, step: Step) -> Option<PathBuf> {
        let setting = self.setting(step);
        (!setting.base).then(|| self.run(step).join(product_name(setting)))
    }

    /// Where a step's record is.
    pub fn record(&self, step: Step) -> PathBuf {
        let name = match step.work {
            Work::Train => format!("seed-{}.train.json", step.seed),
            Work::Evaluate(number) => {
                let hash = self.recipe.evaluations[number].flags.hash("eval");
                format!("seed-{}.eval-{hash}.json", step.seed)
            }
        };
        self.folder(step).join(name)
    }

    /// A short name for how the images of a step are drawn, the same for all that draw alike; none of a training.
    pub fn drawing(&self, step: Step) -> Option<String> {
        let Work::Evaluate(_) = step.work else {
            return None;
        };
        let flags = self.flags(step).without(&MEASURING);
        // How many are drawn at a time moves a pixel by rounding at most.
        Some(flags.without(&["batch"]).hash("images"))
    }

    /// The folder of images that are drawn so from `source`, as short names.
    pub fn images(&self, step: Step, source: &str, drawing: &str) -> PathBuf {
        self.folder(step)
            .join(format!("{}{source}-{drawing}", images(step)))
    }

    /// Folders there are of images of a setting and a seed.
    pub fn all_images(&self, step: Step) -> Vec<PathBuf> {
        let inside = fs::read_dir(self.folder(step)).into_iter().flatten();
        let of_step = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&images(step)) && path.is_dir()
        };
        let paths = inside.flatten().map(|entry| entry.path());
        paths.filter(of_step).collect()
    }

    /// Everything that decides what a step finds, but for what was trained.
    pub fn flags(&self, step: Step) -> Words {
        let train = &self.setting(step).train;
        match step.work {
            Work::Train => with_model(train, train),
            Work::Evaluate(number) => {
                let flags = with_model(&self.recipe.evaluations[number].flags, train);
                let setting = self.setting(step);
                match setting.base || whole(setting) {
                    true => flags.without(&OF_A_PATCH),
                    false => flags,
                }
            }
        }
    }

    /// The command of a step, as typed after `dmp`.
    pub fn words(&self, step: Step) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
        match step.work {
            Work::Train => {
                flag("--seed", step.seed.to_string());
                flag("--out", self.run(step).display().to_string());
            }
            Work::Evaluate(_) => {
                flag("--seed", step.seed.to_string());
                if let Some(product) = self.product(step) {
                    let name = if whole(self.setting(step)) {
                        "--model"
                    } else {
                        "--patch"
                    };
                    flag(name, product.display().to_string());
                }
                words.push("--json".to_owned());
            }
        }
        let mut flags = self.flags(step);
        if matches!(step.work, Work::Evaluate(_)) && whole(self.setting(step)) {
            flags = flags.without(&["model"]);
        }
        let command = match step.work {
            Work::Train => "train",
            Work::Evaluate(_) => "eval",
        };
        [command.to_owned()]
            .into_iter()
            .chain(flags.typed())
            .chain(words)
            .collect()
    }

    /// The command that measures the model of a step's setting as it was before anything was trained.
    pub fn bare_words(&self, step: Step) -> Vec<String> {
        let seed = ["--seed".to_owned(), step.seed.to_string()];
        ["eval".to_owned()]
            .into_iter()
            .chain(self.flags(step).without(&OF_A_PATCH).typed())
            .chain(seed)
            .collect()
    }

    /// Where a recipe says what a step does.
    pub fn place(&self, step: Step) -> String {
        match step.work {
            Work::Train => format!("setting '{}'", self.setting(step).name),
            Work::Evaluate(number) => match self.recipe.evaluations[number].name.as_str() {
                "" => "[eval]".to_owned(),
                name => format!("[[eval]] '{name}'"),
            },
        }
    }

    /// What a step is called on a line of progress.
    pub fn name(&self, step: Step) -> impl fmt::Display + use<> {
        let work = match step.work {
            Work::Train => "train".to_owned(),
            Work::Evaluate(number) => match self.recipe.evaluations[number].name.as_str() {
                "" => "eval".to_owned(),
                name => format!("eval {name}"),
            },
        };
        format!("{}, seed {}: {work}", self.setting(step).name, step.seed)
    }
}

/// How folders of images of a seed begin.
fn images(step: Step) -> String {
    format!("seed-{}.images-", step.seed)
}

/// A command as it can be typed into a shell.
pub fn shell(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,:=+@%".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Whether all weights are trained: the product is a model then.
pub fn whole(setting: &Setting) -> bool {
    setting.train.get("method") == Some("full")
}

/// Flags of an evaluation that say how a patch or LoRA is used: they mean nothing to a model alone.
const OF_A_PATCH: [&str; 2] = ["patch-below", "patch-scale"];

fn product_name(setting: &Setting) -> &'static str {
    match setting.train.get("method") {
        Some("full") => "backbone.safetensors",
        Some("lora") => "lora.safetensors",
        _ => "patch.safetensors",
    }
}

/// `flags` with the model that is trained, which is the embedded one where nothing is said, and the noise schedule that it is
/// said to have: the bare model must be drawn from with the patches' own.
fn with_model(flags: &Words, train: &Words) -> Words {
    let model = train.get("model").unwrap_or("demo").to_owned();
    let mut flags = flags.clone();
    // No key is taken, so none is refused.
    let _ = flags.set("model", model, &[]);
    if let (Some(schedule), None) = (train.get("schedule"), flags.get("schedule")) {
        let _ = flags.set("schedule", schedule.to_owned(), &[]);
    }
    flags
}

/// Tells settings by what they train; of the bare model that is the model itself.
fn hash(setting: &Setting) -> String {
    let train = with_model(&setting.train, &setting.train);
    if setting.base {
        with_model(&Words::default(), &train).hash("base")
    } else {
        train.without(&UNDECIDING).hash("train")
    }
}

/// A name fit for a folder.
fn slug(name: &str) -> String {
    const MOST: usize = 40;
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() || c == '.' {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let short: String = slug.chars().take(MOST).collect();
    match short.trim_matches(['-', '.']) {
        "" => "setting".to_owned(),
        short => short.to_owned(),
    }
}

#[cfg(test)]
mod tests;
