//! recmesh-data
