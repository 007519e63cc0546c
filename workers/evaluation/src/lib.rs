//! recmesh-evaluation
