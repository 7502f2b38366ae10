//! What the values of flags may be, in words for the person who typed them.

/// A number from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "give a number".to_owned())?;
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err("give a number from 0 to 1".to_owned())
    }
}

/// What 32-bit floats, in which most are used, hold.
const LARGEST: f64 = 1e38;

/// A number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (1.0 / LARGEST..=LARGEST).contains(&value) => Ok(value),
        Ok(value) if value > 0.0 && value.is_finite() => {
            Err(format!("give a number from 1e-38 to {LARGEST:e}"))
        }
        _ => Err("give a number above 0".to_owned()),
    }
}

/// A whole number that one is too few of.
pub fn two_or_more(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(value) if value >= 2 => Ok(value),
        _ => Err("give a whole number of at least 2".to_owned()),
    }
}

/// How often something is repeated to take a mean or a spread of it.
pub const MOST_REPEATS: usize = 1_000_000;

/// Resamples: none, or enough for an interval.
pub fn resamples(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(value) if value == 0 || (20..=MOST_REPEATS).contains(&value) => Ok(value),
        _ => Err(format!(
            "give 0 for none, or a whole number from 20 to {MOST_REPEATS}"
        )),
    }
}

/// Repetitions.
pub fn repeats(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(value) if (1..=MOST_REPEATS).contains(&value) => Ok(value),
        _ => Err(format!("give a whole number from 1 to {MOST_REPEATS}")),
    }
}

/// A number that is not below 0.
pub fn non_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=LARGEST).contains(&value) => Ok(value),
        Ok(value) if value > 0.0 && value.is_finite() => {
            Err(format!("give a number of at most {LARGEST:e}"))
        }
        _ => Err("give a number of at least 0".to_owned()),
    }
}

/// A decay of a moving average: a number from 0 to below 1.
pub fn ema_decay(text: &str) -> Result<f64, String> {
    match share(text) {
        Ok(1.0) => Err("give a number below 1, or the average never moves".to_owned()),
        other => other,
    }
}

/// The first flag that was given, of flags and whether they were.
pub fn first_given(flags: &[(&'static str, bool)]) -> Option<&'static str> {
    flags
        .iter()
        .find(|(_, given)| *given)
        .map(|(flag, _)| *flag)
}

/// Tokens of an image: a square number.
pub fn tokens(text: &str) -> Result<usize, String> {
    let tokens = within(text, 1 << 20)?;
    let side = tokens.isqrt();
    if side * side == tokens {
        return Ok(tokens);
    }
    Err(format!(
        "images are square; give {} or {} tokens",
        side * side,
        (side + 1) * (side + 1)
    ))
}

/// Rows and columns, `4x7`, or one number for both.
pub fn grid(text: &str) -> Result<[usize; 2], String> {
    let (rows, columns) = text.split_once('x').unwrap_or((text, text));
    match (within(rows, 1 << 12), within(columns, 1 << 12)) {
        (Ok(rows), Ok(columns)) => Ok([rows, columns]),
        _ => Err("give rows and columns, from 1 to 4096, as in 4x7".to_owned()),
    }
}

/// A side of an image, in pixels.
pub fn side(text: &str) -> Result<usize, String> {
    within(text, 1 << 14)
}

/// How strongly a patch acts: a number that is finite in 32 bits.
pub fn strength(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.abs() <= LARGEST => Ok(value),
        Ok(value) if value.is_finite() => Err(format!(
            "give a number from -{LARGEST:e} to {LARGEST:e}, 1 for the patch as it was trained"
        )),
        _ => Err("give a number, 1 for the patch as it was trained".to_owned()),
    }
}

/// A timestep that others are below: from 1 to all there are.
pub fn timestep(text: &str) -> Result<usize, String> {
    within(text, crate::DIFFUSION_STEPS)
}

/// What is below a timestep, where that is not all there is.
pub fn limit(below: usize) -> Option<usize> {
    (below < crate::DIFFUSION_STEPS).then_some(below)
}

/// A number of things, not 0.
pub fn count(text: &str) -> Result<usize, String> {
    within(text, 1 << 32)
}

/// Threads.
pub fn threads(text: &str) -> Result<usize, String> {
    within(text, 1 << 10)
}

/// Images at a time.
pub fn batch(text: &str) -> Result<usize, String> {
    within(text, 1 << 16)
}

/// A whole number from 1 to `most`.
fn within(text: &str, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("give a whole number from 1 to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_rate_is_refused() {
        assert_eq!(positive("1e-3"), Ok(1e-3));
        assert_eq!(non_negative("0"), Ok(0.0));
        for text in ["nan", "inf", "-1", "x"] {
            assert!(positive(text).is_err(), "{text}");
            assert!(non_negative(text).is_err(), "{text}");
        }
        assert!(positive("0").is_err());
    }
}
