//! Parameter initialisation from our own random streams, so that a seed means the same on every device.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::seed::{Purpose, Stream, stream};

/// Draws the initial values of parameters, in the order in which they are asked for.
pub struct Initializer {
    stream: Stream,
    device: Device,
}

impl Initializer {
    /// Starts the stream (`seed`, `index`) for parameters on `device`; each kind of module has its own index.
    pub fn new(seed: u64, index: u64, device: &Device) -> Self {
        Self {
            stream: stream(seed, Purpose::Init, index),
            device: device.clone(),
        }
    }

    /// All zeros.
    pub fn zeros<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        zeros(shape, &self.device)
    }

    /// N(0, `std`²).
    pub fn normal<const D: usize>(&mut self, shape: [usize; D], std: f32) -> Param<Tensor<D>> {
        let mut values = vec![0.0; shape.iter().product()];
        self.stream.fill_normal(&mut values);
        values.iter_mut().for_each(|v| *v *= std);
        self.param(shape, values)
    }

    /// Xavier/Glorot uniform: U(-a, a), a² = 6 / (fan_in + fan_out).
    pub fn xavier<const D: usize>(
        &mut self,
        shape: [usize; D],
        fan_in: usize,
        fan_out: usize,
    ) -> Param<Tensor<D>> {
        self.uniform(shape, (6.0 / (fan_in + fan_out) as f32).sqrt())
    }

    /// U(-`bound`, `bound`).
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f32) -> Param<Tensor<D>> {
        let mut values = vec![0.0; shape.iter().product()];
        self.stream.fill_uniform(&mut values);
        values
            .iter_mut()
            .for_each(|v| *v = (2.0 * *v - 1.0) * bound);
        self.param(shape, values)
    }

    fn param<const D: usize>(&self, shape: [usize; D], values: Vec<f32>) -> Param<Tensor<D>> {
        parameter(Tensor::from_data(
            TensorData::new(values, shape),
            &self.device,
        ))
    }
}

/// A parameter of zeros.
pub fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    parameter(Tensor::zeros(shape, device))
}

/// Makes a parameter of `value`; it requires gradients if its device tracks them.
pub fn parameter<const D: usize>(value: Tensor<D>) -> Param<Tensor<D>> {
    let tracked = value.is_autodiff();
    Param::initialized(
        ParamId::new(),
        if tracked { value.require_grad() } else { value },
    )
}
