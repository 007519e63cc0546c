//! A team of threads that belongs to one engine and shares the larger operations of its requests.
//!
//! ```text
//! caller = member 0 ─► opens a round ─► takes pieces ─► closes it ─► waits for those who came ─► goes on
//! helpers           ─► spin, then sleep ─► come to the round ─► take pieces, their own part first ─► leave
//! ```
//! In: independent pieces of work, borrowed for the call. Out: all of them done, each once. Who does which is left to
//! chance, so a piece must not depend on another; results then do not depend on the number of threads. A helper that
//! its core keeps busy comes late or not at all, and nobody waits for it: the others take its pieces. Never allocates
//! after its threads run, never splits work that another round of the same team is in: that runs on its caller.
//!
//! Our own, because a round of a library costs more than the operations that are to be shared: rayon-core 1.13 takes
//! 5.2 µs and an allocation for a scope with one piece on a second thread, a round here under 1 µs (two threads of an
//! Ice Lake machine with other users; `cargo bench --bench micro -- team`).
//!
//! **Panics.** A panic of a piece ends the round: pieces that nobody has begun are left undone, the caller waits for
//! those that run and then panics with the same payload. The team can be used again.

#![allow(unsafe_code)] // A closure and slices borrowed for a round are handed to threads that outlive it.

use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cores;

/// How long somebody spins for what comes next before it sleeps: longer than what one thread does between two rounds of a
/// request (150 µs between two levels of a beam search), and than a wake-up takes (some 50 to 100 µs on virtual machines).
const SPIN: Duration = Duration::from_micros(200);
/// Looks between two looks at the clock.
const LOOKS: u32 = 64;

/// Set in a round's state while helpers may come.
const OPEN: u64 = 1 << 31;
/// What each round adds to the state; below it stands how many helpers are in.
const ROUND: u64 = 1 << 32;

/// Threads that share the work of one caller at a time.
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

/// How rows are split.
pub(crate) struct Split<E> {
    /// Values of a row.
    pub width: usize,
    pub pieces: usize,
    /// Where to split instead of at this row; must not descend, and give the same whenever it is asked.
    pub edge: E,
}

/// On a line of its own, and of the neighbour that processors fetch with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// What members see.
struct Shared {
    /// Number of the round, [`OPEN`], helpers in it.
    state: Apart<AtomicU64>,
    /// Whether somebody is in a round; a second caller then works alone.
    taken: Apart<AtomicBool>,
    /// The next piece of each member's part.
    parts: Box<[Apart<AtomicUsize>]>,
    work: UnsafeCell<Work>,
    /// How many helpers sleep, and whether the caller does.
    asleep: AtomicUsize,
    waits: AtomicBool,
    ended: AtomicBool,
    lock: Mutex<()>,
    begun: Condvar,
    left: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("members", &self.parts.len()).finish_non_exhaustive()
    }
}

/// A round's work: the pieces `0..pieces`, laid out for so many members, and what to do with one of them (told the
/// member, too).
#[derive(Clone, Copy)]
struct Work {
    pieces: usize,
    members: usize,
    run: *const (dyn Fn(usize, usize) + Sync),
}

// SAFETY: `work` is written by the caller alone, while no round is open and no helper is in, which `state` tells; the
// closure behind its pointer is `Sync`. All else is safe to share.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Shared {}

impl Team {
    /// A team of `threads` members, the caller of a round included: one fewer is started. With `cores`, which then has
    /// one a member, each is bound to its own, the calling thread to the first. Where a thread cannot be started the team
    /// is smaller: see [`Team::threads`].
    #[must_use]
    pub fn new(threads: usize, cores: &[usize]) -> Self {
        let members = threads.max(1);
        let shared = Arc::new(Shared {
            state: Apart::default(),
            taken: Apart::default(),
            parts: (0..members).map(|_| Apart::default()).collect(),
            work: UnsafeCell::new(Work { pieces: 0, members, run: &|_, _| {} }),
            asleep: AtomicUsize::new(0),
            waits: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            lock: Mutex::default(),
            begun: Condvar::new(),
            left: Condvar::new(),
            panic: Mutex::default(),
        });
        let core = |member: usize| cores.get(member).copied().filter(|_| cores.len() >= members);
        let start = |member: usize| {
            let (shared, core) = (Arc::clone(&shared), core(member));
            let name = format!("team-{member}");
            thread::Builder::new().name(name).spawn(move || {
                core.into_iter().for_each(cores::bind);
                shared.help(member);
            })
        };
        let helpers = (1..members).map_while(|member| start(member).ok()).collect();
        core(0).into_iter().for_each(cores::bind);
        Self { shared, helpers }
    }

