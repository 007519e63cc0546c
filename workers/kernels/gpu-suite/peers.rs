//! PyTorch and Triton on the same device, when Python imports them.
//!
//! In: the peers' programs, which are inside this one. Out: the figures they print, or why there are none. They run from
//! a folder of their own, since Triton reads the source of its kernels; nothing is installed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, process};

use serde_json::{Value, json};

/// The one that is started, and what it imports.
const PROGRAM: &str = "gpu_torch.py";
const FILES: [(&str, &str); 2] = [
    (PROGRAM, include_str!("../../../benches/peers/gpu_torch.py")),
    ("gpu_triton.py", include_str!("../../../benches/peers/gpu_triton.py")),
];

/// Their figures.
pub fn run() -> Value {
    let folder = env::temp_dir().join(format!("recmesh-gpu-peers-{}", process::id()));
    let found = fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display())).and_then(|()| {
        let found = start(&folder);
        // What is left behind in the temporary folder is no reason to lose figures.
        let _ = fs::remove_dir_all(&folder);
        found
    });
    let found = found.unwrap_or_else(|reason| json!({"notMeasured": reason}));
    println!("peers: {found}");
    found
}

fn start(folder: &Path) -> Result<Value, String> {
    for (name, text) in FILES {
        fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    let output = Command::new("python3")
        .arg(folder.join(PROGRAM))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("python3: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|_| format!("the peers ended with {} and no figures", output.status))
}
