//! What people see of Qchat. The same components render on the server and live on in the browser; which of the two
//! they are in is nobody's business but that of [`api`]. Documents and notices are the server's alone.

#![forbid(unsafe_code)]

pub mod api;
pub mod live;
pub mod page;
#[cfg(feature = "ssr")]
pub mod shell;
pub mod takeover;
pub mod view;
