//! Sweeps of tiny settings: lists and grids, what is done again and what is not, and what is refused.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Bench, command, dmp, ok, refused, rewind, succeeded};

/// A recipe for the bench's backbone, in a file of the bench; its sweep is in `sweep/`.
pub fn recipe(bench: &Bench, seeds: &str, rest: &str) -> String {
    let (model, out) = (bench.str("base"), bench.str("sweep"));
    let text = format!(
        "out = '{out}'\nseeds = {seeds}\n[train]\nmodel = '{model}'\nbatch = 4\nsteps = 4\ncheckpoint-every = 2\nlog-every = 1\n{rest}"
    );
    fs::write(bench.path("recipe.toml"), text).unwrap();
    bench.str("recipe.toml")
}

pub const EVAL: &str = "[eval]\ncount = 4\nsampling-steps = '2'\n";

pub const LIST: &str = "[[setting]]\nname = 'bare'\nbase = true\n\
    [[setting]]\nname = 'full'\ntrain = { method = 'full' }\n\
    [[setting]]\nname = 'patch'\ntrain = { prompt-rate = 0.1 }\n";

/// Runs a sweep; gives its table and the steps it took.
#[track_caller]
pub fn sweep(line: &str) -> (String, Vec<String>) {
    let output = dmp(line);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let steps = stderr
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("] "));
    // Without the rate and the time left, which follow two blanks.
    let steps = steps.map(|(_, step)| step.split("  ").next().unwrap().to_owned());
    (String::from_utf8(output.stdout).unwrap(), steps.collect())
}

/// The folder of the setting whose name begins so.
fn folder(bench: &Bench, name: &str) -> PathBuf {
    let entries = fs::read_dir(bench.path("sweep")).unwrap();
    let mut found = entries.map(|entry| entry.unwrap().path());
    found
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(name)
        })
        .unwrap()
}

/// The same trainings with the patch or LoRA limited or weaker and not; what is neither is measured as it is.
#[test]
fn a_limit_is_measured_beside_none() {
    let bench = Bench::new();
    let eval = "count = 4\nsampling-steps = '2'\n";
    let line = format!(
        "sweep {}",
        recipe(
            &bench,
            "[1]",
            &format!(
                "{LIST}[[setting]]\nname = 'LoRA'\ntrain = {{ method = 'lora', learning-rate = 0.1 }}\n\
                 [[eval]]\nname = 'whole'\n{eval}[[eval]]\nname = 'limited'\npatch-below = 500\npatch-scale = 0.5\n{eval}"
            )
        )
    );
    let plan = ok(&format!("{line} --dry-run"));
    assert_eq!(
        plan.matches("--patch-below 500 --patch-scale 0.5").count(),
        2,
        "{plan}"
    );
    let (_, steps) = sweep(&line);
    assert_eq!(steps.len(), 11);
    let json: Value = serde_json::from_slice(&bench.bytes("sweep/results-recipe.json")).unwrap();
    let figures = |row: usize| {
        let of = |figure: usize| json["rows"][row]["figures"][figure]["by_seed"][0].as_f64();
        let figures = json["rows"][row]["figures"].as_array().unwrap().len();
        (of(0).unwrap(), of(figures / 2).unwrap())
    };
    for row in [0, 1] {
        let (whole, limited) = figures(row);
        assert_eq!(whole, limited);
    }
    for row in [2, 3] {
        let (whole, limited) = figures(row);
        assert_ne!(whole, limited);
    }
}

