//! recmesh-store
