//! Where an axis has its ticks and how they are written.

/// A tick: where it stands and what it says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub at: f64,
    pub label: String,
}

/// About `target` round numbers (1, 2 or 5 times a power of ten) between `low` and `high`, both
/// included.
pub(super) fn linear_ticks(low: f64, high: f64, target: usize) -> Vec<Tick> {
    let step = round_step((high - low) / target.max(1) as f64);
    if !(step.is_finite() && step > 0.0) {
        return vec![Tick {
            at: low,
            label: significant(low),
        }];
    }
    // Half a millionth of a step forgives the rounding of limits that are meant to be ticks.
    let first = (low / step - 5e-7).ceil() as i64;
    let last = (high / step + 5e-7).floor() as i64;
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    (first..=last)
        .map(|multiple| {
            let at = multiple as f64 * step;
            Tick {
                at,
                label: fixed_or_scientific(at, decimals, low.abs().max(high.abs())),
            }
        })
        .collect()
}

/// Ticks of a logarithmic axis between `low` and `high` (both positive): `at` is the decimal
/// logarithm.
///
/// A wide range has powers of ten alone, a narrower one some of their multiples; within half a
/// decade, where even those are rare, it has round numbers as on a linear axis.
pub(super) fn log_ticks(low: f64, high: f64) -> Vec<Tick> {
    let (low_log, high_log) = (low.log10(), high.log10());
    if high_log - low_log < 0.5 {
        return linear_ticks(low, high, 4)
            .into_iter()
            .map(|tick| Tick {
                at: tick.at.log10(),
                ..tick
            })
            .collect();
    }
    let decades = high_log - low_log;
    let multiples: &[f64] = match decades {
        _ if decades < 1.0 => &[1.0, 2.0, 3.0, 5.0, 7.0],
        _ if decades < 2.0 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let stride = (decades / 6.0).ceil().max(1.0) as usize;
    let (first, last) = (low_log.floor() as i32, high_log.ceil() as i32);
    (first..=last)
        .step_by(stride)
        .flat_map(|power| {
            multiples
                .iter()
                .map(move |multiple| multiple * 10f64.powi(power))
        })
        .filter(|value| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(value))
        .map(|value| Tick {
            at: value.log10(),
            label: significant(value),
        })
        .collect()
}

/// `low..high` with both ends moved out by a fraction of the span, so that no curve runs along the
/// frame.
pub(super) fn padded(low: f64, high: f64, fraction: f64) -> (f64, f64) {
    let span = high - low;
    let padding = if span > 0.0 {
        span * fraction
    } else {
        low.abs().max(1.0) * fraction
    };
    (low - padding, high + padding)
}

fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let multiple = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|multiple| rough <= multiple * power * (1.0 + 1e-9));
    multiple.unwrap_or(10.0) * power
}

fn fixed_or_scientific(value: f64, decimals: usize, largest: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        _ if largest >= 1e6 || decimals > 5 => significant(value),
        _ if decimals == 0 => with_minus(grouped(value)),
        _ => with_minus(format!("{value:.decimals$}")),
    }
}

/// A whole number of less than seven digits, its thousands set off by a narrow space once there are
/// ten of them.
fn grouped(value: f64) -> String {
    let text = format!("{value:.0}");
    match text.len().checked_sub(3) {
        Some(cut) if value.abs() >= 1e4 => format!("{}\u{202f}{}", &text[..cut], &text[cut..]),
        _ => text,
    }
}

/// A number by itself: plain where that is short, scientific elsewhere.
fn significant(value: f64) -> String {
    let plain = value == 0.0 || (1e-3..1e5).contains(&value.abs());
    // Fifteen digits hide the last bit of products such as 3 * 0.1.
    let text = format!("{value:.14e}").parse().map_or_else(
        |_| format!("{value}"),
        |rounded: f64| {
            if plain {
                format!("{rounded}")
            } else {
                format!("{rounded:e}")
            }
        },
    );
    with_minus(text)
}

/// A true minus sign has the width of a digit.
fn with_minus(text: String) -> String {
    text.replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_share_their_decimals() {
        assert_eq!(
            labels(&linear_ticks(0.0, 999.0, 5)),
            ["0", "200", "400", "600", "800"]
        );
        assert_eq!(labels(&linear_ticks(0.07, 0.31, 4)), ["0.1", "0.2", "0.3"]);
        assert_eq!(
            labels(&linear_ticks(-1.0, 1.0, 4)),
            ["\u{2212}1.0", "\u{2212}0.5", "0", "0.5", "1.0"]
        );
        assert_eq!(
            labels(&linear_ticks(-1e4, 2e4, 3)),
            [
                "\u{2212}10\u{202f}000",
                "0",
                "10\u{202f}000",
                "20\u{202f}000"
            ]
        );
        assert_eq!(labels(&linear_ticks(0.0, 2e6, 2)), ["0", "1e6", "2e6"]);
        assert_eq!(
            labels(&linear_ticks(0.0, 4e-6, 2)),
            ["0", "2e\u{2212}6", "4e\u{2212}6"]
        );
    }

    #[test]
    fn a_single_value_has_one_tick() {
        assert_eq!(labels(&linear_ticks(3.0, 3.0, 5)), ["3"]);
        assert_eq!(linear_ticks(f64::NAN, 1.0, 5).len(), 1);
    }

    #[test]
    fn log_ticks_fit_the_number_of_decades() {
        assert_eq!(
            labels(&log_ticks(0.01, 1000.0)),
            ["0.01", "0.1", "1", "10", "100", "1000"]
        );
        assert_eq!(
            labels(&log_ticks(0.025, 0.15)),
            ["0.03", "0.05", "0.07", "0.1"]
        );
        assert_eq!(labels(&log_ticks(0.15, 3.0)), ["0.2", "0.5", "1", "2"]);
        assert_eq!(
            labels(&log_ticks(0.10, 0.13)),
            ["0.10", "0.11", "0.12", "0.13"]
        );
        assert!(log_ticks(1e-30, 1e30).len() <= 8);
        assert_eq!(log_ticks(1.0, 100.0)[1].at, 1.0);
    }

    #[test]
    fn padding_opens_even_an_empty_range() {
        assert_eq!(padded(0.0, 10.0, 0.1), (-1.0, 11.0));
        let (low, high) = padded(5.0, 5.0, 0.1);
        assert!(low < 5.0 && 5.0 < high);
    }
}
