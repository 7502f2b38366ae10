//! What fits into memory, asked before the work begins: a process that runs out of it is killed without a word.

use std::fs;

use anyhow::{Result, ensure};

/// Bytes that can be had on this machine: what is available, within the limit of a container. `None` where the system does
/// not say.
pub fn available() -> Option<u64> {
    let free = in_meminfo(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let said = |name| fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok();
    let left = said("max").and_then(|max| {
        left_of(
            &max,
            &said("current").unwrap_or_default(),
            &said("stat").unwrap_or_default(),
        )
    });
    Some(left.map_or(free, |left| left.min(free)))
}

/// What a container's limit leaves: of what it has taken, files that nobody has looked at lately are given back. `None` where
/// there is no limit.
fn left_of(max: &str, current: &str, stat: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let idle = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "));
    let taken = number(current).unwrap_or(0);
    let taken = taken.saturating_sub(idle.and_then(number).unwrap_or(0));
    Some(number(max)?.saturating_sub(taken))
}

/// `MemAvailable`, in bytes.
fn in_meminfo(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Refuses what needs at least `bytes` when there are fewer; `what` is what needs them, and `mend` what to give instead.
///
/// # Errors
/// With the two and both sizes.
pub fn ensure_fits(what: &str, bytes: u128, mend: &str) -> Result<()> {
    within(what, bytes, mend, available())
}

/// Bytes that an image takes while a block computes it, at the least: its tokens, and what is added to them, in f32.
pub fn least_of_an_image(tokens: usize, hidden_size: usize) -> u128 {
    2 * 4 * tokens as u128 * hidden_size as u128
}

fn within(what: &str, bytes: u128, mend: &str, available: Option<u64>) -> Result<()> {
    let gib = |bytes: u128| bytes as f64 / (1u64 << 30) as f64;
    if let Some(available) = available.map(u128::from) {
        ensure!(
            bytes <= available,
            "{what}: needs {:.1} GiB of memory at the least, and {:.1} GiB are free; {mend}",
            gib(bytes),
            gib(available)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_in_one_sentence() {
        let ask = |bytes| within("--count 9", bytes, "give fewer", Some(3 << 30));
        assert!(ask(3 << 30).is_ok());
        let error = ask(7 << 29).unwrap_err().to_string();
        assert_eq!(
            error,
            "--count 9: needs 3.5 GiB of memory at the least, and 3.0 GiB are free; give fewer"
        );
        assert!(within("x", u128::MAX, "y", None).is_ok());
    }

    #[test]
    fn the_systems_words_are_read() {
        let text = "MemTotal:       24000000 kB\nMemFree: 1 kB\nMemAvailable:   12345 kB\n";
        assert_eq!(in_meminfo(text), Some(12345 * 1024));
        assert_eq!(in_meminfo("nothing"), None);
        assert_eq!(left_of("max\n", "5\n", ""), None);
        assert_eq!(
            left_of("100\n", "70\n", "file 9\ninactive_file 20\n"),
            Some(50)
        );
        assert_eq!(left_of("100\n", "", ""), Some(100));
    }
}
