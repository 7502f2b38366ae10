//! Running the program, and a folder with a tiny backbone to run it on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// `dmp` with a command line whose words have no spaces. It stays off the network.
pub fn command(line: &str) -> Command {
    let mut command = Command::cargo_bin("dmp").unwrap();
    command
        .args(line.split_whitespace())
        // What is kept between runs is kept in the target folder.
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env_remove("DMP_INCEPTION")
        .env("HF_HUB_OFFLINE", "1")
        // Without it Mesa's drivers complain on stderr.
        .env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs it.
pub fn dmp(line: &str) -> Output {
    command(line).output().unwrap()
}

/// Runs a command that must succeed; gives its stdout.
#[track_caller]
pub fn ok(line: &str) -> String {
    succeeded(line, dmp(line))
}

/// Stdout of a command that must have succeeded.
#[track_caller]
pub fn succeeded(line: &str, output: Output) -> String {
    assert!(
        output.status.success(),
        "dmp {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail with exit code 1 and one sentence; gives that sentence.
#[track_caller]
pub fn refused(line: &str) -> String {
    failed(line, dmp(line))
}

/// The one sentence of a command that must have failed with exit code 1.
#[track_caller]
pub fn failed(line: &str, output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "dmp {line}: {stderr}");
    let errors: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    errors[0].to_owned()
}

/// A folder with a tiny backbone in `base/`, made by `dmp pretrain`.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self::empty();
        bench.pretrain("base", "");
        bench
    }

    /// Without the backbone.
    pub fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn str(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Four steps from scratch in run directory `run`.
    pub fn pretrain(&self, run: &str, extra: &str) {
        self.pretrain_for(run, 4, extra);
    }

    /// So many steps from scratch.
    pub fn pretrain_for(&self, run: &str, steps: u64, extra: &str) {
        let out = self.str(run);
        ok(&format!(
            "pretrain --data demo --out {out} --hidden-size 16 --depth 2 --num-heads 2 --patch-size 7 --steps {steps} \
             --batch 4 --warmup 1 --checkpoint-every 2 --log-every 1 --keep-every 2 {extra}"
        ));
    }

    /// The command line that trains in run directory `run` on the backbone.
    pub fn train_line(&self, run: &str, extra: &str) -> String {
        let (model, out) = (self.str("base"), self.str(run));
        format!(
            "train --model {model} --data demo --batch 4 --checkpoint-every 2 --log-every 1 --out {out} {extra}"
        )
    }

    /// Trains in run directory `run`; gives what was printed.
    pub fn train(&self, run: &str, extra: &str) -> String {
        ok(&self.train_line(run, extra))
    }

    /// The bytes of a file in the folder.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

/// Puts a finished run of four steps back to where it stood after step 2.
pub fn rewind(run: &Path, product: &str) {
    fs::remove_dir_all(run.join("checkpoints/step-00000004")).unwrap();
    fs::remove_file(run.join(product)).unwrap();
}

/// The sentence of a command that must be refused has all of `words`.
#[track_caller]
pub fn says(line: &str, words: &[&str]) {
    let error = refused(line);
    for word in words {
        assert!(error.contains(word), "no '{word}' in: {error}");
    }
}
