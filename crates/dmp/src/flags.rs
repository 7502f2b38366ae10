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

/// A number of images, not 0.
pub fn images(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("give at least 1 image".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}
