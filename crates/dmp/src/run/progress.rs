//! Progress on stderr, with rate and time left: a bar on a terminal, and a line now and then elsewhere, as in a log file.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

/// Between lines where there is no terminal. What is done sooner says nothing.
const BETWEEN_LINES: Duration = Duration::from_secs(30);

/// A bar of `length` units named `unit`, standing at `done`.
pub fn progress_bar(length: u64, done: u64, unit: &str) -> ProgressBar {
    let terminal = io::stderr().is_terminal();
    let bar = if terminal {
        "{wide_bar:.cyan/dim} "
    } else {
        ""
    };
    let template =
        format!("{{prefix:>9}} {bar}{{pos}}/{{len}} {unit}  {{per_sec}}  {{eta}} left  {{msg}}");
    let bar = ProgressBar::new(length).with_position(done);
    if !terminal {
        bar.set_draw_target(ProgressDrawTarget::term_like_with_hz(
            Box::new(Log::every(BETWEEN_LINES, io::stderr())),
            1,
        ));
    }
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    // The rate is of this process, not of the run it resumes.
    bar.reset_eta();
    bar
}

/// A terminal that keeps every line it shows, and so shows few.
#[derive(Debug)]
struct Log<W> {
    between: Duration,
    last: Mutex<Instant>,
    out: Mutex<W>,
}

impl<W: Write> Log<W> {
    fn every(between: Duration, out: W) -> Self {
        Self {
            between,
            last: Mutex::new(Instant::now()),
            out: Mutex::new(out),
        }
    }
}

impl<W: Write + std::fmt::Debug + Send> TermLike for Log<W> {
    fn width(&self) -> u16 {
        200
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let (Ok(mut last), Ok(mut out)) = (self.last.lock(), self.out.lock()) else {
            return Ok(());
        };
        let text = text.trim();
        if !text.is_empty() && last.elapsed() >= self.between {
            *last = Instant::now();
            writeln!(out, "{text}")?;
        }
        Ok(())
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_line_now_and_then() {
        let log = Log::every(Duration::from_millis(40), Vec::new());
        let write = |text: &str| log.write_str(text).unwrap();
        write("too soon");
        std::thread::sleep(Duration::from_millis(50));
        write("   ");
        write(" first ");
        write("too soon");
        std::thread::sleep(Duration::from_millis(50));
        write("second");
        assert_eq!(*log.out.lock().unwrap(), b"first\nsecond\n");
    }
}
