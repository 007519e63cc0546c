//! The engines of the three kinds of pools: tokenize, retrieve, rank.
//!
//! Each takes its own kind of work. The tokenize engine also describes candidates that nobody could rank, because it
//! holds the catalog and no model.

mod describe;
mod filter;
mod rank;
mod retrieve;
#[cfg(test)]
mod tests;
mod tokenize;

pub(crate) use rank::RankEngine;
pub(crate) use retrieve::RetrieveEngine;
pub(crate) use tokenize::TokenizeEngine;
