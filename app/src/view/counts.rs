//! How many there are in all.

use leptos::prelude::*;

use crate::{live::Live, view::follow::words};

/// So many people online.
pub fn people(number: usize) -> String {
    format!("{number} {} online", if number == 1 { "person" } else { "people" })
}

/// So many open chats.
pub fn chats(number: usize) -> String {
    format!("{number} open {}", if number == 1 { "chat" } else { "chats" })
}

/// A count that is not known just now: a dash in the place of the number.
fn unknown(none: &str) -> String {
    none.replacen('0', "–", 1)
}

/// The counters, live.
#[component]
pub fn CountsView() -> impl IntoView {
    let live = Live::here();
    // what is not known any more is not shown as known
    let counts = Memo::new(move |_| (!live.is_in_doubt.get()).then(|| live.counts.get()));
    // A status speaks up when it changes, and this one changes all the time: it is read when somebody asks.
    view! {
        <p class="counts soft">
            <span role="status" aria-live="off" aria-label="People online" translate="no">
                {words(move || counts.get().map_or_else(|| unknown(&people(0)), |counts| people(counts.people)))}
            </span>
            <span role="status" aria-live="off" aria-label="Open chats" translate="no">
                {words(move || counts.get().map_or_else(|| unknown(&chats(0)), |counts| chats(counts.chats)))}
            </span>
        </p>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            (people(1), people(0), chats(1)),
            ("1 person online".into(), "0 people online".into(), "1 open chat".into())
        );
        assert_eq!(chats(12), "12 open chats");
    }
}
