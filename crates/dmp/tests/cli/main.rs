//! The program as a user runs it: small models, a few steps, every refusal by name.

mod bench;
mod computing;
mod demo;
mod devices;
mod eval;
mod forms;
mod harness;
mod latents;
mod lora;
mod loss;
mod refusals;
mod sweep;
mod training;
