//! From EndpointSlices to the workers that may be called.
//!
//! A worker that is ready is called. One that is ending and serves on is called only where none is ready: its own wish
//! is to be left alone, but an answer is better than none.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::{Endpoint as Found, EndpointSlice};
use recmesh_wire::Endpoint;

/// The label that names a slice's Service.
const SERVICE: &str = "kubernetes.io/service-name";
/// The port that workers serve on.
const PORT: &str = "grpc";

/// What one slice says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) service: String,
    workers: Vec<(Endpoint, State)>,
}

/// Whether a worker should be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ending,
    Ready,
}

/// Reads a slice; nothing where it names no Service or no port of ours.
pub(crate) fn read(slice: EndpointSlice) -> Option<Slice> {
    let service = slice.metadata.labels?.remove(SERVICE)?;
    let port = slice.ports?.into_iter().find(|port| port.name.as_deref() == Some(PORT))?.port?;
    let port = u16::try_from(port).ok()?;
    let workers = slice.endpoints.into_iter().flatten().filter_map(|found| worker(found, port)).collect();
    Some(Slice { service, workers })
}

fn worker(found: Found, port: u16) -> Option<(Endpoint, State)> {
    let conditions = found.conditions.unwrap_or_default();
    let (ready, ending) = (conditions.ready.unwrap_or(true), conditions.terminating.unwrap_or(false));
    let state = match (ready, ending, conditions.serving.unwrap_or(ready)) {
        (true, false, _) => State::Ready,
        (_, true, true) => State::Ending,
        _ => return None,
    };
    // All addresses of an endpoint are the same worker, and there is never more than one.
    let address = (found.addresses.first()?.parse::<std::net::IpAddr>().ok()?, port).into();
    let name = found.target_ref.and_then(|target| target.name).unwrap_or_else(|| format!("{address}"));
    Some((Endpoint { name, address }, state))
}

/// The workers of one Service that may be called, in order of their names.
pub(crate) fn usable<'a>(slices: impl IntoIterator<Item = &'a Slice>) -> Vec<Endpoint> {
    let mut workers: BTreeMap<&Endpoint, State> = BTreeMap::new();
    for (endpoint, state) in slices.into_iter().flat_map(|slice| &slice.workers) {
        // While a worker moves from one slice to another it is in both.
        let known = workers.entry(endpoint).or_insert(*state);
        *known = (*known).max(*state);
    }
    let Some(best) = workers.values().max().copied() else { return Vec::new() };
    workers.into_iter().filter(|(_, state)| *state == best).map(|(endpoint, _)| endpoint.clone()).collect()
}
