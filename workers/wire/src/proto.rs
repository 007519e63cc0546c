//! The messages and services that `proto/` declares, as the build wrote them.

#![allow(missing_docs, clippy::all, unreachable_pub, unused_qualifications)] // generated

tonic::include_proto!("recmesh.worker.v1");
