//! Diffusion transformers, mixture-of-prompts patches, losses, samplers and checkpoints, in burn.
//!
//! | module | holds | may use |
//! |---|---|---|
//! | [`denoiser`] | the two traits everything meets at: [`denoiser::Denoiser`], [`denoiser::Backbone`] with its [`denoiser::BlockHook`] | nothing here |
//! | [`dit`] | the DiT backbone; knows nothing of prompts | `denoiser`, `init` |
//! | [`fused`] | what the kernels do in one piece, as autodiff nodes | nothing here |
//! | [`patch`] | prompts, gate, selection, balance losses; knows no backbone | `init` |
//! | [`patched`] | joins a backbone and a patch | `denoiser`, `patch` |
//! | [`loss`] | the diffusion training objective | nothing here |
//! | [`sampler`] | DDPM, DDIM, guidance; functions over a denoiser | `denoiser` |
//! | [`train`] | objective, optimisers, EMA: one step of training | `patched`, `loss` |
//! | [`checkpoint`] | tensors on disk, strict loading, fingerprints | `dit`, `patch` |
//! | [`features`] | networks whose features a distance is measured in | `checkpoint` |

pub mod checkpoint;
pub mod denoiser;
pub mod dit;
pub mod features;
pub mod fused;
pub mod init;
pub mod loss;
pub mod patch;
pub mod patched;
pub mod sampler;
pub mod train;
