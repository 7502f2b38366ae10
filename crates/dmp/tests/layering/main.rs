//! The layers of the design, kept: dependencies point down only, and the parts that must not know
//! each other do not.
//!
//! `rules` holds what is forbidden and why; `source` and `manifest` find it, with `names` to read
//! the code. A rule over a folder that does not exist yet passes. Comments and texts may name
//! anything: only code counts.

mod manifest;
mod names;
mod rules;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of the workspace, its path relative to the root and written with `/`.
struct File {
    path: String,
    text: String,
}

/// A rule broken at a place.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files under `folder` of the root that end in `extension`, build outputs apart.
fn files(folder: &str, extension: &str) -> Vec<File> {
    let root = workspace_root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry
                .expect("a folder of the workspace can be listed")
                .path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let relative = path
                    .strip_prefix(&root)
                    .expect("the file is under the root");
                let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                let text = fs::read_to_string(&path).expect("a file of the workspace is UTF-8");
                found.push(File {
                    path: parts.join("/"),
                    text,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn assert_none(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(
        lines.is_empty(),
        "the design's layers are broken:\n{}",
        lines.join("\n")
    );
}

#[test]
fn sources_keep_the_layers() {
    let mut sources = files("crates", "rs");
    sources.extend(files("xtask", "rs"));
    sources.retain(|file| file.path.contains("/src/"));
    assert!(
        sources
            .iter()
            .any(|file| file.path == "crates/dmp/src/lib.rs"),
        "the walk found no sources"
    );
    assert_none(&source::check(&sources));
}

#[test]
fn manifests_keep_the_layers() {
    let manifests: Vec<File> = files("crates", "toml")
        .into_iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .collect();
    for rule in rules::DEPENDENCY_RULES {
        let path = format!("crates/{}/Cargo.toml", rule.package);
        assert!(
            manifests.iter().any(|file| file.path == path),
            "{path} is missing"
        );
    }
    let root =
        fs::read_to_string(workspace_root().join("Cargo.toml")).expect("the root has a manifest");
    assert_none(&manifest::check(&root, &manifests));
}
