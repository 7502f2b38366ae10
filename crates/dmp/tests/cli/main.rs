//! The program as a user runs it: small models, a few steps, every refusal by name.

mod bench;
mod classes;
mod computing;
mod demo;
mod devices;
mod eval;
mod forms;
mod harness;
mod hub;
mod images;
mod latents;
mod lora;
mod loss;
mod recipe;
mod records;
mod refusals;
mod sampling;
mod sweep;
mod training;
