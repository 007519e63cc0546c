//! From a body and headers to a request's meaning, once; nothing is checked again after it.
//!
//! In: a decoded body, headers, the pipelines there are. Out: the release that answers, a `Request` and the time it has.
//! Every failure names the field, as `field: what is wrong`.

use std::{sync::Arc, time::Duration};

use axum::http::HeaderMap;
use recmesh_contract::{Class, Failure, Request, config::Seen, reason};
use serde_json::Number;

use crate::{
    route::Served,
    table::Table,
    wire::{DEFAULT_K, RecommendBody},
};

/// The header that carries the caller's time, in milliseconds.
pub(crate) const DEADLINE_HEADER: &str = "x-request-deadline-ms";

/// A request that means something.
pub(crate) struct Parsed {
    /// Held until the request is answered, whatever the table says by then.
    pub(crate) route: Arc<Served>,
    pub(crate) request: Request,
    /// From the request's arrival on.
    pub(crate) time: Duration,
}

/// Parses a request for recommendations.
pub(crate) fn parse(body: RecommendBody, headers: &HeaderMap, table: &Table) -> Result<Parsed, Failure> {
    let RecommendBody { user, history, k, pipeline, exclude, filters, deadline_ms } = body;
    let route = table.find(pipeline.as_deref())?;
    let params = &route.params;
    let k = match k {
        Some(k) => whole("k", &k, u64::from(params.max_k))? as usize,
        None => DEFAULT_K.min(params.max_k) as usize,
    };
    if user.is_none() && history.is_none() {
        return Err(bad("user", "give a user, a history or both"));
    }
    if user.as_deref() == Some("") {
        return Err(bad("user", "must not be empty; leave it out to ask with a history alone"));
    }
    let mut time = params.deadline.duration();
    if let Some(ms) = deadline_ms {
        time = time.min(Duration::from_millis(whole("deadlineMs", &ms, u64::MAX)?));
    }
    if let Some(value) = headers.get(DEADLINE_HEADER) {
        let ms = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        let ms = ms.ok_or_else(|| bad(DEADLINE_HEADER, "must be a whole number of milliseconds"))?;
        time = time.min(Duration::from_millis(ms));
    }
    let request = Request {
        user,
        history,
        k,
        exclude: exclude.unwrap_or_default(),
        filters: filters.unwrap_or_default(),
        allow_seen: params.seen == Seen::Allow,
    };
    Ok(Parsed { route, request, time })
}

/// The caller's mistake in a field.
pub(crate) fn bad(field: &str, text: &str) -> Failure {
    Failure::new(Class::Invalid, reason::BAD_FIELD, format!("{field}: {text}"))
}

/// A whole number from 1 to `most`.
fn whole(field: &str, number: &Number, most: u64) -> Result<u64, Failure> {
    number.as_u64().filter(|value| (1..=most).contains(value)).ok_or_else(|| {
        let range = if most == u64::MAX { "of at least 1".to_owned() } else { format!("from 1 to {most}") };
        bad(field, &format!("must be a whole number {range}, was {number}"))
    })
}
