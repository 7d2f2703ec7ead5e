//! Whether a database file is as Qchat left it: a seal after an orderly stop, a mark while it is open, and a check of
//! all pages if neither of them holds.

pub(super) mod check;
pub(super) mod mark;
pub(super) mod seal;
