//! Traces leave the process over OTLP/gRPC; compiled in by the feature `otlp`.
//!
//! In: a collector's endpoint and our service name. Out: a layer for [`crate::logging::init`] and a guard whose drop
//! sends what is left. Spans of our own rooms are exported whatever the log's filter says; exporting happens on threads
//! of its own and never blocks a request.

mod memory;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracerProvider, TracerProviderBuilder},
};
use tokio::runtime::{Builder, Runtime};
use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets};

use crate::logging::Extra;

pub use memory::{Ended, Memory};

/// The start of the names of all our rooms.
const ROOMS: &str = "recmesh";

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The endpoint is not an address.
    #[error("cannot export traces to {endpoint:?}: give an address such as http://localhost:4317")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: ExporterBuildError,
    },
    /// The operating system gives no thread.
    #[error("cannot start the thread that exports traces: raise the process's limit of threads")]
    Thread(#[source] std::io::Error),
}

/// Keeps the exporter alive; dropping it sends the spans that wait.
#[derive(Debug)]
pub struct Exporter {
    provider: SdkTracerProvider,
    /// Runs the connection to the collector.
    runtime: Option<Runtime>,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces could not be sent");
        }
        if let Some(runtime) = self.runtime.take() {
            // Waiting for its thread would be a panic where the guard is dropped inside another runtime.
            runtime.shutdown_background();
        }
    }
}

/// A layer that sends every span of our rooms to `endpoint` under the name `service`.
///
/// # Errors
/// When the endpoint is not an address. A collector that is away is no error: spans are dropped until it is back.
pub fn layer(endpoint: &str, service: &str) -> Result<(Extra, Exporter), OtlpError> {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("traces").enable_all().build();
    let runtime = runtime.map_err(OtlpError::Thread)?;
    let exporter = {
        let _inside = runtime.enter();
        SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()
    };
    let wrong = |source| OtlpError::Endpoint { endpoint: endpoint.to_owned(), source };
    let builder = SdkTracerProvider::builder().with_batch_exporter(exporter.map_err(wrong)?);
    Ok(over(builder, service, Some(runtime)))
}

fn over(builder: TracerProviderBuilder, service: &str, runtime: Option<Runtime>) -> (Extra, Exporter) {
    let provider = builder.with_resource(Resource::builder().with_service_name(service.to_owned()).build()).build();
    let ours = Targets::new().with_target(ROOMS, Level::INFO);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("recmesh")).with_filter(ours).boxed();
    (layer, Exporter { provider, runtime })
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{layer::SubscriberExt, registry};

    use super::*;
    use crate::{TraceParent, adopt};

    #[test]
    fn an_endpoint_that_is_no_address_is_refused_by_name() {
        let error = layer("not an address", "recmesh").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("not an address"), "{error}");
        assert!(layer("http://127.0.0.1:4317", "recmesh").is_ok());
    }

    #[test]
    fn a_span_that_adopts_a_traceparent_is_the_callers_child() {
        let (layer, memory, exporter) = Memory::start();
        let parent = TraceParent { trace: 0x4bf9, span: 0x00f0, flags: 1 };
        tracing::subscriber::with_default(registry().with(vec![layer]), || {
            let request = tracing::info_span!("request", k = 3);
            adopt(&request, &parent);
            let _in_request = request.entered();
            tracing::debug_span!("finer").in_scope(|| ());
            tracing::info_span!(target: "elsewhere", "foreign").in_scope(|| ());
            tracing::info_span!("stage", otel.name = "rank").in_scope(|| ());
        });
        drop(exporter);
        let spans = memory.of(parent.trace);
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["rank", "request"], "in the order they ended; only ours, and not the finer ones");
        assert_eq!((spans[1].parent, spans[0].parent), (parent.span, spans[1].id));
        assert_eq!(spans[1].field("k"), Some("3"));
        assert!(memory.of(1).is_empty());
    }
}
