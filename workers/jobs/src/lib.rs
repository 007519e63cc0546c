//! recmesh-jobs
