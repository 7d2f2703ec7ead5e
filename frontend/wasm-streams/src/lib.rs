//! In the place of the crate of this name, which `server_fn` needs for server functions that stream. Qchat has none, but what
//! that crate exports to JavaScript is sent all the same: 3 kB of WASM and 1 kB of script. Here is what `server_fn` names of
//! it, and it says so where it is used after all.

use futures_util::{Stream, stream};
use wasm_bindgen::JsValue;

/// A stream of the browser's, which nobody reads and nobody writes.
#[derive(Debug)]
pub struct ReadableStream(web_sys::ReadableStream);

impl ReadableStream {
    /// What the body of an answer comes in.
    pub fn from_raw(stream: web_sys::ReadableStream) -> Self {
        Self(stream)
    }

    /// For the body of a request.
    pub fn into_raw(self) -> web_sys::ReadableStream {
        self.0
    }

    /// Would send what comes out of a stream.
    ///
    /// # Panics
    /// Always.
    #[expect(clippy::panic, reason = "there is no stream to give, and nobody asks for one")]
    pub fn from_stream(_: impl Stream<Item = Result<JsValue, JsValue>> + 'static) -> Self {
        panic!("a server function of Qchat streams nothing")
    }

    /// Would give what comes in: an error, and nothing else.
    pub fn into_stream(self) -> impl Stream<Item = Result<JsValue, JsValue>> + Unpin {
        stream::iter([Err(JsValue::from_str("a server function of Qchat streams nothing"))])
    }
}
