//! Rounds: every piece once, panics passed on, nested and concurrent callers, threads joined.

use std::sync::Barrier;

use super::*;

/// Works on each value as a piece of its own.
fn each<T: Send>(team: &Team, values: &mut [T], work: impl Fn(&mut T) + Sync) {
    let split = Split { width: 1, pieces: values.len(), edge: |row| row };
    team.rows(values, &mut [(); 0], split, |rows, part, _| {
        assert_eq!(rows.len(), 1);
        part.iter_mut().for_each(&work);
    });
}

#[test]
fn every_piece_is_done_once_by_any_team() {
    for threads in 1..5 {
        let team = Team::new(threads, &[]);
        assert_eq!(team.threads(), threads);
        let mut done_by = vec![0usize; threads];
        for round in 0..2000usize {
            let mut pieces = vec![round; round % 23];
            let split = Split { width: 1, pieces: pieces.len(), edge: |row| row };
            team.rows(&mut pieces, &mut done_by, split, |_, part, done| {
                part.iter_mut().for_each(|piece| *piece += 1);
                done[0] += part.len();
            });
            assert!(pieces.iter().all(|&piece| piece == round + 1), "{threads} threads, round {round}");
            let numbers: Vec<AtomicUsize> = (0..round % 23).map(|_| AtomicUsize::new(0)).collect();
            team.pieces(numbers.len(), &|piece| {
                numbers[piece].fetch_add(1, Ordering::Relaxed);
            });
            assert!(numbers.into_iter().all(|times| times.into_inner() == 1), "{threads} threads, round {round}");
        }
        assert_eq!(done_by.iter().sum::<usize>(), (0..2000).map(|round| round % 23).sum::<usize>());
    }
}

#[test]
fn rows_are_split_where_asked_and_scratch_is_a_members_own() {
    for threads in 1..4 {
        let team = Team::new(threads, &[]);
        for rows in 0..40 {
            let (mut values, mut scratch) = (vec![0usize; rows * 3], vec![0usize; 2 * threads]);
            let split = Split { width: 3, pieces: 7, edge: |row| row / 4 * 4 };
            team.rows(&mut values, &mut scratch, split, |range, part, own| {
                assert!(range.start % 4 == 0 && (range.end % 4 == 0 || range.end == rows), "{range:?}");
                assert_eq!((part.len(), own.len()), (3 * range.len(), 2));
                own[0] += range.len();
                part.iter_mut().zip(3 * range.start..).for_each(|(value, at)| *value += at);
            });
            assert_eq!(values, (0..rows * 3).collect::<Vec<_>>());
            assert_eq!(scratch.iter().sum::<usize>(), rows);
        }
    }
}

/// Two pieces that wait for each other: done only where two threads are in one round.
#[test]
fn helpers_take_part_after_a_pause_of_any_length() {
    let team = Team::new(2, &[]);
    let both = Barrier::new(2);
    for round in 0..300 {
        // Longer than helpers spin, now and then, without sleeping ourselves.
        let start = Instant::now();
        while round % 50 == 0 && start.elapsed() < 2 * SPIN {}
        team.pieces(2, &|_| {
            both.wait();
        });
    }
}

#[test]
fn a_panic_comes_to_the_caller_and_the_team_goes_on() {
    for threads in 1..4 {
        let team = Team::new(threads, &[]);
        for round in 0..200usize {
            let mut pieces: Vec<usize> = (0..9).collect();
            let ran = catch_unwind(AssertUnwindSafe(|| {
                each(&team, &mut pieces, |piece| assert!(*piece != round % 9, "piece {piece} broke"));
            }));
            let payload = ran.unwrap_err();
            assert_eq!(payload.downcast_ref::<String>().unwrap(), &format!("piece {} broke", round % 9));
            each(&team, &mut pieces, |piece| *piece += 1);
            assert_eq!(pieces, (1..10).collect::<Vec<_>>());
        }
    }
}

/// The panic of a helper, not of the caller: the caller's piece is held until the helper's has begun.
#[test]
fn a_helpers_panic_comes_to_the_caller() {
    let team = Team::new(2, &[]);
    let (both, caller) = (Barrier::new(2), thread::current().id());
    for _ in 0..100 {
        let ran = catch_unwind(AssertUnwindSafe(|| {
            team.pieces(2, &|_| {
                both.wait();
                assert!(thread::current().id() == caller, "the helper broke");
            });
        }));
        assert_eq!(ran.unwrap_err().downcast_ref::<&str>(), Some(&"the helper broke"));
    }
}

#[test]
fn a_round_within_a_round_runs_where_it_is() {
    let team = Team::new(3, &[]);
    for _ in 0..200 {
        let mut pieces = [[0usize; 5]; 6];
        each(&team, &mut pieces, |inner| {
            let before = thread::current().id();
            each(&team, inner, |one| {
                assert_eq!(thread::current().id(), before);
                *one += 1;
            });
        });
        assert_eq!(pieces, [[1; 5]; 6]);
    }
}

#[test]
fn two_callers_of_one_team_both_get_done() {
    let team = Team::new(2, &[]);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let mut pieces = [0usize; 5];
                    each(&team, &mut pieces, |piece| *piece += 1);
                    assert_eq!(pieces, [1; 5]);
                }
            });
        }
    });
}

#[test]
fn a_dropped_team_leaves_no_thread() {
    let team = Team::new(4, &[]);
    let shared = Arc::downgrade(&team.shared);
    team.pieces(8, &|_| {});
    drop(team);
    assert!(shared.upgrade().is_none(), "a thread that still ran would hold what the team shares");
}

/// On threads of their own, so that the test's stays free.
#[test]
#[cfg(target_os = "linux")]
fn every_member_runs_on_the_core_that_it_was_given() {
    for members in [1, 2] {
        let lease = cores::Lease::take(members);
        if lease.cores().is_empty() {
            continue;
        }
        let given = lease.cores().to_vec();
        let found = thread::spawn(move || {
            let team = Team::new(members, &given);
            let (all, found) = (Barrier::new(members), Mutex::new(Vec::new()));
            team.pieces(members, &|_| {
                all.wait();
                // SAFETY: reads a number.
                let core = unsafe { libc::sched_getcpu() };
                found.lock().unwrap().push(usize::try_from(core).unwrap());
            });
            found.into_inner().unwrap()
        });
        let mut found = found.join().unwrap();
        found.sort_unstable();
        assert_eq!(found, lease.cores());
    }
}
