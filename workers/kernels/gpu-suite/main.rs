//! Runs the kernels on a device: correctness first, then figures, then one JSON of both.
//!
//! In: `--out FILE` (gpu-suite.json), `--checks-only`, `--only OPERATION` (no figures either). Out: lines to read, the
//! JSON, and the exit code: 0 all held, 1 a check failed or the device did, 2 an argument is wrong, 3 there is no device. Needs the driver; uses cuBLASLt and NVRTC
//! where they are. Estimates nothing: a figure that could not be measured is null with a reason beside it, and on the
//! emulated driver (cuda/emulator/driver) there are checks and no figures.

#![allow(clippy::print_stdout, clippy::print_stderr)] // A program whose output is lines to read.

mod bits;
mod checks;
mod date;
mod decoders;
mod figures;
mod overlap;
mod peers;
mod reference;
mod searches;

use std::path::PathBuf;
use std::process::ExitCode;

use recmesh_kernels::cuda::{self, CudaError, Engine, Probe};
use serde_json::{Value, json};

struct Arguments {
    out: PathBuf,
    checks_only: bool,
    /// The one operation to check.
    only: Option<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { out: PathBuf::from("gpu-suite.json"), checks_only: false, only: None };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--out" => parsed.out = given.next().ok_or("--out needs a file")?.into(),
            "--checks-only" => parsed.checks_only = true,
            "--only" => parsed.only = Some(given.next().ok_or("--only needs an operation")?),
            other => {
                let known = "--out FILE, --checks-only and --only OPERATION";
                return Err(format!("unknown argument {other}; there are {known}"));
            }
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(2);
        }
    };
    let device = match cuda::probe() {
        Ok(Probe::Found(device)) => device,
        Ok(Probe::Absent(reason)) => {
            println!("No device to run on, so nothing was checked or measured: {reason}.");
            return ExitCode::from(3);
        }
        Err(error) => return failed(&error),
    };
    println!("{} of compute capability {:?}, driver for CUDA {}", device.name, device.capability, device.driver);
    let mut engine = match Engine::open(&device) {
        Ok(engine) => engine,
        Err(error) => return failed(&error),
    };
    let only = arguments.only.as_deref();
    let mut checked = checks::run(&mut engine, only);
    if only.is_none_or(|only| only == searches::OPERATION) {
        searches::run(&engine, &mut checked);
    }
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let tensor_core = if wanted(bits::OPERATION) { bits::run(&mut engine, &mut checked) } else { Value::Null };
    if device.is_emulated() && wanted(figures::OPERATION) {
        figures::rehearse(&engine, &mut checked);
    }
    let overlap = if wanted(overlap::OPERATION) { overlap::run(&engine) } else { Value::Null };
    if checked.cases.is_empty() && overlap.is_null() {
        eprintln!("no case is of the operation that --only names");
        return ExitCode::from(2);
    }
    println!("{} of {} cases broken", checked.broken, checked.cases.len());
    let figures = if device.is_emulated() {
        json!({"notMeasured": "an emulator is no device: its times say nothing of one"})
    } else if arguments.checks_only || only.is_some() {
        Value::Null
    } else {
        figures::run(&engine)
    };
    let report = json!({
        "formatVersion": 1,
        "date": date::today(),
        "version": env!("CARGO_PKG_VERSION"),
        "device": {
            "name": device.name,
            "emulated": device.is_emulated(),
            "computeCapability": format!("{}.{}", device.capability.0, device.capability.1),
            "memoryBytes": device.memory,
            "multiprocessors": device.multiprocessors,
            "driverCuda": format!("{}.{}", device.driver / 1000, device.driver % 1000 / 10),
        },
        "modules": engine.origins().iter().map(|(name, origin)| json!({"name": name, "from": format!("{origin:?}")}))
            .collect::<Vec<_>>(),
        "checks": checked.cases,
        "checksBroken": checked.broken,
        "tensorCoreBits": tensor_core,
        "overlap": overlap,
        "figures": figures,
    });
    match serde_json::to_vec_pretty(&report).map_err(|e| e.to_string()).and_then(|bytes| {
        std::fs::write(&arguments.out, bytes).map_err(|error| format!("{}: {error}", arguments.out.display()))
    }) {
        Ok(()) => println!("written to {}", arguments.out.display()),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(1);
        }
    }
    ExitCode::from(u8::from(checked.broken > 0))
}

fn failed(error: &CudaError) -> ExitCode {
    eprintln!("the device failed: {error}");
    ExitCode::from(1)
}
