//! The prompts of a block, whole or as the product of two factors.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};

use super::config::{Init, PatchConfig};
use crate::init::{self, Initializer};

/// The prompts of one block.
#[derive(Module, Debug)]
pub enum BlockPrompts {
    /// As they are, `[N, T·D]`.
    Whole(Param<Tensor<2>>),
    /// Of low rank.
    LowRank(Factors),
}

/// Prompts as `left · right`: every token's vector is one of r directions' combinations.
#[derive(Module, Debug)]
pub struct Factors {
    /// `[N·T, r]`.
    left: Param<Tensor<2>>,
    /// `[r, D]`.
    right: Param<Tensor<2>>,
}

impl BlockPrompts {
    pub(super) fn zeroed(config: &PatchConfig, device: &Device) -> Self {
        let (n, d, rank) = (config.num_prompts, config.hidden_size, config.prompt_rank);
        match rank {
            0 => Self::Whole(init::zeros([n, config.prompt_size()], device)),
            rank => Self::LowRank(Factors {
                left: init::zeros([n * config.prompt_tokens, rank], device),
                right: init::zeros([rank, d], device),
            }),
        }
    }

    pub(super) fn init(&mut self, config: &PatchConfig, init: &mut Initializer) {
        let random = config.init == Init::Random;
        let (n, width) = (config.num_prompts, config.prompt_size());
        match self {
            Self::Whole(prompts) => {
                if random {
                    // Fans of the stacked [L, N, D] tensor, as the public code initialises it.
                    *prompts = init.xavier([n, width], n * width, config.depth * width);
                }
            }
            Self::LowRank(Factors { left, right }) => {
                let [rows, rank] = left.dims();
                // So that prompts move about as fast as whole ones do at the same rate, whatever the rank.
                *left = init.normal([rows, rank], (rank as f32).sqrt().recip());
                if random {
                    *right = init.xavier(right.dims(), rank, config.hidden_size);
                }
            }
        }
    }

    /// The prompts `[N, T·D]`, of which there are `count`.
    pub(super) fn of(&self, count: usize) -> Tensor<2> {
        match self {
            Self::Whole(prompts) => prompts.val(),
            Self::LowRank(Factors { left, right }) => {
                let whole = left.val().matmul(right.val());
                let width = whole.shape().num_elements() / count.max(1);
                whole.reshape([count, width])
            }
        }
    }

    /// The same, `scale` times as large.
    pub(super) fn scaled(self, scale: f64) -> Self {
        let times = |factor: Param<Tensor<2>>| factor.map(|factor| factor.mul_scalar(scale));
        match self {
            Self::Whole(prompts) => Self::Whole(times(prompts)),
            Self::LowRank(Factors { left, right }) => Self::LowRank(Factors {
                left,
                right: times(right),
            }),
        }
    }

    /// Its parameters: the rates of prompts are theirs.
    pub fn ids(&self) -> Vec<ParamId> {
        match self {
            Self::Whole(prompts) => vec![prompts.id],
            Self::LowRank(Factors { left, right }) => vec![left.id, right.id],
        }
    }
}
