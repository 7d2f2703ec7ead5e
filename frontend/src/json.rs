//! The JSON of the protocol, for the types of the domain only.

mod read;
mod write;

pub(crate) use read::parse;
pub(crate) use write::text;
