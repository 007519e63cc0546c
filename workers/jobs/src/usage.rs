//! What a job used of the machine: wall time, processor time, peak memory.
//!
//! In: nothing but the kernel's own accounting of this process. Jobs run one at a time, so the process is the job; the
//! peak is reset before each. Where `/proc` is missing (not Linux) processor time and peak read 0.

use std::{fs, time::Instant};

use recmesh_contract::Resources;

/// Clock ticks a second of `/proc/self/stat`: 100 on every Linux architecture that userspace sees.
const TICKS: f64 = 100.0;

/// A running measurement.
pub struct Usage {
    started: Instant,
    cpu: f64,
}

impl Usage {
    /// Starts measuring and resets the peak.
    #[must_use]
    pub fn start() -> Self {
        // "5" resets the peak resident set; where it is refused the peak is that of the whole process so far.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Self { started: Instant::now(), cpu: cpu_seconds() }
    }

    /// What was used since the start.
    #[must_use]
    pub fn stop(&self) -> Resources {
        Resources {
            wall_seconds: self.started.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - self.cpu,
            peak_bytes: peak_bytes(),
        }
    }
}

/// User and system time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the command in parentheses and may hold spaces; fields 14 and 15 are user and system ticks.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// Highest resident memory since the last reset.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_this_process() {
        let usage = Usage::start();
        let mut block = vec![1u8; 64 << 20];
        block.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i % 251) as u8);
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        let used = usage.stop();
        assert!(sum > 0 && used.wall_seconds > 0.0);
        if cfg!(target_os = "linux") {
            assert!(used.peak_bytes >= 64 << 20, "{}", used.peak_bytes);
        }
    }
}
