//! recmesh-learning
