//! W3C trace context: the `traceparent` header in, the same trace onwards.
//!
//! Pure: parsing and writing need no exporter. With the feature `otlp` a span takes the caller's span as its parent;
//! without it the trace id is kept for logs and for the reply.

use std::{fmt, str::FromStr};

/// A caller's place in a trace: <https://www.w3.org/TR/trace-context/#traceparent-header>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The whole trace; never zero.
    pub trace: u128,
    /// The caller's span; never zero.
    pub span: u64,
    /// Bit 0: the caller records the trace.
    pub flags: u8,
}

/// A `traceparent` that cannot be read; by the standard it is then ignored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a traceparent: expected version-traceid-spanid-flags in lower-case hexadecimal, not all zero")]
pub struct TraceParentError;

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        let hex = |part: Option<&str>, digits: usize| {
            let part = part.filter(|p| p.len() == digits)?;
            let lower = part.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
            if lower { u128::from_str_radix(part, 16).ok() } else { None }
        };
        let read = || {
            let mut parts = text.split('-');
            let version = hex(parts.next(), 2)?;
            let trace = hex(parts.next(), 32)?;
            let span = u64::try_from(hex(parts.next(), 16)?).ok()?;
            let flags = u8::try_from(hex(parts.next(), 2)?).ok()?;
            // Version 255 is forbidden; versions to come may append parts, version 0 may not.
            let ends = version != 0 || parts.next().is_none();
            (version != 255 && trace != 0 && span != 0 && ends).then_some(Self { trace, span, flags })
        };
        read().ok_or(TraceParentError)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl TraceParent {
    /// What a call that leaves the process tells of `span`; `None` without an exporter that sees the span.
    #[cfg(not(feature = "otlp"))]
    #[must_use]
    pub fn of(_span: &tracing::Span) -> Option<Self> {
        None
    }

    /// What a call that leaves the process tells of `span`; `None` without an exporter that sees the span.
    #[cfg(feature = "otlp")]
    #[must_use]
    pub fn of(span: &tracing::Span) -> Option<Self> {
        use opentelemetry::trace::TraceContextExt;
        use tracing_opentelemetry::OpenTelemetrySpanExt;

        let context = span.context();
        let span = context.span().span_context().clone();
        let (trace, id) =
            (u128::from_be_bytes(span.trace_id().to_bytes()), u64::from_be_bytes(span.span_id().to_bytes()));
        span.is_valid().then_some(Self { trace, span: id, flags: span.trace_flags().to_u8() })
    }
}

/// Makes the caller's span the parent of `span`; without an exporter there is nothing to tell it to.
#[cfg(not(feature = "otlp"))]
pub fn adopt(_span: &tracing::Span, _parent: &TraceParent) {}

/// Makes the caller's span the parent of `span`.
#[cfg(feature = "otlp")]
pub fn adopt(span: &tracing::Span, parent: &TraceParent) {
    use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let remote = SpanContext::new(
        parent.trace.into(),
        parent.span.into(),
        TraceFlags::new(parent.flags),
        true,
        TraceState::default(),
    );
    // Fails only for a span that has begun or that no exporter sees; then there is no parent to have.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_standards_example() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent: TraceParent = text.parse().unwrap();
        assert_eq!(parent.span, 0x00f0_67aa_0ba9_02b7);
        assert_eq!(parent.to_string(), text);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-will-be";
        assert_eq!(later.parse(), Ok(parent));
    }

    #[test]
    fn refuses_what_the_standard_refuses() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(TraceParentError), "{bad}");
        }
    }
}
