//! A worker as its callers know it: name and address, what it said of the pool, how it did lately.
//!
//! ## Trusted => (Ejected)
//! A few failures in a row eject it.
//! ## Ejected => (Tried)
//! It gets no call for a while, twice as long each time.
//! ## Tried => (Trusted, Ejected)
//! The time is over; the next answer or failure decides.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{connection::Client, pick::View};

/// A worker that may run the pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Its name, which affinity goes by: the pod's.
    pub name: String,
    /// Where it serves gRPC.
    pub address: SocketAddr,
}

/// Failures in a row that eject a worker.
const STRIKES: u32 = 3;
/// How long it is out the first time, and at most.
const OUT: Duration = Duration::from_millis(250);
const LONGEST_OUT: Duration = Duration::from_secs(20);
/// How much of the latency known is left after this long without an answer; what nobody asks may have recovered.
const FORGET: f64 = 10.0;
/// How much a new answer weighs in the latency.
const WEIGHT: f64 = 0.2;

/// A worker as its callers know it.
pub(crate) struct Peer {
    pub endpoint: Endpoint,
    in_flight: AtomicUsize,
    state: Mutex<State>,
    /// Woken when the worker should be asked at once which pools it runs.
    pub doubt: Notify,
}

struct State {
    link: Link,
    latency: f64,
    measured: Instant,
    strikes: u32,
    /// Times ejected without an answer in between.
    ejections: u32,
    out_until: Option<Instant>,
}

/// The connection to a worker and what it said of the pool.
pub(crate) enum Link {
    /// There is none, and why.
    Down(String),
    /// There is one, but the worker takes no calls for the pool, and why.
    Waiting(String),
    /// Calls may go over it.
    Up(Client),
}

impl Peer {
    pub fn new(endpoint: Endpoint) -> Arc<Self> {
        let state = State {
            link: Link::Down("not connected yet".to_owned()),
            latency: 0.0,
            measured: Instant::now(),
            strikes: 0,
            ejections: 0,
            out_until: None,
        };
        Arc::new(Self { endpoint, in_flight: AtomicUsize::new(0), state: Mutex::new(state), doubt: Notify::new() })
    }

    /// Puts another link in the old one's place.
    pub fn set(&self, link: Link) {
        self.state().link = link;
    }

    /// The client, when calls may go over it.
    pub fn client(&self) -> Option<Client> {
        match &self.state().link {
            Link::Up(client) => Some(client.clone()),
            Link::Down(_) | Link::Waiting(_) => None,
        }
    }

    /// Why no call may go to it: whether it is connected, and what is missing.
    pub fn waiting(&self) -> Option<(bool, String)> {
        match &self.state().link {
            Link::Down(why) => Some((false, why.clone())),
            Link::Waiting(why) => Some((true, why.clone())),
            Link::Up(_) => None,
        }
    }

    /// What choosing needs to know.
    pub fn view(&self, now: Instant) -> View<'_> {
        let state = self.state();
        let idle = now.saturating_duration_since(state.measured).as_secs_f64();
        View {
            name: &self.endpoint.name,
            in_flight: self.in_flight.load(Relaxed),
            latency: state.latency * (-idle / FORGET).exp(),
            ejected: state.out_until.is_some_and(|until| now < until),
        }
    }

    /// Counts a call until the [`Flight`] is dropped.
    pub fn depart(self: &Arc<Self>) -> Flight {
        self.in_flight.fetch_add(1, Relaxed);
        Flight { peer: Arc::clone(self), departed: Instant::now(), landed: false }
    }

    /// Takes note of a call that found the worker gone; whether that ejects it.
    fn strike(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.strikes += 1;
        // One that has just come back is out again at its first failure.
        let ejects = state.strikes >= STRIKES || state.ejections > 0;
        // Failures of calls that were under way together count once.
        let ejects = ejects && state.out_until.is_none_or(|until| until <= now);
        if ejects {
            let time = OUT * 2u32.saturating_pow(state.ejections.min(16));
            state.ejections += 1;
            state.strikes = 0;
            state.out_until = Some(now + time.min(LONGEST_OUT));
        }
        ejects
    }

    /// Takes note of an answer.
    fn answered(&self) {
        let mut state = self.state();
        (state.strikes, state.ejections, state.out_until) = (0, 0, None);
    }

    fn measure(&self, took: Duration, at_least: bool) {
        let mut state = self.state();
        let took = took.as_secs_f64();
        // A call that was given up tells only that it would have taken longer.
        if at_least && took <= state.latency {
            return;
        }
        state.latency = if state.latency == 0.0 { took } else { state.latency + WEIGHT * (took - state.latency) };
        state.measured = Instant::now();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a call ended, as far as choosing is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// It was answered by work.
    Served,
    /// It was answered by a refusal or failure, which tells nothing of the time that work takes.
    Refused,
    /// The worker was gone.
    Gone,
}

