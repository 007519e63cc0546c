//! What a replica does about the lease, decided without a clock of its own and without asking anybody.
//!
//! ## Nobody holds it => (Take), (Wait) when we are leaving
//! ## We hold it and renewed it lately => (Renew)
//! ## We hold it and have not renewed it for `renew` => (StandDown), then as any other
//! ## It names us but we do not hold it (an earlier life of ours) => (Take)
//! ## Another holds it and it has changed within its duration => (Wait)
//! ## Another holds it and it has not changed for its duration => (Take)
//!
//! "Lately" and "for its duration" are counted on this machine's monotonic clock from the moment that this replica saw
//! the lease change; the times that others write into it are never compared with ours, so clocks may differ.

use std::time::Duration;

use tokio::time::Instant;

/// The lease as it was read last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Who holds it; nobody after a release or before the first.
    pub holder: Option<String>,
    /// How long its holder says that it holds without a renewal.
    pub duration: Duration,
    /// When this replica first saw it as it is.
    pub since: Instant,
}

/// What a replica knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Its name; no other replica's.
    pub identity: String,
    /// When the renewal that was answered last was sent; `None` while it does not hold the lease.
    pub renewed: Option<Instant>,
    /// After how long without a renewal it stops acting.
    pub renew: Duration,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write it in our name, as its new holder.
    Take,
    /// Write it in our name once more.
    Renew,
    /// Nothing, for this long at most.
    Wait(Duration),
    /// Stop acting at once: it may be another's.
    StandDown,
}

/// What to do about the lease.
#[must_use]
pub fn evaluate(observed: Option<&Observed>, own: &Own, now: Instant) -> Step {
    let holder = observed.and_then(|observed| observed.holder.as_deref());
    let ours = holder == Some(own.identity.as_str());
    if let Some(renewed) = own.renewed {
        // Whoever holds it by the record: what counts is how long ago we surely did.
        let stale = now.saturating_duration_since(renewed) >= own.renew;
        return if !ours || stale { Step::StandDown } else { Step::Renew };
    }
    match observed {
        Some(observed) if holder.is_some() && !ours => {
            let unchanged = now.saturating_duration_since(observed.since);
            match observed.duration.checked_sub(unchanged) {
                Some(left) if !left.is_zero() => Step::Wait(left),
                _ => Step::Take,
            }
        }
        _ => Step::Take,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);
    const RENEW: Duration = Duration::from_secs(10);

    /// The step of replica `me`, for a lease seen so many seconds ago, renewed by us so many seconds ago.
    fn step(holder: Option<&str>, seen: u64, renewed: Option<u64>) -> Step {
        let now = Instant::now() + Duration::from_secs(1000);
        let ago = |seconds| now - Duration::from_secs(seconds);
        let observed = Observed { holder: holder.map(str::to_owned), duration: DURATION, since: ago(seen) };
        let own = Own { identity: "me".to_owned(), renewed: renewed.map(ago), renew: RENEW };
        evaluate(Some(&observed), &own, now)
    }

    #[test]
    fn every_state_has_its_step() {
        for (holder, seen, renewed, expect) in [
            (None, 0, None, Step::Take),
            (Some("other"), 0, None, Step::Wait(DURATION)),
            (Some("other"), 14, None, Step::Wait(Duration::from_secs(1))),
            (Some("other"), 15, None, Step::Take),
            (Some("other"), 900, None, Step::Take),
            (Some("me"), 0, None, Step::Take),
            (Some("me"), 2, Some(2), Step::Renew),
            (Some("me"), 9, Some(9), Step::Renew),
            (Some("me"), 10, Some(10), Step::StandDown),
            // The record may be younger than our last answer: a renewal that was sent but not answered counts for nothing.
            (Some("me"), 0, Some(10), Step::StandDown),
            (Some("other"), 0, Some(2), Step::StandDown),
            (None, 0, Some(2), Step::StandDown),
        ] {
            assert_eq!(step(holder, seen, renewed), expect, "{holder:?} seen {seen} s ago, renewed {renewed:?} s ago");
        }
    }

    #[test]
    fn a_lease_that_is_not_there_is_taken() {
        let own = Own { identity: "me".to_owned(), renewed: None, renew: RENEW };
        assert_eq!(evaluate(None, &own, Instant::now()), Step::Take);
        let held = Own { renewed: Some(Instant::now()), ..own };
        assert_eq!(evaluate(None, &held, Instant::now()), Step::StandDown);
    }

    #[test]
    fn a_holder_stops_before_anybody_may_take_over() {
        // The holder counts from when it sent the renewal, others from when they saw it: later. So for every moment at
        // which another takes over, the holder has stood down, as `renew` is below `duration`.
        for seconds in 0..60 {
            let holds = step(Some("me"), seconds, Some(seconds)) == Step::Renew;
            let taken = step(Some("other"), seconds, None) == Step::Take;
            assert!(!(holds && taken), "both act {seconds} s after the last renewal");
        }
    }
}
