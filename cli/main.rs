//! The `recmesh` program: reads arguments, builds the parts, ties them, waits.
//!
//! Exit codes: 0 done · 1 something failed · 2 the arguments or manifests are wrong.

mod args;
mod console;
mod crds;
mod dataset;
mod gc;
mod get;
mod interrupt;
mod manifests;
mod progress;
mod state;
mod traces;
mod train;
mod up;
mod validate;
mod work;

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
        Command::Crds => crds::run(),
        Command::Dataset(options) => dataset::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => console::fail(&error),
    }
}
