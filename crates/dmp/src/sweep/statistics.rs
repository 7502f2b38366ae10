//! Means over a few seeds, and how sure they are.

use dmp_math::student;
use serde::Serialize;

/// A mean and what it may be off by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// Values it is of.
    pub count: usize,
    /// The mean.
    pub mean: f64,
    /// One standard error; none of a single value.
    pub standard_error: Option<f64>,
    /// 95 % interval by Student's t with one degree of freedom less than there are values; none of a single value.
    pub interval: Option<[f64; 2]>,
}

impl Mean {
    /// Of these values; `None` of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() {
            return None;
        }
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let freedom = u32::try_from(count - 1).unwrap_or(u32::MAX);
        let standard_error = (freedom > 0).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / f64::from(freedom) / count as f64).sqrt()
        });
        let interval = standard_error.map(|error| {
            let reach = student::quantile(0.975, freedom) * error;
            [mean - reach, mean + reach]
        });
        Some(Self {
            count,
            mean,
            standard_error,
            interval,
        })
    }
}

/// The change from `base` to `value` in per cent of `base`; none where `base` is not above 0, of which nothing is a share.
pub fn change(value: f64, base: f64) -> Option<f64> {
    (base > 0.0).then(|| 100.0 * (value / base - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three changes of the evidence in docs/results.md.
    #[test]
    fn a_mean_of_three_has_error_and_interval() {
        let mean = Mean::of([-7.5, -6.1, -7.3]).unwrap();
        assert!((mean.mean + 6.966_666_667).abs() < 1e-8);
        let error = mean.standard_error.unwrap();
        assert!((error - 0.437_162_568).abs() < 1e-8, "{error}");
        let [low, high] = mean.interval.unwrap();
        assert!((low - (mean.mean - 4.302_652_73 * error)).abs() < 1e-8 && high < -5.0);
    }

    #[test]
    fn one_value_has_no_error() {
        let mean = Mean::of([3.0]).unwrap();
        assert_eq!(
            (mean.mean, mean.standard_error, mean.interval),
            (3.0, None, None)
        );
        assert_eq!(Mean::of([]), None);
    }

    #[test]
    fn a_change_is_a_share_of_something() {
        assert_eq!(change(1.5, 2.0), Some(-25.0));
        assert_eq!(change(1.0, 0.0), None);
        assert_eq!(change(1.0, -0.1), None);
    }
}
