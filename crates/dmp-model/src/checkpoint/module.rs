//! Between modules and named tensors: strict both ways, linear maps stored as `[out, in]`.

use std::fmt;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use sha2::{Digest, Sha256};

use super::{HostTensor, Tensors};

/// Every parameter of `module` under its public name.
pub fn collect<M: Module>(module: &M, public_name: impl Fn(&str) -> String) -> Tensors {
    let mut collector = Collector {
        path: Path::default(),
        public_name,
        tensors: Tensors::new(),
    };
    module.visit(&mut collector);
    collector.tensors
}

/// Feeds the values of every parameter to a hash, in the module's order and one parameter at a time.
pub fn hash_values<M: Module>(module: &M, hasher: &mut Sha256) {
    struct Hashing<'a>(&'a mut Sha256);
    impl ModuleVisitor for Hashing<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            for values in crate::host::values(param.val()).chunks(4096) {
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                self.0.update(&bytes);
            }
        }
    }
    module.visit(&mut Hashing(hasher));
}

/// Fills every parameter of `module`; refuses missing, left-over and misshapen tensors, all named.
///
/// Parameters get identities made from their names, so that an optimiser's saved state finds them again.
pub fn apply<M: Module>(
    module: M,
    mut tensors: Tensors,
    public_name: impl Fn(&str) -> String,
) -> Result<M, Mismatch> {
    let mut applier = Applier {
        path: Path::default(),
        public_name,
        tensors: &mut tensors,
        mismatch: Mismatch::default(),
    };
    let module = module.map(&mut applier);
    let mut mismatch = applier.mismatch;
    mismatch.unexpected = tensors.into_keys().collect();
    if mismatch.is_empty() {
        Ok(module)
    } else {
        Err(mismatch)
    }
}

/// What keeps tensors from filling a module.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Mismatch {
    /// Wanted and not there.
    pub missing: Vec<String>,
    /// There and not wanted.
    pub unexpected: Vec<String>,
    /// Name, shape wanted, shape found.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Mismatch {
    /// Whether nothing keeps them from it.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.misshapen.is_empty() {
            let each = |(name, wanted, found): &(String, _, _)| {
                format!("'{name}' is {found:?} instead of {wanted:?}")
            };
            parts.push(format!(
                "misshapen: {}",
                shortened(self.misshapen.iter().map(each))
            ));
        }
        if !self.missing.is_empty() {
            let each = |name: &String| match nearest(name, &self.unexpected) {
                Some(near) => format!("'{name}' (is '{near}' meant?)"),
                None => format!("'{name}'"),
            };
            parts.push(format!(
                "missing: {}",
                shortened(self.missing.iter().map(each))
            ));
        }
        if !self.unexpected.is_empty() {
            parts.push(format!(
                "unknown: {}",
                shortened(self.unexpected.iter().map(|name| format!("'{name}'")))
            ));
        }
        write!(
            f,
            "the tensors do not fit the model: {}; give the file and the configuration that belong together",
            parts.join("; ")
        )
    }
}

/// The first few of a list, and how many more.
fn shortened(items: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 6;
    let more = items.len().saturating_sub(SHOWN);
    let mut text = items.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// The candidate that differs least from `name`, if it differs in less than a third of its letters.
fn nearest<'a>(name: &str, candidates: &'a [String]) -> Option<&'a String> {
    let (distance, best) = candidates
        .iter()
        .map(|c| (edit_distance(name, c), c))
        .min_by_key(|(distance, _)| *distance)?;
    (distance * 3 < name.len()).then_some(best)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// Where a visitor stands in the module tree.
#[derive(Default)]
struct Path {
    names: Vec<String>,
    containers: Vec<String>,
}

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    /// The parameter's name; which variant of an enum holds it is not part of it.
    fn joined(&self) -> String {
        let named = self.names.iter().zip(&self.containers);
        let fields = named.filter(|(_, container)| !container.starts_with("Enum:"));
        let names: Vec<&str> = fields.map(|(name, _)| name.as_str()).collect();
        names.join(".")
    }

    /// Whether the parameter is a burn `Linear` weight, `[in, out]` in memory.
    fn is_linear_weight(&self) -> bool {
        self.names.last().is_some_and(|name| name == "weight")
            && self
                .containers
                .last()
                .is_some_and(|container| container == "Struct:Linear")
    }
}

