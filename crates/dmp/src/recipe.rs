//! A file of flags: `dmp train recipe.toml`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use toml::{Table, Value};

use crate::words::Words;

/// Flags that a recipe does not say: they are of one call.
const TAKEN: &[(&str, &str)] = &[
    ("dry-run", "give --dry-run on the command line"),
    ("device", "give --device on the command line"),
];

/// A recipe that was named.
pub struct Recipe {
    /// The file.
    pub path: PathBuf,
    /// Its flags as they are typed, `--flag=value`, but for those that were typed already.
    pub words: Vec<String>,
}

/// The flags of the recipe that a command was given; none without a recipe.
///
/// # Errors
/// When the file cannot be read, or has keys that the command has no flags for.
pub fn flags(program: &Command, matches: &ArgMatches) -> Result<Option<Recipe>> {
    let Some((name, matches)) = matches.subcommand() else {
        return Ok(None);
    };
    let Some(command) = program.find_subcommand(name) else {
        return Ok(None);
    };
    // Other commands have recipes of their own kind, or none.
    let given = (name == "train").then(|| matches.get_one::<PathBuf>("recipe"));
    let Some(path) = given.flatten() else {
        return Ok(None);
    };
    let mut words = Vec::new();
    for (flag, value) in read(path, name)?.iter() {
        let known = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(flag));
        let Some(arg) = known else {
            let close = command.get_arguments().filter_map(clap::Arg::get_long);
            let close = close
                .max_by_key(|other| alike(other, flag))
                .unwrap_or("out");
            bail!(
                "{}: 'dmp {name}' has no flag --{flag}; did you mean '{close}'?",
                path.display()
            );
        };
        let typed = matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        if !typed {
            words.push(format!("--{flag}={value}"));
        }
    }
    Ok(Some(Recipe {
        path: path.clone(),
        words,
    }))
}

/// Letters that two words share at their beginnings and ends.
fn alike(a: &str, b: &str) -> usize {
    let same = |(a, b): &(char, char)| a == b;
    let start = a.chars().zip(b.chars()).take_while(same).count();
    start
        + a.chars()
            .rev()
            .zip(b.chars().rev())
            .take_while(same)
            .count()
}

fn read(path: &Path, command: &str) -> Result<Words> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("recipe {shown}: cannot be read; give a .toml file of flags"))?;
    let table: Table = text
        .parse()
        .with_context(|| format!("recipe {shown}: is no TOML"))?;
    let of_sweep = ["setting", "seeds", "grid"]
        .iter()
        .any(|key| table.contains_key(*key));
    ensure!(
        !of_sweep,
        "recipe {shown}: is of a sweep; run 'dmp sweep {shown}'"
    );
    if let Some(other) = table.keys().find(|key| *key != command) {
        bail!("recipe {shown}: '{other}' is not known here; write flags below [{command}]");
    }
    match table.get(command) {
        Some(Value::Table(flags)) => {
            Words::of(flags, TAKEN).with_context(|| format!("recipe {shown}"))
        }
        _ => bail!("recipe {shown}: has no table [{command}]; write flags below it"),
    }
}
