//! Flags of a command, as a recipe has them: `prompt-rate = 0.005` is `--prompt-rate 0.005`.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use dmp_model::checkpoint::hex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use toml::Value;

/// Flags by their long names without dashes, with what is said after them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Words(BTreeMap<String, String>);

impl Words {
    /// The flags of a table; `taken` are those that a sweep gives itself, each with where it takes it from.
    ///
    /// # Errors
    /// A key that is no flag's name, one that is taken, or a value that no flag has.
    pub fn of(table: &toml::Table, taken: &[(&str, &str)]) -> Result<Self> {
        let mut words = Self::default();
        for (key, value) in table {
            words.set(key, text(key, value)?, taken)?;
        }
        Ok(words)
    }

    /// Gives one flag; a value that was there goes.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn set(&mut self, key: &str, value: String, taken: &[(&str, &str)]) -> Result<()> {
        ensure!(
            key.starts_with(|first: char| first.is_ascii_alphabetic()),
            "'{key}' is no flag; write its long name without the dashes, as in 'prompt-rate = 0.005'"
        );
        if let Some((_, mend)) = taken.iter().find(|(name, _)| *name == key) {
            bail!("'{key}' is not for a recipe to say here: {mend}");
        }
        self.0.insert(key.to_owned(), value);
        Ok(())
    }

    /// These flags, with those of `other` in the place of the same ones here.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut all = self.0.clone();
        all.extend(other.0.clone());
        Self(all)
    }

    /// These flags without the named ones.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        let mut left = self.0.clone();
        left.retain(|name, _| !names.contains(&name.as_str()));
        Self(left)
    }

    /// What is said after a flag.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All flags and what is said after each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// As they are typed.
    pub fn typed(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .flat_map(|(name, value)| [format!("--{name}"), value.clone()])
    }

    /// A short name for exactly these flags of `command`.
    pub fn hash(&self, command: &str) -> String {
        let mut hasher = Sha256::new();
        // Each text with its length before it, so that no two lists of them run together alike.
        let mut add = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        add(command);
        self.iter().for_each(|(name, value)| {
            add(name);
            add(value);
        });
        hex(&hasher.finalize()[..6])
    }
}

/// A value as it is typed; several are joined by commas.
///
/// # Errors
/// A value that no flag has, such as a table.
pub fn text(key: &str, value: &Value) -> Result<String> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => float(*number),
        Value::Boolean(truth) => truth.to_string(),
        Value::Array(values) if !values.is_empty() => {
            let parts = values.iter().map(|value| match value {
                Value::Array(_) => bail!("'{key}' has a list within a list; write one list"),
                value => text(key, value),
            });
            parts.collect::<Result<Vec<_>>>()?.join(",")
        }
        Value::Array(_) => bail!("'{key}' has an empty list; give values, or leave the key out"),
        Value::Datetime(_) | Value::Table(_) => {
            bail!(
                "'{key}' is no value of a flag; give a text, a number, true, false or a list of them"
            )
        }
    })
}

/// The shortest text that reads back as the same number.
fn float(number: f64) -> String {
    let text = format!("{number:?}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Words> {
        Words::of(&text.parse().unwrap(), &[("seed", "it is one of 'seeds'")])
    }

    #[test]
    fn values_are_typed_as_on_a_command_line() {
        let words = words(
            "prompts = 8\nprompt-rate = 1e-4\nclip-norm = 1.0\ngate-noise = false\nmetrics = ['fid', 'kid']\ndecay = 'cosine'\nx = 1e-7",
        );
        let typed: Vec<String> = words.unwrap().typed().collect();
        assert_eq!(
            typed.join(" "),
            "--clip-norm 1 --decay cosine --gate-noise false --metrics fid,kid --prompt-rate 0.0001 --prompts 8 --x 1e-7"
        );
    }

    #[test]
    fn what_is_no_flag_is_refused_by_name() {
        for (text, says) in [
            ("--steps = 3", "without the dashes"),
            ("seed = 3", "one of 'seeds'"),
            ("a = {b = 1}", "'a' is no value"),
            ("a = []", "empty list"),
            ("a = [[1]]", "list within a list"),
        ] {
            let error = words(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_hash_knows_every_flag_and_no_other_order() {
        let hash = |text: &str| words(text).unwrap().hash("train");
        assert_eq!(hash("a = 1\nb = 2"), hash("b = 2\na = 1"));
        assert_ne!(hash("a = 1\nb = 2"), hash("a = 1\nb = 3"));
        assert_ne!(hash("a = '1b'"), hash("a1 = 'b'"));
        assert_ne!(hash("a = 1"), words("a = 1").unwrap().hash("eval"));
    }

    #[test]
    fn later_flags_win() {
        let both = words("a = 1\nb = 2")
            .unwrap()
            .with(&words("b = 3").unwrap());
        assert_eq!(both.typed().collect::<Vec<_>>().join(" "), "--a 1 --b 3");
        assert_eq!(
            both.without(&["a"]).iter().collect::<Vec<_>>(),
            [("b", "3")]
        );
    }
}
