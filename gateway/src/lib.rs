//! recmesh-gateway
