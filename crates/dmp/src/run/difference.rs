//! What differs between the settings of two runs.

use std::collections::BTreeMap;

/// The first setting, by its path, that is not the same in both texts, but for those in `free`.
pub fn first_difference(found: &str, wanted: &str, free: &[&str]) -> Option<String> {
    let (found, wanted) = (settings(found), settings(wanted));
    let path = found
        .keys()
        .chain(wanted.keys())
        .find(|path| !free.contains(&path.as_str()) && found.get(*path) != wanted.get(*path))?;
    let side = |settings: &BTreeMap<String, String>, place: &str| match settings.get(path) {
        Some(value) => format!("'{path} = {value}' {place}"),
        None => format!("'{path}' not set {place}"),
    };
    Some(format!(
        "{}, {}",
        side(&found, "there"),
        side(&wanted, "here")
    ))
}

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
}
