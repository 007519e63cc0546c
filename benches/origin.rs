//! Where figures come from: date, hardware, code version, build.
//!
//! In: the system. Out: the head of a results file. What cannot be found out is `unknown`.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use recmesh_kernels::Level;
use serde_json::{Value, json};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The head of a results file.
pub fn report() -> Value {
    json!({
        "date": date(),
        "hardware": {
            "cpu": cpu().unwrap_or_else(|| "unknown".into()),
            "cores": thread::available_parallelism().map_or(0, usize::from),
            "instructionSet": format!("{:?}", Level::detect()).replace("Level(", "").replace(')', ""),
        },
        "version": version(),
        "optimised": !cfg!(debug_assertions),
    })
}

fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The package's version and, in a clone, the commit; `-dirty` when files differ from it.
fn version() -> String {
    let described = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root()).output();
    let commit = described.ok().filter(|output| output.status.success());
    let commit = commit.map_or_else(|| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).into_owned());
    format!("{} {}", env!("CARGO_PKG_VERSION"), commit.trim())
}

/// Today in UTC as `2030-01-31`, from days since 1970 (Richards' conversion of Julian day numbers).
fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let f = seconds / 86_400 + 2_440_588 + 1401;
    let f = f + (4 * (f - 1401) + 274_277) / 146_097 * 3 / 4 - 38;
    let e = 4 * f + 3;
    let h = 5 * (e % 1461 / 4) + 2;
    let (day, month) = (h % 153 / 5 + 1, (h / 153 + 2) % 12 + 1);
    let year = e / 1461 + (14 - month) / 12 - 4716;
    format!("{year:04}-{month:02}-{day:02}")
}
