//! Progress on stderr, with rate and time left; silent when stderr is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `length` units named `unit`, standing at `done`.
pub fn progress_bar(length: u64, done: u64, unit: &str) -> ProgressBar {
    let template = format!(
        "{{prefix:>9}} {{wide_bar:.cyan/dim}} {{pos}}/{{len}} {unit}  {{per_sec}}  {{eta}} left  {{msg}}"
    );
    let bar = ProgressBar::new(length).with_position(done);
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    // The rate is of this process, not of the run it resumes.
    bar.reset_eta();
    bar
}

/// A spinner for work of unknown length.
pub fn spinner(message: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message.into());
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}
