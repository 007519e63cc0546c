//! recmesh-models
