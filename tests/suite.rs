//! One binary for every test over the whole: what the tree must look like, and what a user of the program sees.
//!
//! Tests of a single room stand beside its code. Nothing here sleeps, retries or depends on order.

// Always true here; it tells clippy that functions beside the tests may panic too.
#[cfg(test)]
mod chart;
#[cfg(test)]
mod local;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod told;
