//! recmesh-pool
