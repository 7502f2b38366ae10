//! The figures that evaluations give, and how they are written.

use super::statistics::Mean;

/// A figure of `dmp eval --json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Its key there.
    pub key: &'static str,
    /// What a table calls it.
    pub title: &'static str,
    /// Whether it is a share, written in per cent.
    pub share: bool,
    /// Decimals where no error says how many are worth writing.
    decimals: usize,
}

impl Figure {
    const fn new(key: &'static str, title: &'static str, share: bool, decimals: usize) -> Self {
        Self {
            key,
            title,
            share,
            decimals,
        }
    }

    /// In the order of the table.
    pub const ALL: [Self; 10] = [
        Self::new("frechet", "Fréchet distance", false, 3),
        Self::new("accuracy", "accuracy", true, 2),
        Self::new("fid", "FID", false, 3),
        Self::new("sfid", "sFID", false, 3),
        Self::new("inception_score", "Inception score", false, 3),
        Self::new("kid", "KID", false, 6),
        Self::new("precision", "precision", true, 2),
        Self::new("recall", "recall", true, 2),
        Self::new("density", "density", false, 4),
        Self::new("coverage", "coverage", true, 2),
    ];

    /// A mean over seeds, with its error.
    pub fn write(&self, mean: &Mean) -> String {
        let scale = if self.share { 100.0 } else { 1.0 };
        let error = mean.standard_error.map(|error| scale * error);
        let text = with_error(scale * mean.mean, error, self.decimals, false);
        if self.share {
            format!("{text} %")
        } else {
            text
        }
    }
}

/// A change in per cent, with its error and its interval.
pub fn write_change(mean: &Mean) -> String {
    write_signed(mean, " %")
}

/// A difference in percentage points, with its error and its interval.
pub fn write_points(mean: &Mean) -> String {
    write_signed(mean, "")
}

fn write_signed(mean: &Mean, unit: &str) -> String {
    let text = with_error(mean.mean, mean.standard_error, 2, true);
    let decimals = decimals(mean.mean, mean.standard_error).unwrap_or(2);
    match mean.interval {
        None => format!("{text}{unit}"),
        Some([low, high]) => format!(
            "{text}{unit} ({} to {})",
            number(low, decimals, true),
            number(high, decimals, true)
        ),
    }
}

/// A time in the unit that suits it.
pub fn write_seconds(seconds: f64) -> String {
    match seconds {
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7200.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.2} h", seconds / 3600.0),
    }
}

/// `mean ± error`, the error with two digits and the mean with as many decimals.
fn with_error(mean: f64, error: Option<f64>, fallback: usize, sign: bool) -> String {
    let places = decimals(mean, error).unwrap_or(fallback);
    match error {
        None => number(mean, places, sign),
        Some(error) => format!("{} ± {error:.places$}", number(mean, places, sign)),
    }
}

/// Decimals that show two digits of an error; none says of an error that is only that of rounding.
fn decimals(mean: f64, error: Option<f64>) -> Option<usize> {
    let error = error.filter(|error| error.is_finite() && *error > 1e-9 * mean.abs())?;
    Some((1.0 - error.log10().floor()).clamp(0.0, 9.0) as usize)
}

/// With a true minus sign, and a plus where the sign matters.
fn number(value: f64, decimals: usize, sign: bool) -> String {
    let text = if sign {
        format!("{value:+.decimals$}")
    } else {
        format!("{value:.decimals$}")
    };
    text.replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(key: &str) -> Figure {
        Figure::ALL
            .into_iter()
            .find(|figure| figure.key == key)
            .unwrap()
    }

    #[test]
    fn an_error_says_how_many_decimals() {
        let of = |values: &[f64]| Mean::of(values.iter().copied()).unwrap();
        assert_eq!(
            figure("frechet").write(&of(&[16.0, 15.94, 15.73])),
            "15.890 ± 0.082"
        );
        assert_eq!(
            figure("accuracy").write(&of(&[0.8481, 0.8499])),
            "84.900 ± 0.090 %"
        );
        assert_eq!(figure("fid").write(&of(&[120.0, 150.0])), "135 ± 15");
        assert_eq!(figure("frechet").write(&of(&[16.0])), "16.000");
        assert_eq!(
            figure("frechet").write(&of(&[16.0, 16.0])),
            "16.000 ± 0.000"
        );
        assert_eq!(
            write_change(&of(&[-7.5, -6.1, -7.3])),
            "−6.97 ± 0.44 % (−8.85 to −5.09)"
        );
        assert_eq!(
            figure("frechet").write(&of(&[12.1, 12.1 + 1e-14])),
            "12.100 ± 0.000"
        );
        assert_eq!(write_change(&of(&[1.234])), "+1.23 %");
        assert_eq!(write_points(&of(&[-1.234])), "−1.23");
    }

    #[test]
    fn times_have_their_unit() {
        let written = [4.26, 700.0, 40_000.0].map(write_seconds);
        assert_eq!(written, ["4.3 s", "11.7 min", "11.11 h"]);
    }
}
