//! How a LoRA joins a DiT: as a DiT with other weights.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

use super::{Lora, LoraConfigError};
use crate::dit::Dit;

impl Lora {
    /// `backbone` with W + scale·(B A)ᵀ in the place of each adapted weight W. Where A and B track gradients those
    /// weights do too, and lead them there; no other of the backbone's does.
    ///
    /// # Panics
    /// On a backbone that the configuration does not fit, or whose weights are packed: a bug of the caller.
    pub fn join(&self, backbone: &Dit) -> Dit {
        let scale = self.config().scale();
        let changes = self.modules().filter_map(|(block, target)| {
            let change = self.factors(block, target)?.change(scale);
            Some((format!("{}.weight", target.module(block)), change))
        });
        backbone.clone().map(&mut Changing {
            path: Vec::new(),
            changes: changes.collect(),
        })
    }

    /// The two in one for good: a plain backbone, as fast and as large as before.
    ///
    /// # Errors
    /// A backbone of other sizes.
    pub fn merge(&self, backbone: &Dit) -> Result<Dit, LoraConfigError> {
        self.config().validate(backbone.config())?;
        Ok(self.join(backbone))
    }
}

/// Adds changes to the weights of these paths.
struct Changing {
    path: Vec<String>,
    changes: BTreeMap<String, Tensor<2>>,
}

impl ModuleMapper for Changing {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(change) = self.changes.remove(&self.path.join(".")) else {
            return param;
        };
        let (id, weight, mapper) = param.consume();
        let shape = weight.dims();
        Param::from_mapped_value(id, weight + change.reshape(shape), mapper)
    }
}
