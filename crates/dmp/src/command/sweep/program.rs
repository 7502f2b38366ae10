//! The steps of a sweep: processes of this very program, so that each has its memory to itself, goes on where it was
//! stopped, and hears the terminal's Ctrl-C.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::device::DeviceName;
use crate::run::{Interrupt, Interrupted};

/// What a program exits with after Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Whether a process's progress and notes reach the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stderr {
    /// They do.
    Shown,
    /// They are of no interest.
    Hidden,
}

/// This program, to be run again.
pub(super) struct Program {
    path: PathBuf,
    device: DeviceName,
    interrupt: Interrupt,
}

impl Program {
    /// The one that runs now. Its processes compute on `device`.
    pub(super) fn this(device: DeviceName, interrupt: Interrupt) -> Result<Self> {
        let path = if cfg!(target_os = "linux") {
            // The running file itself, even when a build has put another in its place.
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe()
                .context("the program does not find its own file; start it by its full path")?
        };
        Ok(Self {
            path,
            device,
            interrupt,
        })
    }

    /// Whether the user has asked to stop.
    pub(super) fn interrupted(&self) -> bool {
        self.interrupt.asked()
    }

    /// Runs a command to its end and gives what it printed.
    ///
    /// # Errors
    /// [`Interrupted`] after Ctrl-C; else the sentence that the process ended with.
    pub(super) fn run(&self, words: &[String], stderr: Stderr) -> Result<String> {
        // A bar of progress is drawn on a terminal alone; elsewhere the notes are kept apart from the error.
        let inherit = stderr == Stderr::Shown && io::stderr().is_terminal();
        let child = Command::new(&self.path)
            .args(["--device", &self.device.to_string()])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(if inherit {
                Stdio::inherit()
            } else {
                Stdio::piped()
            })
            .spawn()
            .context("a process cannot be started")?;
        let output = child
            .wait_with_output()
            .context("a process cannot be waited for")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if stderr == Stderr::Shown {
            notes(&said).for_each(|note| crate::tell!("{note}"));
        }
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        if self.interrupted() || output.status.code() == Some(INTERRUPTED) {
            return Err(Interrupted("stopped".to_owned()).into());
        }
        match said
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("error: "))
        {
            Some(sentence) => bail!("{sentence}"),
            None if inherit && output.status.code().is_some() => {
                bail!("it failed, as it says above")
            }
            None => bail!("it ended with {}", end(output.status)),
        }
    }
}

/// What a process said beside its error.
fn notes(said: &str) -> impl Iterator<Item = &str> {
    said.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("error: "))
}

/// How a process ended that did not say why.
fn end(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code} and said nothing"),
        None => format!("{status}; memory may have run out"),
    }
}