/// A call under way. Dropped without [`Flight::land`], its caller has given up.
pub(crate) struct Flight {
    peer: Arc<Peer>,
    departed: Instant,
    landed: bool,
}

impl Flight {
    /// Takes note of the end; whether it ejected the worker.
    pub fn land(mut self, landing: Landing) -> bool {
        self.landed = true;
        match landing {
            Landing::Served => {
                self.peer.answered();
                self.peer.measure(self.departed.elapsed(), false);
                false
            }
            Landing::Refused => {
                self.peer.answered();
                false
            }
            Landing::Gone => self.peer.strike(Instant::now()),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.peer.in_flight.fetch_sub(1, Relaxed);
        if !self.landed {
            self.peer.measure(self.departed.elapsed(), true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Arc<Peer> {
        Peer::new(Endpoint { name: "a".into(), address: ([127, 0, 0, 1], 1).into() })
    }

    #[test]
    fn failures_in_a_row_eject_for_longer_each_time() {
        let (peer, start) = (peer(), Instant::now());
        assert!(!peer.strike(start) && !peer.strike(start));
        assert!(!peer.view(start).ejected);
        assert!(peer.strike(start), "the third");
        assert!(peer.view(start).ejected);
        assert!(!peer.strike(start), "one of the same moment does not make it longer");
        let back = start + OUT;
        assert!(!peer.view(back).ejected, "it is tried again");
        assert!(peer.strike(back), "one failure is enough now");
        assert!(peer.view(back + OUT).ejected && !peer.view(back + OUT * 2).ejected);
    }

    #[test]
    fn an_answer_clears_it() {
        let (peer, now) = (peer(), Instant::now());
        for _ in 0..STRIKES {
            peer.strike(now);
        }
        peer.depart().land(Landing::Refused);
        assert!(!peer.view(now).ejected, "whoever refuses is there");
        assert!(!peer.strike(now));
    }

    #[test]
    fn calls_in_flight_are_counted_exactly() {
        let peer = peer();
        let (one, two, three) = (peer.depart(), peer.depart(), peer.depart());
        assert_eq!(peer.view(Instant::now()).in_flight, 3);
        one.land(Landing::Served);
        two.land(Landing::Gone);
        drop(three);
        assert_eq!(peer.view(Instant::now()).in_flight, 0);
    }

    #[test]
    fn refusals_make_no_worker_look_fast_and_old_slowness_is_forgotten() {
        let peer = peer();
        peer.measure(Duration::from_millis(100), false);
        let now = Instant::now();
        let known = peer.view(now).latency;
        peer.depart().land(Landing::Refused);
        drop(peer.depart());
        assert_eq!(peer.view(now).latency, known);
        peer.measure(Duration::from_secs(1), true);
        assert!(peer.view(now).latency > known, "a call that was given up late counts");
        assert!(peer.view(Instant::now() + Duration::from_secs(60)).latency < 0.01);
    }
}
