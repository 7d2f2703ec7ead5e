//! Whether a database is as Qchat left it: a seal after a stop in order, a mark while it is open, and a look at all pages where
//! neither tells.

pub(super) mod check;
pub(super) mod mark;
pub(super) mod seal;
