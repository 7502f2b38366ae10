//! How long the rest takes, from how long steps of the same kind took.

use std::collections::BTreeMap;

use super::plan::Work;

/// Seconds of the steps done so far, in this process and in those before it.
#[derive(Debug, Clone, Default)]
pub struct Pace(BTreeMap<Work, Spent>);

#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    steps: f64,
    seconds: f64,
}

impl Pace {
    /// A step was done.
    pub fn add(&mut self, work: Work, seconds: f64) {
        let spent = self.0.entry(work).or_default();
        spent.steps += 1.0;
        spent.seconds += seconds;
    }

    /// Seconds that these steps take; `None` before there was one of each kind.
    pub fn left(&self, rest: &[Work]) -> Option<f64> {
        let mean = |work| self.0.get(work).map(|spent| spent.seconds / spent.steps);
        rest.iter().map(mean).sum()
    }

    /// Rate and time left, in words; nothing before they are known.
    pub fn words(&self, rest: &[Work]) -> String {
        match self.left(rest) {
            Some(left) if left > 0.0 => format!(
                "  ({:.1} steps an hour, {} left)",
                3600.0 * rest.len() as f64 / left,
                duration(left)
            ),
            _ => String::new(),
        }
    }
}

/// A time as people say it.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match (minutes / 60, minutes % 60) {
        _ if seconds < 90.0 => format!("{seconds:.0} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_what_its_kind_took() {
        let mut pace = Pace::default();
        let rest = [Work::Train, Work::Evaluate(0), Work::Evaluate(0)];
        pace.add(Work::Train, 1000.0);
        pace.add(Work::Train, 3000.0);
        assert_eq!(pace.left(&rest), None);
        assert_eq!(pace.words(&rest), "");
        pace.add(Work::Evaluate(0), 30.0);
        assert_eq!(pace.left(&rest), Some(2060.0));
        assert_eq!(pace.words(&rest), "  (5.2 steps an hour, 34 min left)");
        assert_eq!(duration(59.6), "60 s");
        assert_eq!(duration(3700.0), "1 h 02 min");
    }
}
