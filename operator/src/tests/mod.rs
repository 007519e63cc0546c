//! The operator against an API server in this process: what it writes, how often, and what it does when things fail.

mod faults;
mod install;
mod leaders;
mod quickstart;
mod server;
mod settle;
mod stage;
mod steps;
