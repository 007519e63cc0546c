//! Traces leave the process over OTLP/gRPC; compiled in by the feature `otlp`.
//!
//! In: a collector's endpoint and our service name. Out: a layer for [`crate::logging::init`] and a guard whose drop
//! sends what is left. Exporting happens on a thread of its own and never blocks a request.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::Layer;

use crate::logging::Extra;

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("cannot export traces to {endpoint:?}: give an address such as http://localhost:4317")]
pub struct OtlpError {
    endpoint: String,
    #[source]
    source: ExporterBuildError,
}

/// Keeps the exporter alive; dropping it sends the spans that wait.
#[derive(Debug)]
pub struct Exporter(SdkTracerProvider);

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// A layer that sends every span to `endpoint` under the name `service`. Must be called inside a tokio runtime.
///
/// # Errors
/// When the endpoint is not an address. A collector that is away is no error: spans are dropped until it is back.
pub fn layer(endpoint: &str, service: &str) -> Result<(Extra, Exporter), OtlpError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| OtlpError { endpoint: endpoint.to_owned(), source })?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(service.to_owned()).build())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("recmesh")).boxed();
    Ok((layer, Exporter(provider)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endpoint_that_is_no_address_is_refused_by_name() {
        let error = layer("not an address", "recmesh").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("not an address"), "{error}");
        assert!(layer("http://127.0.0.1:4317", "recmesh").is_ok());
    }
}
