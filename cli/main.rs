//! The `recmesh` program: reads arguments, builds the parts, ties them, waits.
//!
//! Exit codes: 0 done · 1 something failed · 2 the arguments or manifests are wrong · 3 a job was stopped and goes on.

mod admin;
mod args;
mod config;
mod console;
mod crds;
mod dataset;
mod gateway;
mod gc;
mod get;
mod interrupt;
mod job;
mod manifests;
mod operator;
mod probe;
mod progress;
mod state;
mod store;
mod traces;
mod train;
mod up;
mod validate;
mod work;
mod worker;

use std::process::ExitCode;

use args::{Args, Command};
use clap::Parser;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = std::env::var("RECMESH_LOG").unwrap_or_else(|_| args.log.clone());
    // Kept to the end: dropping it sends the traces that wait.
    let (layers, _traces) = match traces::start(&args.command) {
        Ok(started) => started,
        Err(error) => return console::fail(&error),
    };
    if let Err(error) = recmesh_telemetry::logging::init(&filter, args.log_format.into(), layers) {
        return console::fail(&console::Wrong(error.to_string()).into());
    }
    let done = match args.command {
        Command::Up(options) => up::run(&options),
        Command::Train(options) => train::run(&options),
        Command::Validate(options) => validate::run(&options),
        Command::Get(options) => get::run(&options),
        Command::Gc(options) => gc::run(&options),
        Command::Gateway(options) => gateway::run(&options),
        Command::Operator(options) => operator::run(&options),
        Command::Worker(options) => worker::run(&options),
        Command::Job(options) => return job::run(&options),
        Command::Probe(options) => probe::run(&options),
        Command::Crds(options) => crds::run(&options),
        Command::Dataset(options) => dataset::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => console::fail(&error),
    }
}