#[test]
fn a_list_is_done_once_and_what_changes_is_done_again() {
    let bench = Bench::new();
    let line = format!(
        "sweep {}",
        recipe(&bench, "[1, 2]", &format!("{EVAL}{LIST}"))
    );
    let plan = ok(&format!("{line} --dry-run"));
    assert_eq!(plan.matches("to do  dmp ").count(), 10, "{plan}");
    assert!(!bench.path("sweep").exists(), "a dry run writes nothing");

    let (table, steps) = sweep(&line);
    assert_eq!(steps.len(), 10);
    assert_eq!(
        steps[..5],
        [
            "bare, seed 1: eval",
            "full, seed 1: train",
            "full, seed 1: eval",
            "patch, seed 1: train",
            "patch, seed 1: eval"
        ]
    );
    assert!(!table.contains('…'), "{table}");
    for part in [
        "| bare ",
        "| full ",
        "| patch ",
        "retrained)",
        " 800 |",
        "Fréchet distance",
        " to ",
    ] {
        assert!(table.contains(part), "no '{part}' in {table}");
    }
    let markdown = fs::read_to_string(bench.path("sweep/results-recipe.md")).unwrap();
    assert!(markdown.contains(table.trim()), "{markdown}");
    assert!(
        fs::read_to_string(bench.path("sweep/results-recipe.svg"))
            .unwrap()
            .starts_with("<svg")
    );

    // Another recipe in the same folder finds what is done, and has results of its own.
    let shorter = fs::read_to_string(bench.path("recipe.toml")).unwrap();
    let shorter = shorter.replace("seeds = [1, 2]", "seeds = [1]");
    fs::write(bench.path("one seed.toml"), shorter).unwrap();
    let output = command("sweep").arg(bench.path("one seed.toml")).output();
    succeeded("sweep", output.unwrap());
    assert!(bench.path("sweep/results-one seed.svg").exists());
    let one = fs::read_to_string(bench.path("sweep/results-one seed.md")).unwrap();
    assert!(one.contains("(<results-one seed.svg>)"), "{one}");
    let unchanged = fs::read_to_string(bench.path("sweep/results-recipe.md")).unwrap();
    assert_eq!(unchanged, markdown);

    // The change is of figures with the same seed.
    let json: Value = serde_json::from_slice(&bench.bytes("sweep/results-recipe.json")).unwrap();
    let of = |row: usize, key: &str, seed: usize| {
        json["rows"][row]["figures"][0][key][seed].as_f64().unwrap()
    };
    for seed in [0, 1] {
        let expected = 100.0 * (of(2, "by_seed", seed) / of(0, "by_seed", seed) - 1.0);
        assert!((of(2, "change_by_seed", seed) - expected).abs() < 1e-9);
    }
    assert!(
        json["rows"][2]["training_seconds"]["mean"]
            .as_f64()
            .unwrap()
            > 0.0
    );

    // Nothing is left to do, and the table is the same.
    assert_eq!(sweep(&line), (table.clone(), vec![]));
    assert_eq!(
        ok(&format!("{line} --dry-run"))
            .matches("done   dmp ")
            .count(),
        10
    );

    // A training that was stopped goes on to the same bytes; what was measured of those still holds.
    let run = folder(&bench, "patch-").join("seed-2");
    let whole = fs::read(run.join("patch.safetensors")).unwrap();
    rewind(&run, "patch.safetensors");
    let (again, steps) = sweep(&line);
    assert_eq!(steps, ["patch, seed 2: train"]);
    assert_eq!(fs::read(run.join("patch.safetensors")).unwrap(), whole);
    assert_eq!(figures(&again), figures(&table));

    // A measurement that was cut off is taken again.
    let records = fs::read_dir(folder(&bench, "bare-")).unwrap();
    let record = records.map(|entry| entry.unwrap().path()).next().unwrap();
    fs::write(&record, "{").unwrap();
    assert_eq!(sweep(&line).1.len(), 1);

    // Another name for the same is the same; other flags are another setting.
    let renamed = LIST.replace("'patch'", "'prompts'");
    recipe(&bench, "[1, 2]", &format!("{EVAL}{renamed}"));
    let (table, steps) = sweep(&line);
    assert_eq!(steps, Vec::<String>::new());
    assert!(table.contains("| prompts "), "{table}");
    let changed = renamed.replace("0.1", "0.2");
    recipe(&bench, "[1, 2]", &format!("{EVAL}{changed}"));
    let (_, steps) = sweep(&line);
    assert_eq!(
        steps,
        [
            "prompts, seed 1: train",
            "prompts, seed 1: eval",
            "prompts, seed 2: train",
            "prompts, seed 2: eval"
        ]
    );
}

/// A table without its column of times, which differ from run to run.
fn figures(table: &str) -> Vec<Vec<String>> {
    let row = |line: &str| -> Vec<String> {
        let cells = line.split('|').map(|cell| cell.trim().to_owned());
        cells
            .enumerate()
            .filter(|(column, _)| *column != 3)
            .map(|(_, cell)| cell)
            .collect()
    };
    table
        .lines()
        .filter(|line| !line.contains("---"))
        .map(row)
        .collect()
}

