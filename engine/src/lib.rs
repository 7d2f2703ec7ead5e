//! The engine of Qchat: one log, one writer, many cursors. It knows nothing of HTTP, of pages or of a framework.
//!
//! Everything durable goes one way: a [`Command`](domain::Command) is proposed to the [`log`], the [`writer`] decides and stores it,
//! the [`publisher`] hands it to the [`fanout`], the [`lobby`] and [`presence`], and every subscriber reads on from its own cursor.
//! What is not durable is [`presence`].

#![forbid(unsafe_code)]

mod caller;
pub mod clock;
pub mod durable_fs;
mod engine;
pub mod expiry;
pub mod fanout;
pub mod limits;
pub mod lobby;
pub mod log;
pub mod presence;
pub mod publisher;
pub mod random;
pub mod storage;
pub mod supervisor;
pub mod wire;
pub mod writer;

pub use caller::Caller;
pub use engine::{ChatView, Engine, Focus, Proposed, not_readable};
