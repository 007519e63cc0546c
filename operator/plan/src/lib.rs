//! recmesh-plan
