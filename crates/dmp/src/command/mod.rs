//! One module a command; none knows another.

pub mod bake;
pub mod bench;
pub mod cache;
pub mod convert;
pub mod demo;
pub mod eval;
pub mod inspect;
pub mod loss;
pub mod pretrain;
pub mod report;
pub mod sample;
pub mod sweep;
pub mod train;
