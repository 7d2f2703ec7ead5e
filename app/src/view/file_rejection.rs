//! Rejects files that are dropped on a page, and images that are pasted: the page stays open and says that it takes
//! text only.

use domain::Problem;
use leptos::{ev, prelude::*, web_sys::DataTransfer};

use crate::live::Live;

/// Rejects dropped and pasted files for the lifetime of the page.
pub fn reject_files() {
    let live = Live::from_context();
    Effect::new(move |_| {
        window_event_listener(ev::dragover, |event| {
            // A `dragover` that is not cancelled is not followed by a `drop` event.
            if event.data_transfer().is_some_and(|data| has(&data, FILES)) {
                event.prevent_default();
            }
        });
        window_event_listener(ev::drop, move |event| {
            if event.data_transfer().is_some_and(|data| has(&data, FILES)) {
                event.prevent_default();
                live.notice.set(Some(Problem::TextOnly));
            }
        });
        window_event_listener(ev::paste, move |event| {
            // Office programs add a picture of the text to the clipboard.
            if event.clipboard_data().is_some_and(|data| has(&data, FILES) && !has(&data, TEXT)) {
                live.notice.set(Some(Problem::TextOnly));
            }
        });
        window_event_listener(ev::input, move |_| {
            if live.notice.get_untracked() == Some(Problem::TextOnly) {
                live.notice.set(None);
            }
        });
    });
}

const FILES: &str = "Files";
const TEXT: &str = "text/plain";

fn has(data: &DataTransfer, kind: &str) -> bool {
    data.types().includes(&kind.into(), 0)
}
