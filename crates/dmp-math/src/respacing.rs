//! Respacing: which of the training timesteps a shorter sampler visits.

use thiserror::Error;

/// Why a respacing specification cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RespacingError {
    /// Part of the specification is no whole number.
    #[error("`{spec}`: `{part}` is not a count of steps; use e.g. `250`, `ddim50` or `10,15,20`")]
    NotACount {
        /// The whole specification.
        spec: String,
        /// The part that does not parse.
        part: String,
    },
    /// No whole stride over the timesteps visits exactly this many.
    #[error(
        "`{spec}`: no whole stride visits {wanted} of {num_timesteps} steps; \
         nearest counts that work: {nearest}"
    )]
    NoStride {
        /// The whole specification.
        spec: String,
        /// How many steps it asks for.
        wanted: usize,
        /// How many steps there are.
        num_timesteps: usize,
        /// The counts nearest to `wanted` that do work, or "none".
        nearest: String,
    },
    /// A section asks for more steps than it holds.
    #[error(
        "`{spec}`: section {section} holds {size} of the {num_timesteps} steps and cannot \
         give {wanted}; ask for at most {size} there"
    )]
    SectionTooSmall {
        /// The whole specification.
        spec: String,
        /// Section, counted from 1.
        section: usize,
        /// Steps in that section.
        size: usize,
        /// Steps asked of it.
        wanted: usize,
        /// How many steps there are.
        num_timesteps: usize,
    },
    /// The specification keeps no step at all.
    #[error("`{spec}` keeps none of {num_timesteps} steps; give a number of at least 1")]
    Empty {
        /// The whole specification.
        spec: String,
        /// How many steps there are.
        num_timesteps: usize,
    },
}

/// Timesteps of a `num_timesteps`-step process that `spec` keeps: ascending, unique, each below
/// `num_timesteps`.
///
/// The meaning is that of guided-diffusion's `space_timesteps`:
/// - `"250"`: 250 steps spread evenly, first and last included (fractions rounded half to even);
/// - `"10,15,20"`: the process cut into equal sections, each spread evenly over its own count;
/// - `"ddim50"`: the smallest whole stride from 0 that visits exactly 50 steps (Song et al.
///   2010.02502, §D.3);
/// - `""`: every step.
///
/// # Errors
/// When a part is no number, a section is too small, no stride fits or nothing would be kept.
pub fn parse(num_timesteps: usize, spec: &str) -> Result<Vec<usize>, RespacingError> {
    let spec = spec.trim();
    let mut kept = if spec.is_empty() {
        (0..num_timesteps).collect()
    } else if let Some(wanted) = spec.strip_prefix("ddim") {
        strided(num_timesteps, spec, count(spec, wanted)?)?
    } else {
        let counts: Vec<usize> = spec
            .split(',')
            .map(|part| count(spec, part))
            .collect::<Result<_, _>>()?;
        sections(num_timesteps, spec, &counts)?
    };
    kept.dedup();
    if kept.is_empty() {
        return Err(RespacingError::Empty {
            spec: spec.to_owned(),
            num_timesteps,
        });
    }
    Ok(kept)
}

fn count(spec: &str, part: &str) -> Result<usize, RespacingError> {
    part.trim().parse().map_err(|_| RespacingError::NotACount {
        spec: spec.to_owned(),
        part: part.trim().to_owned(),
    })
}

/// 0, s, 2s, … for the smallest stride s in 1 … T − 1 that gives exactly `wanted` steps.
fn strided(num_timesteps: usize, spec: &str, wanted: usize) -> Result<Vec<usize>, RespacingError> {
    let visits = |stride: usize| num_timesteps.div_ceil(stride);
    match (1..num_timesteps).find(|&stride| visits(stride) == wanted) {
        Some(stride) => Ok((0..num_timesteps).step_by(stride).collect()),
        None => {
            // Counts fall as the stride grows, so the neighbours are the last above and first below.
            let above = (1..num_timesteps)
                .map(visits)
                .take_while(|&n| n > wanted)
                .last();
            let below = (1..num_timesteps).map(visits).find(|&n| n < wanted);
            let nearest: Vec<String> = below
                .into_iter()
                .chain(above)
                .map(|n| format!("ddim{n}"))
                .collect();
            Err(RespacingError::NoStride {
                spec: spec.to_owned(),
                wanted,
                num_timesteps,
                nearest: if nearest.is_empty() {
                    "none".into()
                } else {
                    nearest.join(", ")
                },
            })
        }
    }
}

