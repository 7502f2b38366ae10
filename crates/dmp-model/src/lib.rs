//! Diffusion transformers, mixture-of-prompts patches, losses, samplers and checkpoints, in burn.
//!
//! | module | holds | uses of the others |
//! |---|---|---|
//! | [`denoiser`] | the traits everything meets at: [`denoiser::Denoiser`], [`denoiser::Backbone`] with its [`denoiser::BlockHook`] | none |
//! | [`dit`] | the DiT backbone; knows nothing of prompts | `denoiser`, `fused`, `init` |
//! | [`fused`] | what the kernels do in one piece, as autodiff nodes | none |
//! | [`patch`] | prompts, gate, selection, balance losses; knows no backbone | `denoiser`, `fused`, `init` |
//! | [`lora`] | a low-rank change of a DiT's weights, to compare a patch with | `dit`, `init` |
//! | [`patched`], [`baked`] | join a backbone and a patch, or one without its gate | `denoiser`, `patch` |
//! | [`vae`] | between pixels and latents | `checkpoint`, `init` |
//! | [`loss`] | the diffusion training objective | none |
//! | [`sampler`] | DDPM, DDIM, guidance; functions over a denoiser | `denoiser` |
//! | [`train`] | objective, optimisers, EMA: one step of training | `denoiser`, `loss`, `patch`, `patched` |
//! | [`checkpoint`] | tensors on disk, strict loading, fingerprints | `dit`, `lora`, `patch` |
//! | [`features`] | networks whose features a distance is measured in | `checkpoint` |
//! | [`init`], [`host`] | initial values; values back on the host | none |

pub mod baked;
pub mod checkpoint;
pub mod denoiser;
pub mod dit;
pub mod features;
pub mod fused;
mod grid;
pub mod host;
pub mod init;
pub mod lora;
pub mod loss;
pub mod patch;
pub mod patched;
pub mod sampler;
pub mod train;
pub mod vae;
