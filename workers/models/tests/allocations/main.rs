//! What a request allocates once a server is warm: the answer that leaves, and nothing else.
//!
//! In: a server of every model, warmed up by requests of the shapes to come, unequal ones in turns. Out: for each request
//! the allocations and bytes of the calling thread, which must be exactly its answer's: one for the list of answers, one
//! for every answer that is not empty. A binary of its own, because its allocator counts.

// Always true here; it tells clippy that functions beside the tests may panic too.
#[cfg(test)]
mod counting;
#[cfg(test)]
mod ranking;
#[cfg(test)]
mod retrieval;
