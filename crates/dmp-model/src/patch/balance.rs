//! Losses that keep the gate from using few prompts only.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::Routing;

/// Which balance terms are added to the loss, in which form, with which weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceLoss {
    /// The formula.
    pub form: BalanceForm,
    /// Weight of the importance term; 0 leaves it out.
    pub importance: f64,
    /// Weight of the load term; 0 leaves it out.
    pub load: f64,
}

impl Default for BalanceLoss {
    fn default() -> Self {
        Self {
            form: BalanceForm::Shazeer,
            importance: 1.0,
            load: 1.0,
        }
    }
}

/// The formula of the balance terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BalanceForm {
    /// cv² over prompts of Σ_batch m and of Σ_batch P(n in top-k), each averaged over blocks
    /// (arXiv 1701.06538, section 4).
    #[default]
    Shazeer,
    /// What the public code computes: importance = cv² of all entries of Σ_l m_l `[B, N]`,
    /// load = Σ_n mean_l Σ_batch P(n in top-k), which is 0 when k = N.
    Reference,
}

/// The two terms, unweighted; each a tensor of one value.
#[derive(Debug, Clone)]
pub struct BalanceTerms {
    /// Importance: how unevenly weight is spread over prompts.
    pub importance: Tensor<1>,
    /// Load: how unevenly prompts are selected; `None` when every prompt is selected (k = N), or the gate is not noisy.
    pub load: Option<Tensor<1>>,
}

impl BalanceForm {
    /// The terms for what the gate did; `None` when it made no masks.
    pub fn terms(self, routing: &Routing) -> Option<BalanceTerms> {
        if routing.masks.is_empty() {
            return None;
        }
        Some(match self {
            Self::Shazeer => BalanceTerms {
                importance: mean_cv_squared(&routing.masks),
                load: (!routing.in_top_k.is_empty()).then(|| mean_cv_squared(&routing.in_top_k)),
            },
            Self::Reference => BalanceTerms {
                importance: cv_squared(
                    Tensor::stack::<3>(routing.masks.clone(), 0)
                        .sum_dim(0)
                        .flatten(0, 2),
                ),
                load: (!routing.in_top_k.is_empty()).then(|| {
                    let blocks = routing.in_top_k.len() as f32;
                    Tensor::stack::<3>(routing.in_top_k.clone(), 0).sum() / blocks
                }),
            },
        })
    }
}

impl BalanceLoss {
    /// Weighted sum of the terms; `None` when nothing is to be added.
    pub fn weigh(&self, terms: &BalanceTerms) -> Option<Tensor<1>> {
        let importance =
            (self.importance != 0.0).then(|| terms.importance.clone() * self.importance);
        let load = terms
            .load
            .clone()
            .filter(|_| self.load != 0.0)
            .map(|load| load * self.load);
        match (importance, load) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        }
    }
}

/// Mean over blocks of cv² over prompts of the batch sums of `[B, N]`.
fn mean_cv_squared(per_block: &[Tensor<2>]) -> Tensor<1> {
    let terms: Vec<Tensor<1>> = per_block
        .iter()
        .map(|m| cv_squared(m.clone().sum_dim(0).flatten(0, 1)))
        .collect();
    Tensor::cat(terms, 0).mean()
}

/// Squared coefficient of variation: unbiased variance over (mean² + 1e-10).
pub fn cv_squared(values: Tensor<1>) -> Tensor<1> {
    let count = values.dims()[0];
    let mean = values.clone().mean();
    let variance = (values - mean.clone()).square().sum() / (count.max(2) - 1) as f32;
    variance / (mean.square() + 1e-10)
}

impl fmt::Display for BalanceForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shazeer => "shazeer",
            Self::Reference => "reference",
        })
    }
}

impl FromStr for BalanceForm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "shazeer" => Ok(Self::Shazeer),
            "reference" => Ok(Self::Reference),
            _ => Err(format!(
                "no balance loss '{name}'; give 'shazeer' or 'reference'"
            )),
        }
    }
}
