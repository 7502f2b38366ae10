//! Records of a sweep that was run elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Bench, command, dmp, failed, ok, refused, succeeded};
use crate::sweep::{EVAL, LIST, recipe, sweep};

/// Records of another machine stand for its steps; what was trained there need not be here.
#[test]
fn records_made_elsewhere_count_as_done() {
    let bench = Bench::new();
    let recipe = recipe(&bench, "[1, 2]", &format!("{EVAL}{LIST}"));
    let (table, steps) = sweep(&format!("sweep {recipe}"));
    assert_eq!(steps.len(), 10, "{steps:?}");
    let kept = bench.path("kept");
    for setting in fs::read_dir(bench.path("sweep")).unwrap() {
        let setting = setting.unwrap().path();
        let Ok(entries) = fs::read_dir(&setting) else {
            continue;
        };
        let to = kept.join(setting.file_name().unwrap());
        fs::create_dir_all(&to).unwrap();
        for entry in entries {
            let entry = entry.unwrap().path();
            if entry.is_file() {
                fs::copy(&entry, to.join(entry.file_name().unwrap())).unwrap();
            }
        }
    }
    fs::remove_dir_all(bench.path("sweep")).unwrap();
    let line = format!("sweep {recipe} --records {}", kept.display());
    let (again, steps) = sweep(&line);
    assert_eq!((again, steps), (table, Vec::new()));

    // A record that is lost is made again, with what it needs, and nothing else.
    let kept_of = |name: &str| {
        let names = fs::read_dir(&kept).unwrap();
        let mut folders = names.map(|entry| entry.unwrap().path());
        let begins = format!("kept/{name}");
        folders
            .find(|path| path.display().to_string().contains(&begins))
            .unwrap()
    };
    fs::remove_file(kept_of("patch").join("seed-2.train.json")).unwrap();
    fs::remove_dir_all(bench.path("sweep")).unwrap();
    let so_far = ok(&format!("{line} --table"));
    let row = |name: &str| so_far.lines().find(|line| line.contains(name)).unwrap();
    assert!(row("| patch ").contains("[1 of 2]"), "{so_far}");
    assert!(!row("| full ").contains("[1 of 2]"), "{so_far}");
    let beside = ok(&format!("{line} --table --against full"));
    assert!(beside.starts_with(&so_far), "{beside}");
    assert!(beside.contains("against 'full' with"), "{beside}");
    let error = refused(&format!("{line} --against none"));
    assert!(error.contains("--against 'none'"), "{error}");
    assert!(!bench.path("sweep").exists());
    let (_, steps) = sweep(&line);
    assert_eq!(steps, ["patch, seed 2: train", "patch, seed 2: eval"]);
    // What is left is looked at before any of it is done, though with another seed nothing is left.
    fs::remove_dir_all(bench.path("sweep")).unwrap();
    fs::rename(bench.path("base"), bench.path("away")).unwrap();
    let output = dmp(&line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let error = failed(&line, output);
    assert!(error.contains("setting 'patch'"), "{error}");
    assert!(!said.contains("] patch"), "begun: {said}");
    fs::rename(bench.path("away"), bench.path("base")).unwrap();

    // One of which nothing was measured there is done again too.
    if bench.path("sweep").exists() {
        fs::remove_dir_all(bench.path("sweep")).unwrap();
    }
    let entries = fs::read_dir(kept_of("full")).unwrap();
    let mut records = entries.map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let eval = records.find(|path| name(path).starts_with("seed-1.eval"));
    fs::remove_file(eval.unwrap()).unwrap();
    let (_, steps) = sweep(&line);
    assert_eq!(
        steps,
        [
            "full, seed 1: train",
            "full, seed 1: eval",
            "patch, seed 2: train",
            "patch, seed 2: eval"
        ]
    );
    let error = refused(&format!("sweep {recipe} --records {}", bench.str("base")));
    assert!(error.contains("holds no records"), "{error}");
    let error = refused(&format!("{line} --records {}", bench.str("sweep")));
    assert!(error.contains("keeps its own"), "{error}");
    let error = refused(&format!("sweep {recipe} --records nowhere"));
    assert!(error.contains("--records nowhere"), "{error}");
}

/// The tables of docs/results.md are printed from the records in the repository: a change of a recipe, or of what tells settings
/// apart, that has everything done again is no small one.
#[test]
fn records_in_the_repository_count_for_its_recipes() {
    let bench = Bench::empty();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (recipe, records, steps) in [
        ("order", "order", 63),
        ("order-512", "order-512", 33),
        ("rates", "rates", 49),
        ("rates-again", "rates", 63),
        ("ablations", "ablations", 59),
        ("ablations-again", "ablations", 57),
        ("ablations-held-out", "order ablations-held-out", 33),
        ("below", "below", 9),
        ("lora-below", "below", 9),
        ("stable-targets", "rates", 15),
        ("timesteps", "rates", 18),
    ] {
        let recipe = root.join(format!("recipes/{recipe}.toml"));
        let recipe = recipe.display();
        let mut line = format!("sweep {recipe} --dry-run");
        for folder in records.split(' ') {
            let folder = root.join("docs/evidence").join(folder);
            line += &format!(" --records {}", folder.display());
        }
        let mut command = command(&line);
        let output = command.current_dir(bench.path("")).output().unwrap();
        let said = succeeded(&format!("sweep {recipe}"), output);
        let done = said.lines().filter(|line| line.starts_with("done "));
        assert_eq!(done.count(), steps, "{recipe}: {said}");
        assert!(!said.contains("to do "), "{recipe}: {said}");
    }
}
