//! A gate that attends to learned keys, one a prompt.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::{Affine, Gate};
use crate::init::{self, Initializer};

/// `logits = K·q / √H` with the query `q = W·[g ; l] + b` of width H: prompts whose keys are alike are chosen alike.
#[derive(Module, Debug)]
pub struct AttentionGate {
    query: Affine,
    /// K, `[N, H]`.
    keys: Param<Tensor<2>>,
}

impl AttentionGate {
    pub(super) fn zeroed(width: usize, hidden: usize, prompts: usize, device: &Device) -> Self {
        Self {
            query: Affine::zeroed(width, hidden, device),
            keys: init::zeros([prompts, hidden], device),
        }
    }
}

impl Gate for AttentionGate {
    fn logits(&self, input: Tensor<2>, blocks: &[usize]) -> Vec<Tensor<2>> {
        let keys = self.keys.val().transpose();
        let scale = (keys.dims()[0] as f64).sqrt().recip();
        let queries = self.query.at_blocks(input, blocks).into_iter();
        queries
            .map(|query| query.matmul(keys.clone()) * scale)
            .collect()
    }

    fn init(&mut self, init: &mut Initializer, silent: bool) {
        self.query.draw(init);
        if !silent {
            let [prompts, hidden] = self.keys.dims();
            self.keys = init.xavier([prompts, hidden], hidden, prompts);
        }
    }
}
