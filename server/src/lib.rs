//! The Qchat server.
//!
//! Everything durable goes one way: a [`Command`](domain::Command) is proposed to the [`sequencer`], the [`writer`]
//! decides and stores it, the [`tail`]s of its chat show it, and every [`live`] connection reads on from its own
//! cursor. What is not durable is [`presence`]. `docs/architecture.md` walks through it.

#![forbid(unsafe_code)]

pub mod audience;
pub mod client;
pub mod clock;
pub mod counts;
pub mod form;
pub mod headers;
pub mod health;
pub mod limits;
pub mod live;
pub mod lobby;
pub mod metrics;
pub mod operator;
pub mod origin;
pub mod page;
pub mod presence;
pub mod problem;
pub mod random;
pub mod router;
pub mod sequencer;
pub mod serve;
pub mod service;
pub mod session;
pub mod settings;
pub mod site;
pub mod start;
pub mod store;
pub mod supervise;
pub mod sweep;
pub mod tail;
pub mod writer;

pub use settings::Settings;
pub use start::{Running, StartError, start};
