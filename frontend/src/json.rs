//! JSON as the server and the page speak it, for the types of the domain and nothing else.

mod read;
mod write;

pub(crate) use read::parse;
pub(crate) use write::text;
