//! Inception's weights, from the files that the evaluators people use have made.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::Inception;
use super::layout::{ConvSpec, convolutions};
use crate::checkpoint::torch::{TorchError, TorchFile};
use crate::checkpoint::{FileError, HostTensor, Mismatch, TensorFile, Tensors, apply};
use crate::fused::FrozenConv;
use crate::init;

/// ε of every batch norm.
const NORM_EPS: f64 = 1e-3;

/// Why Inception's weights cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InceptionError {
    /// Not a readable safetensors file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a readable PyTorch file.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// Tensors are missing, left over or misshapen.
    #[error("these are not the weights of FID's Inception-v3: {0}")]
    Mismatch(#[from] Mismatch),
}

impl Inception {
    /// Reads weights from the bytes of a file: pytorch-fid's or torch-fidelity's `.pth`, the TorchScript `.pt` of
    /// StyleGAN and clean-fid, or safetensors with the names of either.
    ///
    /// # Errors
    /// When the file cannot be read, or has other tensors than the network.
    pub fn load(bytes: Vec<u8>, device: &Device) -> Result<Self, InceptionError> {
        let tensors = if TorchFile::is_one(&bytes) {
            TorchFile::from_bytes(bytes)?.tensors(None)?
        } else {
            TensorFile::from_bytes(&bytes)?.tensors
        };
        let folded = fold(tensors)?;
        let classes = folded
            .get("classifier.bias")
            .and_then(|bias| bias.shape.first().copied());
        let Weights { convs, classifier } =
            apply(Weights::zeroed(classes, device), folded, str::to_owned)?.no_grad();
        let freeze = |(conv, spec): (Conv, ConvSpec)| {
            let (weight, bias) = (conv.weight.val(), conv.bias.val());
            FrozenConv::new(weight, bias, spec.stride, spec.padding, true)
        };
        Ok(Self {
            convs: convs.into_iter().zip(convolutions()).map(freeze).collect(),
            classifier,
        })
    }

    /// Whether the file had the classifier, without which there is no Inception score.
    pub fn has_classifier(&self) -> bool {
        self.classifier.is_some()
    }
}

/// What a file has to fill.
#[derive(Module, Debug)]
struct Weights {
    convs: Vec<Conv>,
    classifier: Option<Linear>,
}

/// A convolution with its norm folded in.
#[derive(Module, Debug)]
struct Conv {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl Weights {
    fn zeroed(classes: Option<usize>, device: &Device) -> Self {
        let conv = |spec: ConvSpec| {
            let ([inputs, outputs], [rows, columns]) = (spec.channels, spec.kernel);
            Conv {
                weight: init::zeros([outputs, inputs, rows, columns], device),
                bias: init::zeros([outputs], device),
            }
        };
        let classifier = |classes| {
            let features = Inception::FEATURES;
            let mut linear = LinearConfig::new(features, classes).init(device);
            linear.weight = init::zeros([features, classes], device);
            linear.bias = Some(init::zeros([classes], device));
            linear
        };
        Self {
            convs: convolutions().into_iter().map(conv).collect(),
            classifier: classes.map(classifier),
        }
    }
}

/// Names of a convolution's parts in a family of files.
struct Family {
    kernel: &'static str,
    mean: &'static str,
    variance: &'static str,
    shift: &'static str,
    /// γ; the TorchScript family has none.
    scale: Option<&'static str>,
    prefix: &'static str,
    name: fn(&ConvSpec) -> &str,
}

const TORCHVISION: Family = Family {
    kernel: "conv.weight",
    mean: "bn.running_mean",
    variance: "bn.running_var",
    shift: "bn.bias",
    scale: Some("bn.weight"),
    prefix: "",
    name: |spec| &spec.name,
};

/// With the path of its layers in front.
const fn script(prefix: &'static str) -> Family {
    Family {
        kernel: "weight",
        mean: "mean",
        variance: "var",
        shift: "beta",
        scale: None,
        prefix,
        name: |spec| &spec.script_name,
    }
}

/// Folds each norm into its convolution, in f64, and names everything as the module does.
fn fold(mut tensors: Tensors) -> Result<Tensors, Mismatch> {
    let family = [script("net.layers."), script("layers."), script("")]
        .into_iter()
        .find(|family| tensors.contains_key(&format!("{}conv.beta", family.prefix)))
        .unwrap_or(TORCHVISION);
    let mut folded = Tensors::new();
    let mut mismatch = Mismatch::default();
    for (index, spec) in convolutions().iter().enumerate() {
        let mut take = |part: &str| {
            let name = format!("{}{}.{part}", family.prefix, (family.name)(spec));
            let found = tensors.remove(&name);
            if found.is_none() {
                mismatch.missing.push(name);
            }
            found
        };
        let scale = family.scale.map(&mut take);
        let (kernel, mean) = (take(family.kernel), take(family.mean));
        let (variance, shift) = (take(family.variance), take(family.shift));
        let (Some(kernel), Some(mean), Some(variance), Some(shift)) =
            (kernel, mean, variance, shift)
        else {
            continue;
        };
        let (weight, bias) =
            norm_folded(kernel, &mean, &variance, &shift, scale.flatten().as_ref());
        folded.insert(format!("convs.{index}.weight"), weight);
        folded.insert(format!("convs.{index}.bias"), bias);
    }
    for part in ["weight", "bias"] {
        for name in [
            format!("fc.{part}"),
            format!("{}output.{part}", family.prefix),
        ] {
            if let Some(tensor) = tensors.remove(&name) {
                folded.insert(format!("classifier.{part}"), tensor);
            }
        }
    }
    // Counters of the norms, and a second classifier that only training used.
    tensors.retain(|name, _| {
        !name.ends_with("num_batches_tracked") && !name.starts_with("AuxLogits.")
    });
    mismatch.unexpected = tensors.into_keys().collect();
    if mismatch.missing.is_empty() && mismatch.unexpected.is_empty() {
        Ok(folded)
    } else {
        Err(mismatch)
    }
}

/// `γ·(conv(x) − mean)/√(var + ε) + β` as a convolution with a bias.
fn norm_folded(
    mut kernel: HostTensor,
    mean: &HostTensor,
    variance: &HostTensor,
    shift: &HostTensor,
    scale: Option<&HostTensor>,
) -> (HostTensor, HostTensor) {
    let outputs = kernel.shape.first().copied().unwrap_or(0);
    let patch = kernel.values.len() / outputs.max(1);
    let at = |tensor: &HostTensor, i: usize| tensor.values.get(i).map_or(0.0, |&x| f64::from(x));
    let mut bias = Vec::with_capacity(outputs);
    for (i, weights) in kernel.values.chunks_mut(patch.max(1)).enumerate() {
        let gamma = scale.map_or(1.0, |scale| at(scale, i));
        let factor = gamma / (at(variance, i) + NORM_EPS).sqrt();
        bias.push((at(shift, i) - at(mean, i) * factor) as f32);
        for weight in weights {
            *weight = (f64::from(*weight) * factor) as f32;
        }
    }
    // A shift of another length shows as a misshapen bias.
    let bias = HostTensor {
        shape: shift.shape.clone(),
        values: bias,
    };
    (kernel, bias)
}
