//! The engine of Qchat: one log, one writer, many cursors. It does not depend on HTTP, on pages or on a web framework.
//!
//! All durable state takes one path: a [`Command`](domain::Command) is proposed to the [`command_log`], the [`writer`]
//! decides and stores it, and the [`change_dispatcher`] passes the changes to the [`fanout`], the [`lobby`] and
//! [`presence`]. Every subscriber reads on from its own cursor. [`presence`] itself is not durable.

#![forbid(unsafe_code)]

mod caller;
pub mod change_dispatcher;
pub mod clock;
pub mod command_log;
pub mod durable_fs;
mod engine;
pub mod expiry;
pub mod fanout;
mod folding;
pub mod formatting;
pub mod incarnation;
pub mod limits;
pub mod lobby;
mod mentions;
pub mod metrics;
pub mod nodes;
pub mod pictures;
pub mod presence;
pub mod progress;
pub mod random;
mod search;
pub mod storage;
pub mod supervisor;
pub mod websocket_frame;
pub mod writer;

pub use caller::Caller;
pub use engine::{ChatView, Engine, EngineParts, Focus, HistoryPart, Proposed, not_readable};
