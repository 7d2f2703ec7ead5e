//! The Qchat server: the engine behind HTTP, with the site embedded.
//!
//! [`http`] has the handlers of each address, [`start`](mod@start) assembles everything. `docs/architecture.md` walks through it.

#![forbid(unsafe_code)]

pub mod backup;
pub mod control_socket;
pub mod http;
pub mod logging;
pub mod pictures;
pub mod settings;
pub mod start;
pub mod traces;

pub use settings::Settings;
pub use start::{Running, StartError, start};
