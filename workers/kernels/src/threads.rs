//! Shares a list of independent pieces of work among threads.
//!
//! In: pieces that own what they write. Out: all of them done. Which thread does which piece is left to chance, so a
//! piece must never depend on another; results then do not depend on the number of threads.

use std::sync::Mutex;

/// Does every piece, on at most `threads` threads, the calling one included.
pub fn share<P: Send>(threads: usize, pieces: Vec<P>, work: impl Fn(P) + Sync) {
    let helpers = threads.min(pieces.len()).saturating_sub(1);
    if helpers == 0 {
        pieces.into_iter().for_each(work);
        return;
    }
    let queue = Mutex::new(pieces.into_iter());
    let drain = || {
        // A poisoned queue means that a piece panicked elsewhere; the scope passes that panic on.
        while let Some(piece) = queue.lock().ok().and_then(|mut queue| queue.next()) {
            work(piece);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(drain);
        }
        drain();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once_by_any_number_of_threads() {
        for threads in 0..5 {
            let mut done = vec![0u32; 37];
            share(threads, done.iter_mut().enumerate().collect(), |(at, slot)| *slot += at as u32 + 1);
            assert_eq!(done, (1..=37).collect::<Vec<u32>>());
        }
    }
}
