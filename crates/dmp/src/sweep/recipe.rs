//! The file a user writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use toml::{Spanned, Table, Value};

use crate::words::{Words, text};

/// What is trained and measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// The folder of the sweep.
    pub out: PathBuf,
    /// Seeds that each setting is trained and measured with.
    pub seeds: Vec<u64>,
    /// Whether images that are measured stay beside what was trained.
    pub keep_images: bool,
    /// How models are measured.
    pub evaluations: Vec<Evaluation>,
    /// What is compared, in the order of the table.
    pub settings: Vec<Setting>,
}

/// One way to measure a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// What the table calls it; a lone one needs no name.
    pub name: String,
    /// Flags of `dmp eval`.
    pub flags: Words,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// What the table calls it.
    pub name: String,
    /// Whether nothing is trained and the bare model is measured.
    pub base: bool,
    /// Flags of `dmp train`; of the bare model those that all settings have.
    pub train: Words,
}

/// What a sweep says to `dmp train` itself.
const TAKEN_TRAIN: &[(&str, &str)] = &[
    ("seed", "every seed of 'seeds' is trained; leave it out"),
    (
        "out",
        "each run has its folder in the sweep's 'out'; leave it out",
    ),
    ("device", "give --device to 'dmp sweep'"),
    ("dry-run", "give --dry-run to 'dmp sweep'"),
];

/// What a sweep says to `dmp eval` itself.
const TAKEN_EVAL: &[(&str, &str)] = &[
    ("seed", "every seed of 'seeds' is measured; leave it out"),
    (
        "model",
        "what was trained is measured, on the 'model' of [train]; give it there",
    ),
    ("patch", "what was trained is measured; leave it out"),
    ("json", "a sweep reads JSON anyway; leave it out"),
    (
        "save",
        "every seed would write to the same file; leave it out",
    ),
    (
        "out",
        "'keep-images = true' above keeps what is drawn; leave it out",
    ),
    ("device", "give --device to 'dmp sweep'"),
    ("dry-run", "give --dry-run to 'dmp sweep'"),
];

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    out: PathBuf,
    seeds: Vec<u64>,
    #[serde(default, rename = "keep-images")]
    keep_images: bool,
    #[serde(default)]
    train: Table,
    eval: Option<Value>,
    #[serde(default)]
    setting: Vec<FileSetting>,
    #[serde(default)]
    grid: BTreeMap<Spanned<String>, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSetting {
    name: String,
    #[serde(default)]
    base: bool,
    #[serde(default)]
    train: Table,
}

impl Recipe {
    /// Reads a recipe's text.
    ///
    /// # Errors
    /// One sentence that names the key, its place and the mend.
    pub fn parse(source: &str) -> Result<Self> {
        let file: File = toml::from_str(source).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + source[..span.start].matches('\n').count());
            // The parser's own words have no mend; the documentation has an example of every key.
            anyhow::anyhow!(
                "line {line}: {}; see 'dmp sweep --help' for a recipe",
                error.message().trim()
            )
        })?;
        ensure!(
            !file.out.as_os_str().is_empty(),
            "'out' is empty; give the folder of the sweep"
        );
        ensure!(
            !file.seeds.is_empty(),
            "'seeds' is empty; give one or more, as in 'seeds = [1, 2, 3]'"
        );
        if let Some(seed) = twice(&file.seeds) {
            bail!("'seeds' has {seed} twice; leave one out");
        }
        let common = Words::of(&file.train, TAKEN_TRAIN).context("[train]")?;
        let evaluations = evaluations(file.eval)?;
        let mut settings = Vec::new();
        for setting in file.setting {
            let name = setting.name.trim().to_owned();
            ensure!(
                !name.is_empty(),
                "a [[setting]] has an empty 'name'; give it one"
            );
            settings.push(
                listed(&name, setting, &common).with_context(|| format!("setting '{name}'"))?,
            );
        }
        settings.extend(grid(file.grid, &common).context("[grid]")?);
        check(&settings)?;
        Ok(Self {
            out: file.out,
            seeds: file.seeds,
            keep_images: file.keep_images,
            evaluations,
            settings,
        })
    }

    /// Reads the recipe in a file.
    ///
    /// # Errors
    /// As [`Self::parse`], with the file's name before it.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = || format!("recipe {}", path.display());
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot be read; give a .toml file", shown()))?;
        Self::parse(&text).with_context(shown)
    }
}

