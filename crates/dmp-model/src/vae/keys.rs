//! Names of the tensors, as diffusers writes them: today, and before it renamed the attention's.

use std::collections::BTreeMap;

use crate::checkpoint::{HostTensor, Tensors};

/// Name in a file of today of a parameter of ours.
pub fn public_key(name: &str) -> String {
    name.replace(".to_out.", ".to_out.0.")
}

/// What the attention's maps were called, and are.
const RENAMED: [(&str, &str); 4] = [
    (".query.", ".to_q."),
    (".key.", ".to_k."),
    (".value.", ".to_v."),
    (".proj_attn.", ".to_out.0."),
];

/// The tensors under today's names. The attention's maps may be 1×1 convolutions.
pub fn renamed(tensors: Tensors) -> Tensors {
    let of = |(name, tensor): (String, HostTensor)| {
        if !name.contains(".attentions.") {
            return (name, tensor);
        }
        let old = RENAMED.iter().find(|(old, _)| name.contains(old));
        let name = match old {
            Some((old, new)) => name.replace(old, new),
            None => name,
        };
        let shape = match tensor.shape.as_slice() {
            &[outputs, inputs, 1, 1] => vec![outputs, inputs],
            _ => tensor.shape,
        };
        let values = tensor.values;
        (name, HostTensor { shape, values })
    };
    tensors.into_iter().map(of).collect::<BTreeMap<_, _>>()
}
