//! Work on fixed chunks of rows, spread over threads.
//!
//! In: a length, a chunk size and a pure function of a range. Out: its results in the order of the ranges. Chunks do not
//! depend on the thread count, so neither do results.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

/// `f` of every range of `chunk` rows out of `len`, in order.
pub(crate) fn map_chunks<T: Send>(
    len: usize,
    chunk: usize,
    threads: usize,
    f: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<T> {
    let chunk = chunk.max(1);
    let chunks = len.div_ceil(chunk);
    let range = |i: usize| i * chunk..((i + 1) * chunk).min(len);
    let threads = threads.clamp(1, chunks.max(1));
    if threads == 1 {
        return (0..chunks).map(|i| f(range(i))).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= chunks {
                return done;
            }
            done.push((i, f(range(i))));
        }
    };
    let mut parts: Vec<(usize, T)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut parts = work();
        for other in others {
            match other.join() {
                Ok(part) => parts.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    });
    parts.sort_unstable_by_key(|&(i, _)| i);
    parts.into_iter().map(|(_, part)| part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_once_and_in_order() {
        for threads in [1, 2, 7] {
            for len in [0, 1, 9, 10, 11, 100] {
                let rows: Vec<usize> = map_chunks(len, 10, threads, |r| r.collect::<Vec<_>>()).concat();
                assert_eq!(rows, (0..len).collect::<Vec<_>>());
            }
        }
    }
}
