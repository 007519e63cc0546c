//! recmesh-crds
