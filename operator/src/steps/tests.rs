//! YAML in, objects and statuses out; and whole lives of a shop in a cluster that only does what it is told.

mod cluster;
mod flows;
mod jobs;
mod pools;
mod quantized;
mod statuses;
mod whole;

const SHOP: &str = include_str!("tests/shop.yaml");