fn listed(name: &str, setting: FileSetting, common: &Words) -> Result<Setting> {
    ensure!(
        !setting.base || setting.train.is_empty(),
        "'base = true' trains nothing; leave out 'train', or 'base'"
    );
    let own = Words::of(&setting.train, TAKEN_TRAIN).context("'train'")?;
    Ok(Setting {
        name: name.to_owned(),
        base: setting.base,
        train: common.with(&own),
    })
}

/// `[eval]`, or several `[[eval]]` with names.
fn evaluations(value: Option<Value>) -> Result<Vec<Evaluation>> {
    const EXAMPLE: &str = "give [eval] with flags of 'dmp eval', as 'count = 10000'";
    let tables = match value {
        None => bail!("there is no [eval]; {EXAMPLE}"),
        Some(Value::Table(table)) => vec![table],
        Some(Value::Array(values)) if !values.is_empty() => values
            .into_iter()
            .map(|value| match value {
                Value::Table(table) => Ok(table),
                _ => bail!("'eval' is a list of something else than tables; {EXAMPLE}"),
            })
            .collect::<Result<_>>()?,
        Some(_) => bail!("'eval' is no table; {EXAMPLE}"),
    };
    let several = tables.len() > 1;
    let mut found: Vec<Evaluation> = Vec::new();
    for (index, mut table) in tables.into_iter().enumerate() {
        let place = || format!("[[eval]] number {}", index + 1);
        let name = match table.remove("name") {
            Some(Value::String(name)) if !name.trim().is_empty() => name.trim().to_owned(),
            Some(_) => bail!(
                "{}: 'name' is no text; give what the table shall call it",
                place()
            ),
            None if several => bail!("{}: there are several, so each needs a 'name'", place()),
            None => String::new(),
        };
        let flags = Words::of(&table, TAKEN_EVAL).with_context(|| {
            if several {
                place()
            } else {
                "[eval]".to_owned()
            }
        })?;
        if let Some(other) = found
            .iter()
            .find(|other| other.name == name || other.flags == flags)
        {
            bail!(
                "{} is like [[eval]] '{}' in name or flags; leave one out",
                place(),
                other.name
            );
        }
        found.push(Evaluation { name, flags });
    }
    Ok(found)
}

/// Every combination of the values, named by what differs; the last key's value changes fastest.
fn grid(grid: BTreeMap<Spanned<String>, Value>, common: &Words) -> Result<Vec<Setting>> {
    let mut axes: Vec<_> = grid.into_iter().collect();
    // In the order of the file.
    axes.sort_by_key(|(key, _)| key.span().start);
    if axes.is_empty() {
        return Ok(Vec::new());
    }
    let mut settings = vec![(Vec::new(), common.clone())];
    for (key, values) in &axes {
        let key = key.get_ref();
        let Value::Array(values) = values else {
            bail!(
                "'{key}' is no list; give its values, as in '{key} = [2, 4, 8]', or move it to [train]"
            );
        };
        ensure!(
            !values.is_empty(),
            "'{key}' has an empty list; give values, or leave the key out"
        );
        let mut next = Vec::new();
        for (names, flags) in &settings {
            for value in values {
                let value = text(key, value)?;
                let (mut names, mut flags) = (names.clone(), flags.clone());
                if values.len() > 1 {
                    names.push(format!("{key} {value}"));
                }
                flags.set(key, value, TAKEN_TRAIN)?;
                next.push((names, flags));
            }
        }
        settings = next;
    }
    let name = |names: Vec<String>| match names.is_empty() {
        true => "grid".to_owned(),
        false => names.join(", "),
    };
    Ok(settings
        .into_iter()
        .map(|(names, train)| Setting {
            name: name(names),
            base: false,
            train,
        })
        .collect())
}

/// What one setting cannot know of the others.
fn check(settings: &[Setting]) -> Result<()> {
    ensure!(
        !settings.is_empty(),
        "there is nothing to train; give [[setting]] with a 'name', or [grid] with lists of values"
    );
    for (index, setting) in settings.iter().enumerate() {
        for other in &settings[..index] {
            let (name, like) = (&setting.name, &other.name);
            ensure!(
                name != like,
                "two settings are named '{name}'; give each its own name"
            );
            ensure!(
                !(setting.base && other.base),
                "settings '{like}' and '{name}' both have 'base = true'; changes are against one"
            );
            ensure!(
                setting.base != other.base || setting.train != other.train,
                "settings '{like}' and '{name}' have the same flags; leave one out"
            );
        }
    }
    Ok(())
}

fn twice(seeds: &[u64]) -> Option<u64> {
    let mut seen = BTreeSet::new();
    seeds.iter().copied().find(|seed| !seen.insert(*seed))
}

#[cfg(test)]
mod tests;
