//! Work on fixed chunks of rows, spread over threads.
//!
//! In: a length, a chunk size and a pure function of a range. Out: its results in the order of the ranges. Chunks do not
//! depend on the thread count, so neither do results.

use std::ops::Range;

use recmesh_kernels::share;

/// `f` of every range of `chunk` rows out of `len`, in order.
pub(crate) fn map_chunks<T: Send>(
    len: usize,
    chunk: usize,
    threads: usize,
    f: impl Fn(Range<usize>) -> T + Sync,
) -> Vec<T> {
    let chunk = chunk.max(1);
    let mut parts: Vec<Option<T>> = (0..len.div_ceil(chunk)).map(|_| None).collect();
    share(threads, parts.iter_mut().enumerate().collect(), |(i, part): (usize, &mut Option<T>)| {
        *part = Some(f(i * chunk..((i + 1) * chunk).min(len)));
    });
    parts.into_iter().flatten().collect()
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
