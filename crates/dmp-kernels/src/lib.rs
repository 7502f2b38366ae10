//! Fused CPU kernels for diffusion transformers, over plain `f32` slices; no tensors library.
//!
//! A DiT block runs image by image (see [`block`]): each worker takes a group of images through the whole
//! block, so that its activations stay in cache and the workers meet once a block. The backward pass is
//! derived by hand; it gives the gradient of the input always, of the modulation and of the weights when asked.
//!
//! | module | one pass of it |
//! |---|---|
//! | [`block`] | a whole DiT block, forward and backward |
//! | [`attention`] | softmax(QKᵀ/√d)·V of one image, forward and backward |
//! | [`conv`] | convolution, bias and perhaps ReLU, forward only |
//! | [`pool`] | maxima and means of 3×3 windows, forward only |
//! | [`frozen`] | products with frozen weights, packed once in f32 or bf16 |
//! | [`norm`] | LayerNorm and adaLN modulation |
//! | [`group_norm`] | GroupNorm and perhaps SiLU, forward only |
//! | [`gelu`] | GELU (tanh) and its derivative |
//! | [`prompt`] | `x + m ⊙ P` |
//! | [`expected_noise`] | the mean of the noises that may have made a noisy image |
//! | [`matmul`] | matrix products through the `gemm` crate |
//! | [`profile`] | how long each of these ran |
//! | [`simd`] | run-time choice of the vector instructions the passes are compiled for |

#[cfg(target_arch = "x86_64")]
mod amx;
pub mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod block;
pub mod conv;
pub mod expected_noise;
pub mod frozen;
pub mod gelu;
pub mod group_norm;
pub mod matmul;
pub mod norm;
pub mod pool;
pub mod profile;
pub mod prompt;
pub mod simd;
