//! What the metrics need of linear algebra, over row-major slices of f64 on all threads: products, a factor of a
//! covariance of any rank, and the sum of a matrix's singular values. Sums are made in the same order on any number of threads.

mod bidiagonal;
mod cholesky;
mod nuclear;
mod product;

pub(crate) use cholesky::factor;
pub(crate) use nuclear::nuclear_norm;
pub(crate) use product::{Matrix, Store, below_diagonal, multiply};
