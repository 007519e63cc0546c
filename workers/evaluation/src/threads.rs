//! Maps numbered work to results on threads, each with its own scratch state.
//!
//! In: one state a thread, and a count. Out: the results in order, and the states. Which thread takes which number is
//! left to chance, so a result must depend on its number alone.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `work` for `0..count`; the calling thread takes part and alone calls `progress` with how many are done.
pub(crate) fn map<S: Send, R: Send>(
    mut states: Vec<S>,
    count: usize,
    progress: &dyn Fn(usize),
    work: impl Fn(&mut S, usize) -> R + Sync,
) -> (Vec<R>, Vec<S>) {
    let results: Vec<Mutex<Option<R>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let step = |state: &mut S| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let slot = results.get(number)?;
        let result = work(state, number);
        if let Ok(mut slot) = slot.lock() {
            *slot = Some(result);
        }
        Some(done.fetch_add(1, Ordering::Relaxed) + 1)
    };
    if let Some((own, others)) = states.split_first_mut() {
        std::thread::scope(|scope| {
            for state in others.iter_mut().take(count.saturating_sub(1)) {
                scope.spawn(|| while step(state).is_some() {});
            }
            while let Some(done) = step(own) {
                progress(done);
            }
        });
    }
    // Every slot was filled: a thread that panicked has taken the scope, and this function, with it.
    (results.into_iter().filter_map(|slot| slot.into_inner().ok().flatten()).collect(), states)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_states_add_up() {
        for threads in 1..5 {
            let (results, states) = map(vec![0usize; threads], 23, &|_| (), |state, number| {
                *state += 1;
                number * number
            });
            assert_eq!(results, (0..23).map(|n| n * n).collect::<Vec<_>>());
            assert_eq!(states.iter().sum::<usize>(), 23);
        }
        assert_eq!(map(vec![(); 3], 0, &|_| (), |_, n| n).0, Vec::<usize>::new());
    }
}
