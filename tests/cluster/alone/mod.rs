//! Suites that want the cluster for themselves, one at a time: what the operator costs, how it dies, who leads, which
//! rights it uses, definitions that change under it.
//!
//! Every figure is printed in a line that begins with `measured:`.

mod deaths;
mod definitions;
mod leaders;
mod rights;
mod scale;
