//! recmesh-catalog
