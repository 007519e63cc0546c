//! Which of a process's cores the threads of a pool that asks for it are bound to.
//!
//! In: how many. Out: a lease of as many, or of none where the process may run on fewer or other pools have them. Two pools
//! of one process never get the same core. Whether other processes run on these cores cannot be told from here: a set that
//! is smaller than the machine may be shared, as by all pods without exclusive cores under kubelet's static CPU manager. So
//! nothing is bound that was not asked for. A quota of CPU time gives no cores. Never takes a core from a thread that is
//! not ours.

#![allow(unsafe_code)] // System calls that read and write sets of cores.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Cores that are leased in this process.
static LEASED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Cores that nobody else of the process gets until this is dropped.
#[derive(Debug, Default)]
pub struct Lease {
    cores: Vec<usize>,
}

impl Lease {
    /// A lease of `wanted` cores where the process has as many left, else of none.
    #[must_use]
    pub fn take(wanted: usize) -> Self {
        let mut leased = leased();
        let cores = free(&allowed(), &leased, wanted);
        leased.extend(&cores);
        Self { cores }
    }

    /// Their numbers; all that were wanted, or none.
    #[must_use]
    pub fn cores(&self) -> &[usize] {
        &self.cores
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        leased().retain(|core| !self.cores.contains(core));
    }
}

fn leased() -> MutexGuard<'static, Vec<usize>> {
    LEASED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first `wanted` allowed cores that are not leased; none where these are fewer.
fn free(allowed: &[usize], leased: &[usize], wanted: usize) -> Vec<usize> {
    let free = allowed.iter().copied().filter(|core| !leased.contains(core));
    let cores: Vec<usize> = free.take(wanted).collect();
    if cores.len() == wanted { cores } else { Vec::new() }
}

/// The cores that the process may run on; none where that cannot be told.
#[cfg(target_os = "linux")]
fn allowed() -> Vec<usize> {
    // SAFETY: a set of cores is plain bits, for which zeros are a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // The main thread's: others may be bound already.
    // SAFETY: the kernel writes at most the size of the set into it.
    let read = unsafe { libc::sched_getaffinity(libc::getpid(), size_of::<libc::cpu_set_t>(), &raw mut set) };
    if read != 0 {
        return Vec::new();
    }
    let size = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: below the set's size.
    (0..size).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect()
}

/// Binds the calling thread to a core. Where the system refuses, the thread stays as free as it was.
#[cfg(target_os = "linux")]
pub(crate) fn bind(core: usize) {
    if core >= usize::try_from(libc::CPU_SETSIZE).unwrap_or(0) {
        return;
    }
    // SAFETY: zeros are a set; the core is below its size; the kernel only reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

#[cfg(not(target_os = "linux"))]
fn allowed() -> Vec<usize> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn bind(_core: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_cores_as_wanted_or_none() {
        assert_eq!(free(&[2, 3, 6], &[], 2), [2, 3]);
        assert_eq!(free(&[2, 3, 6], &[], 3), [2, 3, 6]);
        assert_eq!(free(&[2, 3, 6], &[], 4), [0; 0], "too few");
        assert_eq!(free(&[2, 3, 6], &[2], 2), [3, 6], "another pool has the first");
        assert_eq!(free(&[2, 3, 6], &[3, 2], 2), [0; 0], "other pools have too many");
        assert_eq!(free(&[0, 1, 2, 3], &[], 2), [0, 1], "a machine that nobody else uses is as good as a part of one");
        assert_eq!(free(&[], &[], 2), [0; 0], "nothing is known");
        assert_eq!(free(&[2], &[], 0), [0; 0]);
    }

    /// On threads of their own, so that the test's stays free; on a machine that tells nothing there is nothing to bind.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_bound_thread_runs_on_its_core() {
        for core in allowed() {
            let found = std::thread::spawn(move || {
                bind(core);
                // SAFETY: reads a number.
                unsafe { libc::sched_getcpu() }
            });
            assert_eq!(usize::try_from(found.join().unwrap()).unwrap(), core);
        }
        bind(usize::MAX);
    }
}
