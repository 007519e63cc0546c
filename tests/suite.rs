//! One binary for every test over the whole: what the tree must look like, and what a user of the program sees.
//!
//! Tests of a single room stand beside its code. Nothing here sleeps, retries or depends on order.

mod local;
mod tidy;
