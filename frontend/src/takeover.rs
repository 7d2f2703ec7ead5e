//! The takeover of the page that is under way.

use std::cell::Cell;

use app::takeover::Takeover;

thread_local! {
    static UNDER_WAY: Cell<Option<Takeover>> = const { Cell::new(None) };
}

/// Begins with a page.
pub(crate) fn begin() -> Takeover {
    let takeover = Takeover::begin();
    UNDER_WAY.set(Some(takeover));
    takeover
}

/// Does the next piece. False once there is none left: with the last the page is alive, and changes from then on.
pub(crate) fn advance() -> bool {
    if let Some(piece) = UNDER_WAY.get().and_then(Takeover::next) {
        piece();
    }
    UNDER_WAY.get().is_some_and(Takeover::has_more)
}
