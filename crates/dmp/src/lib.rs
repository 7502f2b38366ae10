//! `dmp`: make a converged, frozen diffusion model better with a small patch.
//!
//! This crate is the program: the command line, run directories, data, evaluation and reports. The method is
//! in [`dmp_model`], its arithmetic in [`dmp_math`].

pub mod bench;
pub mod cli;
pub mod command;
pub mod compute;
pub mod data;
pub mod device;
pub mod digest;
pub mod evaluate;
pub mod flags;
pub mod gate_view;
pub mod hub;
pub mod memory;
pub mod models;
pub mod npz;
pub mod output;
pub mod recipe;
pub mod report;
pub mod run;
pub mod sampling;
pub mod sweep;
pub mod train;
pub mod words;

/// Steps of the diffusion every model here is trained with.
pub const DIFFUSION_STEPS: usize = 1000;

/// Today's date (UTC), `YYYY-MM-DD`.
pub fn today() -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    civil_date((seconds / 86_400) as i64)
}

/// The civil date of a day counted from 1970-01-01 (Howard Hinnant's days-to-civil algorithm).
fn civil_date(days: i64) -> String {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn civil_dates() {
        for (days, date) in [
            (0, "1970-01-01"),
            (19_782, "2024-02-29"),
            (20_780, "2026-11-23"),
        ] {
            assert_eq!(super::civil_date(days), date);
        }
    }
}
