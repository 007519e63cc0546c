//! What kubectl and the API server make of our definitions, on a cluster that has none of them yet.
//!
//! One test at a time: definitions belong to the whole cluster.

mod acceptance;
mod examples;
mod explain;
mod rules;
