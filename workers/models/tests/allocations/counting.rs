//! An allocator that counts for each thread, and what a request may take of it.
//!
//! In: requests and how to have them answered. Out: assertions. What other threads take is never counted.

#![allow(unsafe_code)] // An allocator's methods are unsafe; each hands its call on to the system's allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use recmesh_contract::ItemIndex;

/// Items of every catalog here.
pub const ITEMS: u32 = 600;

/// What the calling thread has taken from the allocator; growing and moving a block counts as taking one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub allocations: usize,
    pub bytes: usize,
}

thread_local! {
    static SPENT: Cell<Spent> = const { Cell::new(Spent { allocations: 0, bytes: 0 }) };
}

fn count(size: usize) {
    let Spent { allocations, bytes } = SPENT.get();
    SPENT.set(Spent { allocations: allocations + 1, bytes: bytes + size });
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing and cannot panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, as in the other three.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

/// What the work gave and what it took.
pub fn spent<T>(work: impl FnOnce() -> T) -> (T, Spent) {
    let before = SPENT.get();
    let out = work();
    let after = SPENT.get();
    (out, Spent { allocations: after.allocations - before.allocations, bytes: after.bytes - before.bytes })
}

/// What the answers themselves are.
pub fn owed<T>(answers: &[Vec<T>]) -> Spent {
    let filled = answers.iter().filter(|answer| !answer.is_empty());
    let bytes = |answer: &Vec<T>| answer.len() * size_of::<T>();
    Spent { allocations: 1 + filled.clone().count(), bytes: size_of_val(answers) + filled.map(bytes).sum::<usize>() }
}

/// Rounds of unequal requests after which servers are warm. One would do for equal ones; where a buffer up to twice as long
/// as needed is taken, others find out in a later round that theirs is gone.
pub const ROUNDS: usize = 10;

/// Asks every request in turns, forward and back, and holds what each took against its answer.
pub fn check<R, T>(what: &str, requests: &[R], mut answer: impl FnMut(&R) -> Vec<Vec<T>>) {
    for request in [requests; ROUNDS].into_iter().flatten() {
        answer(request);
    }
    let mut filled = 0;
    for (at, request) in requests.iter().enumerate().rev().chain(requests.iter().enumerate()) {
        let (answers, spent) = spent(|| answer(request));
        assert_eq!(spent, owed(&answers), "{what}: request {at}");
        filled += usize::from(answers.iter().any(|answer| !answer.is_empty()));
    }
    assert!(filled > requests.len() / 2, "{what}: {filled} answers to {} requests asked twice", requests.len());
}

/// Histories of all lengths up to 30.
pub fn histories() -> Vec<Vec<ItemIndex>> {
    (0..40_u32).map(|user| (0..1 + user * 7 % 30).map(|at| (at * 37 + user * 11) % ITEMS).collect()).collect()
}

#[test]
fn the_allocator_counts() {
    let (mut list, made) = spent(|| vec![0_u8; 100]);
    assert_eq!(made, Spent { allocations: 1, bytes: 100 });
    let (_, grown) = spent(|| list.reserve_exact(20));
    assert_eq!(grown, Spent { allocations: 1, bytes: 120 });
    let (_, nothing) = spent(|| list.push(1));
    assert_eq!(nothing, Spent::default());
}
