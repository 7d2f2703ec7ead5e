//! What becomes of a file that is dropped on a page, and of a picture that is pasted: the page stays, and says what it takes.

use domain::Problem;
use leptos::{ev, prelude::*, web_sys::DataTransfer};

use crate::live::Live;

/// Listens for files as long as the page is there.
pub fn refuse_files() {
    let live = Live::here();
    Effect::new(move |_| {
        window_event_listener(ev::dragover, |event| {
            // whoever does not want this is not told of the drop
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
            // programs for writing put a picture of the text beside it
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
