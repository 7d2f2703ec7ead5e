//! The user interface of Qchat. The same components are rendered by the server and hydrated in the browser. Only
//! [`api`] depends on which of the two it is compiled for. Documents and notices are rendered by the server alone.

#![forbid(unsafe_code)]

pub mod api;
pub mod hydration;
pub mod live;
pub mod page;
pub mod reactive;
#[cfg(feature = "ssr")]
pub mod shell;
pub mod view;