    /// Members, the caller included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Whether a round is under way: another one would run on its caller alone.
    #[must_use]
    pub fn taken(&self) -> bool {
        self.shared.taken.0.load(Ordering::Relaxed)
    }

    /// Does the pieces `0..count`, each once.
    ///
    /// # Panics
    /// When a piece does, with its payload.
    pub fn pieces(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        self.round(count, &|_, piece| work(piece));
    }

    /// Splits rows of `width` values where `split` says, in at most `pieces` pieces, and works on each: which rows, they
    /// themselves, and scratch memory of the member's own, an equal part of `scratch` each.
    ///
    /// # Panics
    /// When the work does; if a width is 0, the values are no whole rows, or edges descend.
    pub(crate) fn rows<T: Send, U: Send>(
        &self,
        values: &mut [T],
        scratch: &mut [U],
        split: Split<impl Fn(usize) -> usize + Sync>,
        work: impl Fn(Range<usize>, &mut [T], &mut [U]) + Sync,
    ) {
        let Split { width, pieces, edge } = split;
        assert!(width > 0 && values.len().is_multiple_of(width), "rows of {width} values in {}", values.len());
        let (rows, own) = (values.len() / width, scratch.len() / self.threads());
        let pieces = pieces.min(rows);
        let (values, scratch) = (Slots::new(values), Slots::new(scratch));
        let edge = |piece: usize| match piece {
            0 => 0,
            _ if piece == pieces => rows,
            _ => edge(piece * rows / pieces).min(rows),
        };
        assert!((0..pieces).all(|piece| edge(piece) <= edge(piece + 1)), "edges ascend");
        self.round(pieces, &|member, piece| {
            let range = edge(piece)..edge(piece + 1);
            if range.is_empty() {
                return;
            }
            // SAFETY: edges ascend, so pieces are disjoint, and a piece is taken once; a member is one thread. Both slices
            // are borrowed exclusively for the round.
            let (part, own) = unsafe {
                (values.some(range.start * width..range.end * width), scratch.some(member * own..(member + 1) * own))
            };
            work(range, part, own);
        });
    }

    /// Rounds in which helpers could come.
    #[cfg(test)]
    pub(crate) fn rounds(&self) -> u64 {
        self.shared.state.0.load(Ordering::Relaxed) / ROUND
    }

    /// Runs the pieces `0..pieces`, each once; `run` is told the member and the piece. No two threads have one member
    /// during a call.
    fn round(&self, pieces: usize, run: &(dyn Fn(usize, usize) + Sync)) {
        let shared = &*self.shared;
        let alone = self.helpers.is_empty() || pieces < 2 || self.taken();
        if alone || shared.taken.0.swap(true, Ordering::Acquire) {
            (0..pieces).for_each(|piece| run(0, piece));
            return;
        }
        // SAFETY: only the lifetime changes. The pointer is read by helpers in the round alone, and this call
        // does not end before it is closed and they have left: `take` catches panics.
        let run: *const (dyn Fn(usize, usize) + Sync) = unsafe {
            std::mem::transmute::<&(dyn Fn(usize, usize) + Sync), &'static (dyn Fn(usize, usize) + Sync)>(run)
        };
        let members = self.threads();
        let work = Work { pieces, members, run };
        // SAFETY: `taken` is ours, no round is open, and the last one's helpers have left.
        unsafe { *shared.work.get() = work };
        for (member, part) in shared.parts.iter().enumerate() {
            part.0.store(first(pieces, members, member), Ordering::Relaxed);
        }
        let state = shared.state.0.load(Ordering::Relaxed);
        // Sequentially consistent, as the helpers' look before they sleep: one of the two sees the other.
        shared.state.0.store((state & !(ROUND - 1)).wrapping_add(ROUND) | OPEN, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) > 0 {
            drop(shared.locked());
            shared.begun.notify_all();
        }
        // SAFETY: the closure is borrowed until this function ends.
        unsafe { shared.take(work, 0) };
        shared.close();
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        shared.taken.0.store(false, Ordering::Release);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}

impl Default for Team {
    /// The caller alone.
    fn default() -> Self {
        Self::new(1, &[])
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        drop(self.shared.locked());
        self.shared.begun.notify_all();
        for helper in self.helpers.drain(..) {
            // Helpers catch the panics of their pieces.
            let _ = helper.join();
        }
    }
}

/// The first piece of a member's part.
fn first(pieces: usize, members: usize, member: usize) -> usize {
    pieces * member.min(members) / members
}

impl Shared {
    fn locked(&self) -> std::sync::MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the round and waits until no helper is in it.
    fn close(&self) {
        self.state.0.fetch_and(!OPEN, Ordering::SeqCst);
        let empty = || self.state.0.load(Ordering::SeqCst) & (OPEN - 1) == 0;
        if spin(empty) {
            return;
        }
        let mut locked = self.locked();
        self.waits.store(true, Ordering::SeqCst);
        while !empty() {
            locked = self.left.wait(locked).unwrap_or_else(PoisonError::into_inner);
        }
        self.waits.store(false, Ordering::SeqCst);
    }

