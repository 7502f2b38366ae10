//! Which rules a source file breaks.

use crate::names::Names;
use crate::rules::{COMMANDS, MAY_BE_UNFINISHED, MOST_LINES, SOURCE_RULES, TELLING, UNFINISHED};
use crate::{File, Violation};

/// Checks every file against every rule.
pub fn check(files: &[File]) -> Vec<Violation> {
    let commands: Vec<&str> = files.iter().filter_map(command_of).collect();
    files
        .iter()
        .flat_map(|file| check_one(file, &commands))
        .collect()
}

fn check_one(file: &File, commands: &[&str]) -> Vec<Violation> {
    let violation = |line, rule| Violation {
        file: file.path.clone(),
        line,
        rule,
    };
    let mut violations = Vec::new();
    let lines = file.text.lines().count();
    if lines > MOST_LINES {
        violations.push(violation(
            lines,
            format!("{lines} lines; no source has more than {MOST_LINES}"),
        ));
    }
    let names = match Names::read(&file.path, &file.text) {
        Ok(names) => names,
        Err(reason) => {
            violations.push(violation(1, format!("is not Rust: {reason}")));
            return violations;
        }
    };
    let may_be_unfinished = MAY_BE_UNFINISHED.iter().any(|(path, _)| *path == file.path);
    for (name, line) in names
        .macros
        .iter()
        .filter(|(name, _)| UNFINISHED.contains(&name.as_str()))
    {
        if !may_be_unfinished && file.path.starts_with("crates/") {
            violations.push(violation(*line, format!("`{name}!` leaves work undone")));
        }
    }
    for (name, line) in names
        .macros
        .iter()
        .filter(|(name, _)| TELLING.contains(&name.as_str()))
    {
        if is_within(&file.path, "crates/dmp/src") {
            violations.push(violation(
                *line,
                format!("`{name}!` panics where standard error takes no more; use `tell!`"),
            ));
        }
    }
    for rule in SOURCE_RULES
        .iter()
        .filter(|rule| is_within(&file.path, rule.within))
    {
        for forbidden in rule.forbidden {
            for line in names.lines_naming(forbidden) {
                violations.push(violation(
                    line,
                    format!("names `{forbidden}`: {}", rule.because),
                ));
            }
        }
    }
    if let Some(own) = command_of(file) {
        let mut others: Vec<&str> = commands
            .iter()
            .copied()
            .filter(|other| *other != own)
            .collect();
        others.sort_unstable();
        others.dedup();
        for other in others {
            for line in names.lines_naming(&format!("crate::command::{other}")) {
                violations.push(violation(
                    line,
                    format!("command `{own}` names command `{other}`"),
                ));
            }
        }
    }
    violations
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The command a file belongs to; `mod.rs`, which lists them all, belongs to none.
fn command_of(file: &File) -> Option<&str> {
    let rest = file.path.strip_prefix(COMMANDS)?.strip_prefix('/')?;
    let name = rest.split('/').next()?.trim_end_matches(".rs");
    (name != "mod").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.into(),
            text: text.into(),
        }
    }

    /// The one violation of a single file.
    fn only(path: &str, text: &str) -> Violation {
        let mut found = check(&[file(path, text)]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found.remove(0)
    }

    #[test]
    fn each_source_rule_can_fail() {
        for rule in SOURCE_RULES {
            for forbidden in rule.forbidden {
                for path in [
                    format!("{}.rs", rule.within),
                    format!("{}/a/b.rs", rule.within),
                ] {
                    let violation = only(&path, &format!("// first\nuse {forbidden}::Thing;\n"));
                    assert_eq!((violation.file, violation.line), (path, 2));
                    assert!(
                        violation.rule.contains(forbidden) && violation.rule.contains(rule.because)
                    );
                }
            }
        }
    }

    #[test]
    fn a_forbidden_path_is_found_however_it_is_written() {
        for text in [
            "use crate::dit;",
            "use crate::{loss, dit::{Block, Config}};",
            "pub(crate) use crate::{self, dit as d};",
            "use super::super::dit::Block;",
            "fn f() { let x = crate::dit::Block::new(); }",
            "fn f() { println!(\"{}\", crate::dit::N); }",
            "mod tests { use super::super::super::dit::Block; }",
            "use crate::*;",
        ] {
            let violation = only("crates/dmp-model/src/patch/gate.rs", text);
            assert_eq!(violation.line, 1, "{text}");
        }
    }

    #[test]
    fn what_is_allowed_passes() {
        let text = "//! See `crate::patch`.\n/// [`crate::patch::Gate`], \"todo!()\"\n\
                    use crate::{loss as patch, patches};\nuse super::*;\nconst X: &str = \"crate::patch\";\n\
                    use other::patch::X;\n";
        assert_eq!(
            check(&[file("crates/dmp-model/src/dit/block.rs", text)]),
            []
        );
        // `patched` is where the two meet, and no part of `patch`.
        assert_eq!(
            check(&[file(
                "crates/dmp-model/src/patched.rs",
                "use crate::{dit, patch};"
            )]),
            []
        );
    }

    #[test]
    fn a_command_names_no_other() {
        let commands = |text: &str| {
            check(&[
                file(
                    "crates/dmp/src/command/mod.rs",
                    "mod sample; mod train; use crate::command::train::run;",
                ),
                file("crates/dmp/src/command/sample.rs", ""),
                file("crates/dmp/src/command/train/mod.rs", text),
                file(
                    "crates/dmp/src/command/train/resume.rs",
                    "use crate::command::{Context, train::run};",
                ),
            ])
        };
        assert_eq!(
            commands("use crate::command::Context; mod resume; use self::resume::go;"),
            []
        );
        for text in [
            "use crate::command::sample::run;",
            "use super::sample;",
            "use super::{Context, sample::run};",
        ] {
            let found = commands(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(
                found[0].to_string(),
                "crates/dmp/src/command/train/mod.rs:1: command `train` names command `sample`"
            );
        }
    }

    #[test]
    fn long_and_unfinished_files_are_found() {
        let long = "// line\n".repeat(MOST_LINES);
        assert_eq!(check(&[file("xtask/src/main.rs", &long)]), []);
        let rule = only("xtask/src/main.rs", &format!("{long}fn f() {{}}\n")).rule;
        assert!(rule.starts_with("601 lines"), "{rule}");

        let telling = |path: &str| check(&[file(path, "fn f() { eprintln!(); }\n")]).len();
        assert_eq!(telling("crates/dmp/src/a.rs"), 1);
        assert_eq!(telling("xtask/src/a.rs"), 0);

        for unfinished in UNFINISHED {
            let violation = only(
                "crates/dmp/src/lib.rs",
                &format!("fn f() {{\n    {unfinished}!(\"later\")\n}}\n"),
            );
            assert_eq!(
                (violation.line, violation.rule),
                (2, format!("`{unfinished}!` leaves work undone"))
            );
        }
        assert_eq!(
            MAY_BE_UNFINISHED.len(),
            0,
            "an entry needs a reason, and this line the new number"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_reported() {
        assert!(
            only("crates/dmp/src/lib.rs", "fn f( {")
                .rule
                .starts_with("is not Rust")
        );
    }
}
