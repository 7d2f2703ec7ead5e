//! The Qchat server: the engine behind HTTP, and the site inside.
//!
//! [`http`] has what answers at each address, [`start`](mod@start) puts everything together. `docs/architecture.md` walks through it.

#![forbid(unsafe_code)]

pub mod http;
pub mod operator;
pub mod settings;
pub mod start;

pub use settings::Settings;
pub use start::{Running, StartError, start};
