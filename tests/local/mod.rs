//! The program as its user meets it: commands, files, signals, HTTP.
//!
//! Every test runs the real binary on a small world in a folder of its own. Nothing here waits by the clock: a test reads
//! what the program says, line by line, until it has said what the test needs.

mod answers;
mod commands;
mod damage;
mod datasets;
mod http;
mod job;
mod manifests;
mod metrics;
mod problems;
mod process;
mod program;
mod quantization;
mod real;
mod server;
mod service;
mod sharing;
mod state;
mod stops;
mod worker;
