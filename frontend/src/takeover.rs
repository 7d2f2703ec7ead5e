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

/// Does the next piece. False once there is none left.
pub(crate) fn advance() -> bool {
    let piece = UNDER_WAY.get().and_then(Takeover::next);
    let is_left = piece.is_some();
    if let Some(piece) = piece {
        piece();
    }
    is_left
}
