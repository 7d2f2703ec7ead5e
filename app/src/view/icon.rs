//! Icons as inline SVG on a grid of 24, in the colour of the surrounding text. Their meaning is given in words beside
//! them.

use leptos::prelude::*;

/// An icon with a single path.
fn icon(path: &'static str) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true">
            <path d=path />
        </svg>
    }
}

/// A chevron to the left: back.
pub fn back() -> impl IntoView {
    icon("M14 6l-6 6 6 6")
}

/// Two links of a chain: a link to share.
pub fn link() -> impl IntoView {
    icon("M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1-1")
}

/// Two people: the members.
pub fn people() -> impl IntoView {
    icon(
        "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M3 20a6 6 0 0 1 12 0M16 4.5a3.5 3.5 0 0 1 0 6.5M18 14.5a6 6 0 0 1 3 5.5",
    )
}

/// A magnifying glass: search.
pub fn search() -> impl IntoView {
    icon("M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14M16 16l4 4")
}

/// A landscape in a frame: a picture.
pub fn picture() -> impl IntoView {
    icon("M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M9 9.5a1 1 0 1 0-2 0 1 1 0 0 0 2 0")
}

/// An arrow up: send.
pub fn send() -> impl IntoView {
    icon("M12 19V5M6 11l6-6 6 6")
}

/// An arrow up: scroll up.
pub fn up() -> impl IntoView {
    icon("M12 19V5M6 11l6-6 6 6")
}

/// An arrow down: scroll down.
pub fn down() -> impl IntoView {
    icon("M12 5v14M6 13l6 6 6-6")
}

/// A pencil: edit.
pub fn pencil() -> impl IntoView {
    icon("M4 20l1-4L16 5l3 3L8 19zM14 7l3 3")
}

/// Two arrows in a circle: another random value.
pub fn reroll() -> impl IntoView {
    icon("M4 12a8 8 0 0 1 14-5.3L20 9M20 4v5h-5M20 12a8 8 0 0 1-14 5.3L4 15M4 20v-5h5")
}

/// Three dots: more actions.
pub fn more() -> impl IntoView {
    icon("M5 12h.01M12 12h.01M19 12h.01")
}
