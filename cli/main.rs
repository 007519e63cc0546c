//! recmesh
fn main() {}
