//! Where traces go: to the collector that `recmesh up` was given, or nowhere.
//!
//! In: the command. Out: layers for logging, and a guard whose drop sends what waits. Without the feature `otlp` there is
//! no flag, no layer and nothing to guard.

use anyhow::Result;
use recmesh_telemetry::logging::Extra;

use crate::args::Command;

/// What keeps the export alive.
#[cfg(feature = "otlp")]
pub type Guard = Option<recmesh_telemetry::otlp::Exporter>;
/// What keeps the export alive: nothing is exported.
#[cfg(not(feature = "otlp"))]
pub type Guard = ();

/// Starts the export of traces where it is asked for.
///
/// # Errors
/// When the endpoint is not an address.
#[cfg(feature = "otlp")]
pub fn start(command: &Command) -> Result<(Vec<Extra>, Guard)> {
    let Command::Up(crate::args::Up { otlp_endpoint: Some(endpoint), .. }) = command else {
        return Ok((Vec::new(), None));
    };
    let (layer, exporter) = recmesh_telemetry::otlp::layer(endpoint, "recmesh")?;
    Ok((vec![layer], Some(exporter)))
}

/// Starts nothing.
///
/// # Errors
/// None.
#[cfg(not(feature = "otlp"))]
pub fn start(_command: &Command) -> Result<(Vec<Extra>, Guard)> {
    Ok((Vec::new(), ()))
}