#[test]
fn a_grid_is_measured_in_several_ways() {
    let bench = Bench::new();
    let line = format!(
        "sweep {}",
        recipe(
            &bench,
            "[3]",
            "[[eval]]\nname = 'few'\ncount = 4\nsampling-steps = '2'\n\
             [[eval]]\nname = 'more'\ncount = 6\nsampling-steps = '2'\nreference = 'validation'\n\
             [[setting]]\nname = 'LoRA'\ntrain = { method = 'lora', rank = 2 }\n\
             [grid]\nmethod = ['prompt-tuning']\nposition = ['prepend']\nprompts = [2, 3]\n"
        )
    );
    let (table, steps) = sweep(&line);
    assert_eq!(
        steps,
        [
            "LoRA, seed 3: train",
            "LoRA, seed 3: eval few",
            "LoRA, seed 3: eval more",
            "prompts 2, seed 3: train",
            "prompts 2, seed 3: eval few",
            "prompts 2, seed 3: eval more",
            "prompts 3, seed 3: train",
            "prompts 3, seed 3: eval few",
            "prompts 3, seed 3: eval more"
        ]
    );
    for part in ["| prompts 2 ", "few: Fréchet distance", "more: accuracy"] {
        assert!(table.contains(part), "no '{part}' in {table}");
    }
    assert!(
        !table.contains('?'),
        "every kind of file says its parameters: {table}"
    );
    assert!(!table.contains("change") && !table.contains('±'), "{table}");
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is() {
    let bench = Bench::new();
    for (rest, words) in [
        (
            format!("{EVAL}[[setting]]\nname = 'typo'\ntrain = {{ promts = 3 }}"),
            &["recipe.toml", "setting 'typo'", "'--promts'", "'--prompts'"][..],
        ),
        (
            format!("{EVAL}[[setting]]\nname = 'a'\ntrain = {{ steps = 'many' }}"),
            &["setting 'a'", "'many'", "--steps"],
        ),
        (
            format!("{EVAL}[[setting]]\nname = 'a'\ncolour = 3"),
            &["recipe.toml", "line 14", "colour"],
        ),
        (
            format!(
                "{EVAL}{LIST}[[setting]]\nname = 'mixed'\ntrain = {{ method = 'full', prompts = 3 }}"
            ),
            &["setting 'mixed'", "--prompts", "leave it out"],
        ),
        (
            format!("[eval]\nreference = 'nowhere.npz'\n{LIST}"),
            &["[eval]", "nowhere.npz", "no such file"],
        ),
        (
            format!("[[eval]]\nname = 'x'\nmetrics = ['fud']\n{LIST}"),
            &["[[eval]] 'x'", "fud"],
        ),
    ] {
        let error = refused(&format!("sweep {}", recipe(&bench, "[1]", &rest)));
        for word in words {
            assert!(error.contains(word), "no '{word}' in: {error}");
        }
        assert!(
            !bench.path("sweep").exists(),
            "a refused sweep leaves no folder: {error}"
        );
    }
    assert!(refused("sweep nowhere.toml").contains("nowhere.toml"));

    // A folder that is something else's.
    fs::create_dir(bench.path("sweep")).unwrap();
    fs::write(bench.path("sweep/results-recipe.md"), "mine").unwrap();
    let error = refused(&format!(
        "sweep {}",
        recipe(&bench, "[1]", &format!("{EVAL}{LIST}"))
    ));
    assert!(
        error.contains("results-recipe.md") && error.contains("another folder"),
        "{error}"
    );
    assert_eq!(bench.bytes("sweep/results-recipe.md"), b"mine");
}

/// A step that fails names its setting; what was done before it stays done.
#[test]
fn a_step_that_fails_is_named() {
    let bench = Bench::new();
    let diverges = "[[setting]]\nname = 'far'\ntrain = { prompt-rate = 1e38, gate-rate = 1e38 }\n";
    let line = format!(
        "sweep {}",
        recipe(&bench, "[1]", &format!("{EVAL}{LIST}{diverges}"))
    );
    let error = refused(&line);
    assert!(
        error.contains("far, seed 1: train") && error.contains("learning rate"),
        "{error}"
    );
    let table = fs::read_to_string(bench.path("sweep/results-recipe.md")).unwrap();
    assert!(
        table.contains("5 of 7 steps are done") && table.contains(" … |"),
        "{table}"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_step_and_the_sweep() {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let bench = Bench::new();
    let setting =
        "[[setting]]\nname = 'long'\ntrain = { steps = 1000000, checkpoint-every = 1000000 }\n";
    let recipe = recipe(&bench, "[1]", &format!("{EVAL}{setting}"));
    let child = Command::new(assert_cmd::cargo::cargo_bin("dmp"))
        .args(["sweep", &recipe])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, as a terminal gives: its Ctrl-C reaches the sweep and the step.
        .process_group(0)
        .spawn()
        .unwrap();
    let started = || bench.path("sweep").exists() && folder_has_stats(&bench);
    let begin = Instant::now();
    while !started() && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let group = format!("-{}", child.id());
    assert!(
        Command::new("kill")
            .args(["-INT", "--", &group])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(
        stderr.contains("the sweep was stopped") && stderr.contains("to go on"),
        "{stderr}"
    );
    let checkpoints = folder(&bench, "long-").join("seed-1/checkpoints");
    assert_eq!(
        fs::read_dir(checkpoints).unwrap().count(),
        1,
        "the step saved where it stood"
    );
}

/// Whether the one run of a sweep has taken a step.
#[cfg(unix)]
fn folder_has_stats(bench: &Bench) -> bool {
    let entries = fs::read_dir(bench.path("sweep")).unwrap();
    entries
        .into_iter()
        .any(|entry| entry.unwrap().path().join("seed-1/stats.jsonl").exists())
}
