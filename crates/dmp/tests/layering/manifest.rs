//! What a package depends on, by its manifest.

use toml::{Table, Value};

use crate::rules::{DEPENDENCY_RULES, DependencyRule};
use crate::{File, Violation};

/// Checks every manifest against the rules of its package; `root` is the workspace's own manifest.
pub fn check(root: &str, manifests: &[File]) -> Vec<Violation> {
    let root: Table = root.parse().expect("the root manifest is TOML");
    manifests
        .iter()
        .flat_map(|file| check_one(&root, file))
        .collect()
}

fn check_one(root: &Table, file: &File) -> Vec<Violation> {
    let manifest: Table = file.text.parse().expect("a manifest is TOML");
    let name = manifest["package"]["name"]
        .as_str()
        .expect("a package has a name");
    let rules: Vec<&DependencyRule> = DEPENDENCY_RULES
        .iter()
        .filter(|rule| rule.package == name)
        .collect();
    let mut violations = Vec::new();
    for (key, package) in dependencies(root, &manifest) {
        for rule in rules
            .iter()
            .filter(|rule| rule.forbidden.iter().any(|pattern| fits(pattern, &package)))
        {
            violations.push(Violation {
                file: file.path.clone(),
                line: line_of(&file.text, &key),
                rule: format!("{name} must not depend on {package}: {}", rule.because),
            });
        }
    }
    violations
}

/// Key and real package name of every dependency: normal, for tests, for builds, and those of
/// single targets.
fn dependencies(root: &Table, manifest: &Table) -> Vec<(String, String)> {
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values);
    let places = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    places
        .flat_map(|place| kinds.iter().filter_map(|kind| place.get(*kind)?.as_table()))
        .flatten()
        .map(|(key, value)| (key.clone(), package_name(root, key, value)))
        .collect()
}

/// The package behind a key, which `package = "…"` may rename here or in the workspace's table.
fn package_name(root: &Table, key: &str, value: &Value) -> String {
    let renamed = |value: &Value| Some(value.get("package")?.as_str()?.to_owned());
    let inherited = || renamed(root.get("workspace")?.get("dependencies")?.get(key)?);
    renamed(value)
        .or_else(inherited)
        .unwrap_or_else(|| key.to_owned())
}

fn fits(pattern: &str, package: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => package.starts_with(beginning),
        None => package == pattern,
    }
}

fn line_of(text: &str, key: &str) -> usize {
    let declares = |line: &str| {
        line.trim_start()
            .strip_prefix(key)
            .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            || line.trim_end().ends_with(&format!(".{key}]"))
    };
    text.lines().position(declares).map_or(1, |index| index + 1)
}

#[test]
fn a_forbidden_dependency_is_found_wherever_it_hides() {
    let root = "[workspace.dependencies]\ntensors = { package = \"burn-flex\", version = \"1\" }\n";
    let broken = [
        "[dependencies]\nserde = \"1\"\nburn.workspace = true\n",
        "[dependencies]\n\ntensors.workspace = true\n",
        "[dev-dependencies]\n\nother = { package = \"burn-tensor\" }\n",
        "\n[target.'cfg(unix)'.build-dependencies]\ndmp-model = { path = \"../dmp-model\" }\n",
        "\n\n[dependencies.burn-flex]\nversion = \"1\"\n",
    ];
    for dependencies in broken {
        let text = format!("[package]\nname = \"dmp-kernels\"\n{dependencies}");
        let found = check(
            root,
            &[File {
                path: "crates/dmp-kernels/Cargo.toml".into(),
                text,
            }],
        );
        let [violation] = &found[..] else {
            panic!("{dependencies}: {found:?}")
        };
        assert_eq!(violation.line, 5, "{dependencies}");
        assert!(
            violation
                .rule
                .starts_with("dmp-kernels must not depend on "),
            "{}",
            violation.rule
        );
    }
}

#[test]
fn each_rule_can_fail_and_none_fails_without_cause() {
    for rule in DEPENDENCY_RULES {
        let with = |dependency: &str| {
            let text = format!(
                "[package]\nname = \"{}\"\n[dependencies]\n{dependency} = \"1\"\n",
                rule.package
            );
            check(
                "",
                &[File {
                    path: "Cargo.toml".into(),
                    text,
                }],
            )
            .len()
        };
        for pattern in rule.forbidden {
            assert_eq!(
                with(pattern.trim_end_matches('*')),
                1,
                "{}: {pattern}",
                rule.package
            );
        }
        assert_eq!(with("serde"), 0);
        assert!(!rule.because.is_empty());
    }
}
