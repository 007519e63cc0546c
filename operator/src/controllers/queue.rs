//! Which resource is looked at when: each at most once at a time, soon after it is asked for, later after failures.
//!
//! In: wishes to look, what is being looked at, how each look ended. Out: what is to be looked at now, and when to ask
//! again. Pure: time is an argument; it never waits.
//!
//! A wish becomes due a moment (the debounce) after the first of several, so a burst costs one look and a steady
//! stream of wishes cannot put a look off for ever. A wish for a resource that is being looked at is kept for its end.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

use crate::{failure::Action, outcome::Subject};

/// Time within which several wishes become one look.
pub const DEBOUNCE: Duration = Duration::from_millis(20);
/// After the first failure, and the least time after a conflict.
const FIRST: Duration = Duration::from_millis(250);
/// The longest time between two looks at a resource that keeps failing.
const LONGEST: Duration = Duration::from_secs(60);

/// Wishes and looks of one kind of resource.
#[derive(Debug)]
pub struct Queue {
    /// Looks at once.
    concurrency: usize,
    due: BTreeSet<(Instant, Subject)>,
    when: HashMap<Subject, Instant>,
    running: HashSet<Subject>,
    failures: HashMap<Subject, u32>,
    chance: RandomState,
}

impl Queue {
    /// An empty queue that allows so many looks at once.
    #[must_use]
    pub fn new(concurrency: u16) -> Self {
        Self {
            concurrency: usize::from(concurrency.max(1)),
            due: BTreeSet::new(),
            when: HashMap::new(),
            running: HashSet::new(),
            failures: HashMap::new(),
            chance: RandomState::new(),
        }
    }

    /// Wishes a look in a moment.
    pub fn wish(&mut self, subject: Subject, now: Instant) {
        self.plan(subject, now + DEBOUNCE);
    }

    /// Takes the next resource to look at; [`Queue::done`] must follow.
    pub fn take(&mut self, now: Instant) -> Option<Subject> {
        if self.running.len() >= self.concurrency {
            return None;
        }
        let (at, subject) =
            self.due.iter().take_while(|(at, _)| *at <= now).find(|(_, who)| !self.running.contains(who)).cloned()?;
        self.due.remove(&(at, subject.clone()));
        self.when.remove(&subject);
        self.running.insert(subject.clone());
        Some(subject)
    }

    /// A look has ended.
    pub fn done(&mut self, subject: Subject, action: Action, now: Instant) {
        self.running.remove(&subject);
        let failures = match action {
            Action::Backoff | Action::Soon => {
                let failures = self.failures.entry(subject.clone()).or_default();
                *failures = failures.saturating_add(1);
                *failures
            }
            Action::Await | Action::After(_) => {
                self.failures.remove(&subject);
                0
            }
        };
        match action {
            Action::Await => {}
            Action::After(time) => self.plan(subject, now + time.max(DEBOUNCE)),
            // Two who conflict again and again back off too, only more slowly.
            Action::Soon => {
                let wait = self.jittered(&subject, failures / 4);
                self.plan(subject, now + wait);
            }
            Action::Backoff => {
                let wait = self.jittered(&subject, failures - 1);
                self.plan(subject, now + wait);
            }
        }
    }

    /// When there is something to take, if nothing is wished meanwhile; `None` when an end must come first, or a wish.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        if self.running.len() >= self.concurrency {
            return None;
        }
        self.due.iter().find(|(_, subject)| !self.running.contains(subject)).map(|(at, _)| *at)
    }

    /// Resources that wait or are being looked at.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len() + self.running.len()
    }

    /// Whether nothing waits and nothing is being looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets every wish, and every look as if it had never begun.
    pub fn clear(&mut self) {
        self.due.clear();
        self.when.clear();
        self.running.clear();
        self.failures.clear();
    }

    fn plan(&mut self, subject: Subject, at: Instant) {
        if let Some(planned) = self.when.get(&subject) {
            if *planned <= at {
                return;
            }
            self.due.remove(&(*planned, subject.clone()));
        }
        self.when.insert(subject.clone(), at);
        self.due.insert((at, subject));
    }

    /// Half to one and a half times the first wait, doubled so many times.
    fn jittered(&self, subject: &Subject, doublings: u32) -> Duration {
        let wait = FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST);
        let share = self.chance.hash_one((subject, doublings)) % 1000;
        wait.mul_f64(0.5 + share as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests;