/// Sections of equal size (the first few one longer), each spread evenly over its count.
fn sections(
    num_timesteps: usize,
    spec: &str,
    counts: &[usize],
) -> Result<Vec<usize>, RespacingError> {
    let (size_per, extra) = (num_timesteps / counts.len(), num_timesteps % counts.len());
    let mut start = 0;
    let mut kept = Vec::new();
    for (i, &wanted) in counts.iter().enumerate() {
        let size = size_per + usize::from(i < extra);
        if wanted > size {
            return Err(RespacingError::SectionTooSmall {
                spec: spec.to_owned(),
                section: i + 1,
                size,
                wanted,
                num_timesteps,
            });
        }
        let stride = if wanted <= 1 {
            1.0
        } else {
            (size - 1) as f64 / (wanted - 1) as f64
        };
        // The position is summed up, not multiplied out, and rounded half to even: Python's way,
        // which decides steps such as 164 → 169 of "250".
        let mut position = 0.0_f64;
        for _ in 0..wanted {
            kept.push(start + position.round_ties_even() as usize);
            position += stride;
        }
        start += size;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spreads_a_count_over_the_whole_process() {
        assert_eq!(parse(1000, "7").unwrap(), [0, 166, 333, 500, 666, 832, 999]);
        assert_eq!(parse(1000, "1").unwrap(), [0]);
        assert_eq!(parse(5, "5").unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(parse(3, "").unwrap(), [0, 1, 2]);
    }

    #[test]
    fn ddim_takes_the_smallest_stride() {
        assert_eq!(parse(10, "ddim5").unwrap(), [0, 2, 4, 6, 8]);
        assert_eq!(parse(1000, "ddim12").unwrap()[1], 84);
    }

    #[test]
    fn a_zero_section_is_skipped() {
        assert_eq!(parse(9, "1,0,2").unwrap(), [0, 6, 8]);
    }

    #[test]
    fn errors_name_the_part_and_the_mend() {
        let message = |steps, spec| parse(steps, spec).unwrap_err().to_string();
        assert!(message(1000, "25x").contains("`25x` is not a count"));
        assert!(message(1000, "10,,20").contains("`` is not a count"));
        assert!(message(1000, "-5").contains("`-5`"));
        assert!(message(300, "10,151").contains("at most 150"));
        assert!(message(1000, "ddim300").contains("ddim250, ddim334"));
        assert!(message(1000, "ddim0").contains("ddim0"));
        assert!(message(1000, "0").contains("keeps none"));
        assert!(message(0, "").contains("keeps none"));
        assert!(message(1, "ddim1").contains("none"));
    }

    proptest! {
        #[test]
        fn kept_steps_are_sorted_unique_and_in_range(
            steps in 1_usize..2000,
            counts in prop::collection::vec(0_usize..400, 1..5),
        ) {
            let spec = counts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            if let Ok(kept) = parse(steps, &spec) {
                prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(kept.iter().all(|&t| t < steps));
                prop_assert_eq!(kept.len(), counts.iter().sum::<usize>());
            }
        }

        #[test]
        fn ddim_gives_the_count_asked_for(steps in 2_usize..2000, wanted in 0_usize..2000) {
            if let Ok(kept) = parse(steps, &format!("ddim{wanted}")) {
                prop_assert_eq!(kept.len(), wanted);
                prop_assert!(kept.iter().all(|&t| t < steps));
            }
        }

        #[test]
        fn no_text_panics(steps in 0_usize..50, spec in "[ddim0-9, -]{0,8}") {
            let _ = parse(steps, &spec);
        }
    }
}
