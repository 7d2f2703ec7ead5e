//! The hydration of the page under way.

use std::cell::Cell;

use app::hydration::HydrationQueue;

thread_local! {
    static UNDER_WAY: Cell<Option<HydrationQueue>> = const { Cell::new(None) };
}

/// Begins the hydration of a page.
pub(crate) fn begin() -> HydrationQueue {
    let queue = HydrationQueue::begin();
    UNDER_WAY.set(Some(queue));
    queue
}

/// Runs the next task. Returns false once there is none left: with the last one the page is hydrated and connected, and
/// changes from then on.
pub(crate) fn advance() -> bool {
    if let Some(task) = UNDER_WAY.get().and_then(HydrationQueue::next) {
        task();
    }
    UNDER_WAY.get().is_some_and(HydrationQueue::has_more)
}
