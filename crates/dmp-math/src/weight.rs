//! Loss weights over timesteps, for a network that predicts the noise ε.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

/// How much a timestep counts in the noise-prediction loss, by its signal-to-noise ratio.
///
/// In configuration files a table, `{ kind = "min-snr", gamma = 5.0 }`; on the command line one word,
/// `min-snr:5`. Both forms leave the parameters out to mean the papers' defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LossWeight {
    /// Every timestep counts 1, the simple loss of DDPM (Ho et al. 2006.11239, eq. 14).
    #[default]
    Constant,
    /// min(snr, γ) / snr (Hang et al. 2303.09556, §3.4); γ = 5 by default.
    MinSnr {
        /// Ratio above which a timestep no longer counts more.
        #[serde(default = "default_min_snr_gamma", deserialize_with = "positive")]
        gamma: f64,
    },
    /// (k + snr)^−γ (Choi et al. 2204.00227, eq. 8); k = 1 and γ = 1 by default.
    P2 {
        /// Keeps the weight of the cleanest timesteps from exploding.
        #[serde(default = "default_p2", deserialize_with = "positive")]
        k: f64,
        /// Strength: 0 is constant, 1 the paper's.
        #[serde(default = "default_p2", deserialize_with = "non_negative")]
        gamma: f64,
    },
}

impl LossWeight {
    /// Weight at signal-to-noise ratio `snr` ≥ 0.
    pub fn at(&self, snr: f64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::MinSnr { gamma } if snr <= gamma => 1.0,
            Self::MinSnr { gamma } => gamma / snr,
            Self::P2 { k, gamma } => (k + snr).powf(-gamma),
        }
    }
}

fn default_min_snr_gamma() -> f64 {
    5.0
}

fn default_p2() -> f64 {
    1.0
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    check(value, value > 0.0, "a number above 0").map_err(de::Error::custom)
}

fn non_negative<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    check(value, value >= 0.0, "a number not below 0").map_err(de::Error::custom)
}

fn check(value: f64, holds: bool, wanted: &'static str) -> Result<f64, LossWeightError> {
    if holds && value.is_finite() {
        Ok(value)
    } else {
        Err(LossWeightError::Parameter {
            found: value.to_string(),
            wanted,
        })
    }
}

/// Why a loss weight cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LossWeightError {
    /// No weight has this name, or it takes no such parameters.
    #[error(
        "unknown loss weight `{0}`; use `constant`, `min-snr`, `min-snr:GAMMA`, `p2` or `p2:K,GAMMA`"
    )]
    Unknown(String),
    /// A parameter is no number or out of range.
    #[error("loss weight parameter `{found}` must be {wanted}")]
    Parameter {
        /// What was given.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
}

impl FromStr for LossWeight {
    type Err = LossWeightError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, arguments) = match text.split_once(':') {
            Some((name, arguments)) => (name, arguments.split(',').collect()),
            None => (text, vec![]),
        };
        match (name, arguments.as_slice()) {
            ("constant", []) => Ok(Self::Constant),
            ("min-snr", []) => Ok(Self::MinSnr {
                gamma: default_min_snr_gamma(),
            }),
            ("min-snr", [gamma]) => Ok(Self::MinSnr {
                gamma: parse_positive(gamma)?,
            }),
            ("p2", []) => Ok(Self::P2 {
                k: default_p2(),
                gamma: default_p2(),
            }),
            ("p2", [k, gamma]) => {
                let strength = parse_number(gamma)?;
                let gamma = check(strength, strength >= 0.0, "a number not below 0")?;
                Ok(Self::P2 {
                    k: parse_positive(k)?,
                    gamma,
                })
            }
            _ => Err(LossWeightError::Unknown(text.to_owned())),
        }
    }
}

fn parse_positive(text: &str) -> Result<f64, LossWeightError> {
    let value = parse_number(text)?;
    check(value, value > 0.0, "a number above 0")
}

fn parse_number(text: &str) -> Result<f64, LossWeightError> {
    text.trim().parse().map_err(|_| LossWeightError::Parameter {
        found: text.to_owned(),
        wanted: "a number",
    })
}

impl fmt::Display for LossWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::MinSnr { gamma } => write!(f, "min-snr:{gamma}"),
            Self::P2 { k, gamma } => write!(f, "p2:{k},{gamma}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn min_snr_caps_the_clean_timesteps() {
        let weight = LossWeight::MinSnr { gamma: 5.0 };
        assert_eq!(
            [0.0, 5.0, 10.0, 1e4].map(|snr| weight.at(snr)),
            [1.0, 1.0, 0.5, 5e-4]
        );
    }

    #[test]
    fn p2_divides_by_one_plus_snr() {
        let weight = LossWeight::P2 { k: 1.0, gamma: 1.0 };
        assert_eq!([0.0, 1.0, 3.0].map(|snr| weight.at(snr)), [1.0, 0.5, 0.25]);
        assert_eq!(LossWeight::P2 { k: 1.0, gamma: 0.0 }.at(7.0), 1.0);
    }

    #[test]
    fn short_forms_mean_the_papers_defaults() {
        assert_eq!("min-snr".parse(), Ok(LossWeight::MinSnr { gamma: 5.0 }));
        assert_eq!("p2".parse(), "p2:1,1".parse::<LossWeight>());
        let json = serde_json::from_str::<LossWeight>(r#"{"kind":"p2"}"#).unwrap();
        assert_eq!(json, LossWeight::P2 { k: 1.0, gamma: 1.0 });
    }

    #[test]
    fn bad_parameters_are_refused_in_both_forms() {
        for text in [
            "min-snr:0",
            "min-snr:nan",
            "p2:1,-1",
            "p2:0,1",
            "p2:1",
            "snr",
            "constant:1",
        ] {
            assert!(text.parse::<LossWeight>().is_err(), "{text}");
        }
        for json in [
            r#"{"kind":"min-snr","gamma":-1}"#,
            r#"{"kind":"p2","k":0}"#,
            r#"{"kind":"min-snr","gama":5}"#,
        ] {
            assert!(serde_json::from_str::<LossWeight>(json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn text_and_serde_round_trip(k in 1e-3..1e3, gamma in 1e-3..1e3) {
            let all =
                [LossWeight::Constant, LossWeight::MinSnr { gamma }, LossWeight::P2 { k, gamma }];
            for weight in all {
                prop_assert_eq!(weight.to_string().parse::<LossWeight>(), Ok(weight));
                // Through a value, not text: serde_json may read a float one bit off.
                let json = serde_json::to_value(weight).unwrap();
                prop_assert_eq!(serde_json::from_value::<LossWeight>(json).unwrap(), weight);
            }
        }
    }
}
