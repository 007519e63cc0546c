//! Spans kept in memory instead of being sent: how tests of other rooms look at the traces they make.
//!
//! In: spans as they end. Out: the ended spans of one trace. It keeps everything, so it is not for a long life.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};

use super::{Exporter, over};
use crate::logging::Extra;

/// A span that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What was done.
    pub name: String,
    /// The trace it belongs to.
    pub trace: u128,
    /// The span itself.
    pub id: u64,
    /// The span it is part of; 0 for none.
    pub parent: u64,
    /// Its fields, as text.
    pub fields: Vec<(String, String)>,
}

impl Ended {
    /// A field's value.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Every span that has ended.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Vec<Ended>>>);

impl Memory {
    /// A layer that keeps spans, what it keeps, and its guard.
    #[must_use]
    pub fn start() -> (Extra, Self, Exporter) {
        let memory = Self::default();
        let (layer, exporter) = over(SdkTracerProvider::builder().with_simple_exporter(memory.clone()), "memory", None);
        (layer, memory, exporter)
    }

    /// The spans of one trace, in the order they ended.
    #[must_use]
    pub fn of(&self, trace: u128) -> Vec<Ended> {
        let spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }
}

impl SpanExporter for Memory {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let ended = |span: SpanData| Ended {
            name: span.name.into_owned(),
            trace: u128::from_be_bytes(span.span_context.trace_id().to_bytes()),
            id: u64::from_be_bytes(span.span_context.span_id().to_bytes()),
            parent: u64::from_be_bytes(span.parent_span_id.to_bytes()),
            fields: span.attributes.iter().map(|pair| (pair.key.to_string(), pair.value.to_string())).collect(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch.into_iter().map(ended));
        Ok(())
    }
}
