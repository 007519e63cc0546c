//! The Helm chart without a cluster: what it renders for each file of values in `charts/recmesh/ci`, and nothing else.
//!
//! Rendered objects go through the typed structs of Kubernetes and back, so a misspelt field is found. Tests that render
//! need `helm` in PATH or $CLUSTER_HOME/bin and say aloud when they are skipped; the others read files. The image and the
//! bundle are tested with a small file in the place of the program.

mod command;
mod config;
mod helm;
mod images;
mod network;
mod objects;
mod pods;
mod rights;
mod sources;
mod used;
