//! Rejects files that are dropped on a page or pasted and are no pictures: the page stays open and says what it takes.
//! Pictures are taken by a piece that comes later, which marks the event as handled before it gets here.

use domain::Problem;
use leptos::{ev, prelude::*, web_sys::DataTransfer};

use crate::{live::Live, reactive::effect};

/// Rejects dropped and pasted files for the lifetime of the page.
pub fn reject_files() {
    let live = Live::from_context();
    effect(move || {
        window_event_listener(ev::dragover, |event| {
            // A `dragover` that is not cancelled is not followed by a `drop` event.
            if event.data_transfer().is_some_and(|data| has(&data, FILES)) {
                event.prevent_default();
            }
        });
        window_event_listener(ev::drop, move |event| {
            if !event.default_prevented() && event.data_transfer().is_some_and(|data| has(&data, FILES)) {
                event.prevent_default();
                live.notice.set(Some(Problem::TextOnly));
            }
        });
        window_event_listener(ev::paste, move |event| {
            // Office programs add a picture of the text to the clipboard.
            let has_files_alone = |data: DataTransfer| has(&data, FILES) && !has(&data, TEXT);
            if !event.default_prevented() && event.clipboard_data().is_some_and(has_files_alone) {
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
