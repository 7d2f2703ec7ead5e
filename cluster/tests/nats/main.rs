//! What the crate does with real NATS servers on loopback.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod connecting;
mod contract;
mod faults;
mod founding;
mod keys;
mod making;
mod member;
mod nodes;
mod pictures;
mod reading;
mod recovery;
mod snapshots;
mod support;
