//! Admission at the edge: a place in the pipeline, or a refusal at once. After it nothing queues without a bound.
//!
//! An admitted request is counted until it is answered; one that is dropped before counts as `clientGone`.

use recmesh_contract::{Class, Failure, reason};
use tokio::{sync::SemaphorePermit, time::Instant};

use crate::route::Served;

/// A place in a pipeline; dropping it gives the place back and records the outcome.
pub(crate) struct Place<'a> {
    route: &'a Served,
    since: Instant,
    outcome: &'static str,
    _permit: SemaphorePermit<'a>,
}

/// Takes a place for a request that arrived at `since`.
pub(crate) fn admit(route: &Served, since: Instant) -> Result<Place<'_>, Failure> {
    let Ok(permit) = route.lane.places.try_acquire() else {
        route.lane.metrics.answered(reason::TOO_MANY_REQUESTS);
        let text = format!("pipeline {} works on {} requests already", route.name, route.lane.limit);
        return Err(Failure::new(Class::Overloaded, reason::TOO_MANY_REQUESTS, text));
    };
    route.lane.metrics.in_flight.inc();
    Ok(Place { route, since, outcome: reason::CLIENT_GONE, _permit: permit })
}

impl Place<'_> {
    /// The request is answered: `ok`, `fallback` or the reason of its failure.
    pub(crate) fn answered(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.route.lane.metrics.in_flight.dec();
        self.route.lane.metrics.answered(self.outcome);
        self.route.lane.metrics.latency.observe(self.since.elapsed().as_secs_f64());
    }
}