struct Collector<F> {
    path: Path,
    public_name: F,
    tensors: Tensors,
}

impl<F: Fn(&str) -> String> ModuleVisitor for Collector<F> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut tensor = param.val();
        if self.path.is_linear_weight() {
            tensor = tensor.transpose();
        }
        let shape = tensor.dims().to_vec();
        let values = crate::host::values(tensor);
        self.tensors.insert(
            (self.public_name)(&self.path.joined()),
            HostTensor { shape, values },
        );
    }
}

struct Applier<'a, F> {
    path: Path,
    public_name: F,
    tensors: &'a mut Tensors,
    mismatch: Mismatch,
}

impl<F: Fn(&str) -> String> ModuleMapper for Applier<'_, F> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = (self.public_name)(&self.path.joined());
        let mut wanted = param.dims();
        if self.path.is_linear_weight() {
            wanted.reverse();
        }
        let Some(found) = self.tensors.remove(&name) else {
            self.mismatch.missing.push(name);
            return param;
        };
        if found.shape != wanted {
            self.mismatch
                .misshapen
                .push((name, wanted.to_vec(), found.shape));
            return param;
        }
        let (_, old, mapper) = param.consume();
        let (mut values, shape) = (found.values, old.dims());
        if self.path.is_linear_weight() {
            values = transposed(&values, found.shape[0], found.shape[1]);
        }
        let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), &old.device());
        Param::from_mapped_value(
            stable_id(&name),
            tensor.set_require_grad(old.is_require_grad()),
            mapper,
        )
    }
}

/// `[rows, columns]` → `[columns, rows]`. On the host, bit by bit: arithmetic would lose the sign of -0.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|c| (0..rows).map(move |r| values[r * columns + c]))
        .collect()
}

/// A parameter identity that is the same in every process.
fn stable_id(name: &str) -> ParamId {
    let digest = Sha256::digest(name.as_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    ParamId::from(u64::from_le_bytes(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_map_goes_there_and_back_bit_by_bit() {
        use burn::nn::LinearConfig;
        let module = LinearConfig::new(2, 3).init(&burn::tensor::Device::flex());
        let weight = HostTensor {
            shape: vec![3, 2],
            values: vec![1.0, -0.0, 2.0, 0.0, f32::MIN_POSITIVE, -3.0],
        };
        let bias = HostTensor {
            shape: vec![3],
            values: vec![-0.0; 3],
        };
        let tensors = Tensors::from([("weight".to_owned(), weight), ("bias".to_owned(), bias)]);
        let loaded = apply(module, tensors.clone(), str::to_owned).unwrap();
        assert_eq!(loaded.weight.val().dims(), [2, 3]);
        let back = collect(&loaded, str::to_owned);
        assert_eq!(
            crate::checkpoint::fingerprint(&back),
            crate::checkpoint::fingerprint(&tensors)
        );
    }

    #[test]
    fn names_what_is_wrong_and_guesses_what_was_meant() {
        let mismatch = Mismatch {
            missing: vec!["blocks.0.attn.qkv.weight".into()],
            unexpected: vec!["blocks.0.attn.qvk.weight".into(), "extra".into()],
            misshapen: vec![("pos_embed".into(), vec![1, 16, 64], vec![1, 64, 64])],
        };
        let text = mismatch.to_string();
        for part in [
            "'blocks.0.attn.qkv.weight' (is 'blocks.0.attn.qvk.weight' meant?)",
            "'extra'",
            "[1, 64, 64] instead of [1, 16, 64]",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let text = shortened(
            (0..9)
                .map(|i| i.to_string())
                .collect::<Vec<_>>()
                .into_iter(),
        );
        assert_eq!(text, "0, 1, 2, 3, 4, 5 and 3 more");
    }

    #[test]
    fn edit_distances() {
        assert_eq!(edit_distance("gate.weight", "gate.weight"), 0);
        assert_eq!(edit_distance("gate", "gaet"), 2);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