    /// A helper's life.
    fn help(&self, member: usize) {
        let mut seen = 0;
        let open = |state: u64, seen: u64| state & OPEN != 0 && state / ROUND != seen;
        while !self.ended.load(Ordering::SeqCst) {
            let state = self.state.0.load(Ordering::SeqCst);
            if !open(state, seen) {
                let called = || open(self.state.0.load(Ordering::SeqCst), seen) || self.ended.load(Ordering::SeqCst);
                if !spin(called) {
                    let locked = self.locked();
                    self.asleep.fetch_add(1, Ordering::SeqCst);
                    if !called() {
                        // Whoever wakes it has more rounds to come, so that it then spins again.
                        drop(self.begun.wait(locked).unwrap_or_else(PoisonError::into_inner));
                    }
                    self.asleep.fetch_sub(1, Ordering::SeqCst);
                }
                continue;
            }
            // Fails where the round was closed or another helper came meanwhile.
            if self.state.0.compare_exchange(state, state + 1, Ordering::SeqCst, Ordering::Relaxed).is_err() {
                continue;
            }
            seen = state / ROUND;
            // SAFETY: this helper is in the round, so the caller neither changes the work nor ends its borrow.
            unsafe {
                let work = *self.work.get();
                self.take(work, member);
            }
            let state = self.state.0.fetch_sub(1, Ordering::SeqCst);
            if state & (OPEN - 1) == 1 && self.waits.load(Ordering::SeqCst) {
                drop(self.locked());
                self.left.notify_one();
            }
        }
    }

    /// Takes pieces until none is left: a member's own part first, then the others'. A panic is kept, and ends the round
    /// for all.
    ///
    /// # Safety
    /// The work's closure is borrowed until this returns.
    unsafe fn take(&self, work: Work, member: usize) {
        let members = work.members;
        let took = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the caller's promise.
            let run = unsafe { &*work.run };
            for part in (member..members).chain(0..member) {
                let end = first(work.pieces, members, part + 1);
                loop {
                    let piece = self.parts[part].0.fetch_add(1, Ordering::Relaxed);
                    if piece >= end {
                        break;
                    }
                    run(member, piece);
                }
            }
        }));
        if let Err(payload) = took {
            // No part has a piece any more.
            self.parts.iter().for_each(|part| part.0.store(usize::MAX / 2, Ordering::Relaxed));
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
        }
    }
}

/// Looks for a while; whether it came true.
fn spin(mut done: impl FnMut() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..LOOKS {
            if done() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() >= SPIN {
            return false;
        }
    }
}

/// A slice of which several threads have different elements.
struct Slots<'a, T> {
    first: *mut T,
    len: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: elements are handed out to other threads, as `&mut T`, which `T: Send` allows; that no two have the same is
// the promise of whoever takes one.
unsafe impl<T: Send> Sync for Slots<'_, T> {}

impl<'a, T> Slots<'a, T> {
    fn new(slice: &'a mut [T]) -> Self {
        Self { first: slice.as_mut_ptr(), len: slice.len(), borrowed: PhantomData }
    }

    /// # Safety
    /// Nobody has one of the same elements at the same time.
    #[allow(clippy::mut_from_ref)] // What the promise is for.
    unsafe fn some(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "elements {range:?} of {}", self.len);
        // SAFETY: within the slice, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests;
