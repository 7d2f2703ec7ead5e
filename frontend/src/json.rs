//! The JSON of the protocol.

mod read;

use serde::Serialize;

pub(crate) use read::parse;

/// Returns a value as JSON. `None` if it contains something that JSON cannot express.
pub(crate) fn text(value: &(impl Serialize + ?Sized)) -> Option<String> {
    serde_json::to_string(value).ok()
}
