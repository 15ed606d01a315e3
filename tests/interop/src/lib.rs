//! Real peers for trunkline's binaries: rust-libp2p dials them, is dialled by them, and misbehaves.
//!
//! Owns: a rust-libp2p [`node`], the [`services`] and [`exercises`] of the `substreams` contract, a
//! hand-made [`raw`] stack for what a well-behaved library refuses to send, and the [`cases`].
//! Never: a line of trunkline. What is tested is a child process (see [`subject`]), so whatever
//! passes here holds for any program that keeps the same contract, the `reference` binary included.

pub mod cases;
pub mod check;
pub mod exercises;
pub mod inbound;
pub mod node;
pub mod raw;
pub mod services;
pub mod subject;
