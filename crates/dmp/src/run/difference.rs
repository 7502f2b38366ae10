//! What differs between the settings of two runs.

use std::collections::{BTreeMap, BTreeSet};

/// The first setting, by its path, that is not the same in both texts, but for those in `free`; what a flag names before the
/// hash of what is there.
pub fn first_difference(found: &str, wanted: &str, free: &[&str]) -> Option<String> {
    let (found, wanted) = (settings(found), settings(wanted));
    let paths: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let other =
        |path: &&String| !free.contains(&path.as_str()) && found.get(*path) != wanted.get(*path);
    let kind = |settings: &BTreeMap<String, String>| {
        let of = |(table, _): &&(&str, &str)| settings.keys().any(|path| path.starts_with(table));
        KINDS.iter().find(of).map(|(_, kind)| *kind)
    };
    if let (Some(there), Some(here)) = (kind(&found), kind(&wanted))
        && there != here
    {
        return Some(format!("it trains {there} there, {here} here"));
    }
    // Others follow from where prompts are.
    let rank = |path: &&String| (path.ends_with(HASH), *path != "patch.position");
    let path = paths.into_iter().filter(other).min_by_key(rank)?;
    if let Some(named) = path.strip_suffix(HASH) {
        let flag = match named.rsplit('.').next() {
            Some("backbone") | None => "model",
            Some(flag) => flag,
        };
        return Some(
            match (found.contains_key(path), wanted.contains_key(path)) {
                (true, true) => format!("what --{flag} names is not what it was there"),
                (true, false) => format!("--{flag} was given there and is not here"),
                _ => format!("--{flag} is given here and was not there"),
            },
        );
    }
    let shown = match path.strip_prefix("sampling.") {
        Some(flag) => format!("--{}", flag.replace('_', "-")),
        None => path.clone(),
    };
    let side = |settings: &BTreeMap<String, String>, place: &str| match settings.get(path) {
        Some(value) => format!("'{shown} = {value}' {place}"),
        None => format!("'{shown}' not set {place}"),
    };
    Some(format!(
        "{}, {}",
        side(&found, "there"),
        side(&wanted, "here")
    ))
}

/// Tables that only one kind of training has, and what it trains.
const KINDS: [(&str, &str); 3] = [
    ("patch.", "a patch"),
    ("lora.", "a LoRA"),
    ("backbone.", "all weights"),
];

/// Ending of the settings that are the hash of what a flag names.
const HASH: &str = "_sha256";

/// Every value of a TOML text by its dotted path; none of a text that is none.
fn settings(text: &str) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        flatten("", &table, &mut flat);
    }
    flat
}

fn flatten(prefix: &str, table: &toml::Table, flat: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        match value {
            toml::Value::Table(table) => flatten(&format!("{path}."), table, flat),
            value => drop(flat.insert(path, value.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_compared_with_their_tables() {
        let (found, wanted) = ("[a]\nx = 1\n[b]\ny = 2", "[a]\ny = 2\n[b]\nx = 1");
        let difference = first_difference(found, wanted, &[]).unwrap();
        assert_eq!(difference, "'a.x = 1' there, 'a.x' not set here");
        assert!(first_difference(found, wanted, &["a.x", "b.y", "a.y", "b.x"]).is_none());
    }

    #[test]
    fn a_hash_is_told_by_its_flag_and_last() {
        let difference = |found, wanted| first_difference(found, wanted, &[]).unwrap();
        let (found, wanted) = ("data_sha256 = 'a'", "data_sha256 = 'b'\nseed = 1");
        assert!(difference(found, wanted).contains("seed = 1"));
        let told = difference(found, "data_sha256 = 'b'");
        assert_eq!(told, "what --data names is not what it was there");
        let told = difference("[lora]\nrank = 1", "[balance]\nx = 1\n[patch]\ndepth = 1");
        assert_eq!(told, "it trains a LoRA there, a patch here");
        let told = difference(
            "[sampling]\nsampling_steps = '2'",
            "[sampling]\nsampling_steps = '3'",
        );
        assert!(
            told.starts_with("'--sampling-steps = \"2\"' there"),
            "{told}"
        );
        let patch = "[model]\nbackbone_sha256 = 'a'\npatch_sha256 = 'b'";
        let bare = "[model]\nbackbone_sha256 = 'a'";
        assert_eq!(
            [difference(patch, bare), difference(bare, patch)],
            [
                "--patch was given there and is not here",
                "--patch is given here and was not there"
            ]
        );
    }
}
