//! recmesh-telemetry
