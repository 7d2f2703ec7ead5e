//! Traces for OpenTelemetry: the spans of requests, sent to a collector by OTLP over HTTP.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

/// Sends spans to a collector, in batches, from a thread of its own. Spans that come faster than they can be sent are
/// dropped.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to send spans to an address such as `http://127.0.0.1:4318/v1/traces`.
    ///
    /// # Errors
    /// [`ExporterBuildError`] if it is not an address. Whether a collector is there is not known yet; if none is, spans
    /// are dropped.
    pub fn begin(collector: &str) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(collector)
            .build()?;
        let resource = Resource::builder().with_service_name("qchat").build();
        Ok(Self(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build()))
    }

    /// Returns the layer that takes the spans of this process.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> OpenTelemetryLayer<S, SdkTracer> {
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("qchat"))
    }

    /// Sends what waits. Blocks for some seconds at most.
    pub fn end(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}
