//! placeholder

pub mod features;
