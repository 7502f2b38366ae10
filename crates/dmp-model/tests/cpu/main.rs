//! The models, the patch's forms and their files on the CPU, against references and golden cases. One binary, so that what is
//! generic over burn is compiled once.

mod diffusers;
mod forms;
mod fused;
mod golden;
mod inception;
mod invariants;
mod tiny;
mod torch_files;
