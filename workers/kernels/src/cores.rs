//! Which cores a process was given, and which of them the members of an engine's team get.
//!
//! In: how many a pool's teams want. Out: a lease of as many, one a member, or of none. Cores are only bound where the
//! process has cores of its own: its allowed set is smaller than the machine (a cpuset of a container, `taskset`), and
//! holds enough for all members that are wanted. Elsewhere several processes would bind to the same cores, and the
//! scheduler, which sees them all, does better. Two pools of one process never get the same core. A quota of CPU time
//! gives no cores, and never binds. Never takes a core from a thread that is not ours.

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
    /// A lease of `wanted` cores where the process has as many of its own left, else of none.
    #[must_use]
    pub fn take(wanted: usize) -> Self {
        let mut leased = leased();
        let cores = own(&allowed(), online(), &leased, wanted);
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

/// The cores to bind to: the first `wanted` allowed ones that are not leased, if the allowed ones are fewer than those
/// online and enough; else none.
fn own(allowed: &[usize], online: usize, leased: &[usize], wanted: usize) -> Vec<usize> {
    if allowed.len() >= online {
        return Vec::new();
    }
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

/// How many cores the machine has; 0 where that cannot be told.
#[cfg(target_os = "linux")]
fn online() -> usize {
    // SAFETY: reads a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(0)
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
fn online() -> usize {
    0
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn bind(_core: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_bound_only_where_they_are_our_own_and_enough() {
        assert_eq!(own(&[2, 3, 6], 8, &[], 2), [2, 3]);
        assert_eq!(own(&[2, 3, 6], 8, &[], 3), [2, 3, 6]);
        assert_eq!(own(&[2, 3, 6], 8, &[], 4), [0; 0], "too few");
        assert_eq!(own(&[2, 3, 6], 8, &[2], 2), [3, 6], "another pool has the first");
        assert_eq!(own(&[2, 3, 6], 8, &[3, 2], 2), [0; 0], "other pools have too many");
        assert_eq!(own(&[0, 1, 2, 3], 4, &[], 2), [0; 0], "the whole machine is nobody's own");
        assert_eq!(own(&[], 0, &[], 2), [0; 0], "nothing is known");
        assert_eq!(own(&[2], 8, &[], 0), [0; 0]);
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
