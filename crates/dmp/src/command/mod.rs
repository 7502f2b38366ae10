//! One module a command; none knows another.

pub mod pretrain;
