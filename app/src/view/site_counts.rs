//! The number of people online and of open chats, over all chats.

use leptos::prelude::*;

use crate::{live::Live, reactive::memo, view::reactive_view::reactive_text};

/// Formats the number of people online.
pub fn people(number: usize) -> String {
    format!("{number} {} online", if number == 1 { "person" } else { "people" })
}

/// Formats the number of open chats.
pub fn chats(number: usize) -> String {
    format!("{number} open {}", if number == 1 { "chat" } else { "chats" })
}

/// Formats a count that is not known: replaces the 0 of its text by a dash.
fn unknown(none: &str) -> String {
    none.replacen('0', "–", 1)
}

/// The number of people online and of open chats.
#[component]
pub fn SiteCounts() -> impl IntoView {
    let live = Live::from_context();
    // Counts that may be outdated are not shown.
    let counts = memo(move || (!live.is_stale.get()).then(|| live.counts.get()));
    // A live region would announce every change, and these change all the time, so `aria-live` is off.
    view! {
        <p class="counts soft">
            <span role="status" aria-live="off" aria-label="People online" translate="no">
                {reactive_text(move || {
                    counts.get().map_or_else(|| unknown(&people(0)), |counts| people(counts.people))
                })}
            </span>
            <span role="status" aria-live="off" aria-label="Open chats" translate="no">
                {reactive_text(move || counts.get().map_or_else(|| unknown(&chats(0)), |counts| chats(counts.chats)))}
            </span>
        </p>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singular_and_plural_are_told_apart() {
        assert_eq!(
            (people(1), people(0), chats(1)),
            ("1 person online".into(), "0 people online".into(), "1 open chat".into())
        );
        assert_eq!(chats(12), "12 open chats");
    }
}
