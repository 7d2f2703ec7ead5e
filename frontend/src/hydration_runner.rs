//! Runs the hydration of the page, one task after the other.

use std::cell::Cell;

use app::hydration::HydrationQueue;

thread_local! {
    /// The queue of the page. `None` before its hydration begins.
    static QUEUE: Cell<Option<HydrationQueue>> = const { Cell::new(None) };
}

/// Begins the hydration of a page. Returns its queue, which is empty.
pub(crate) fn begin() -> HydrationQueue {
    let queue = HydrationQueue::begin();
    QUEUE.set(Some(queue));
    queue
}

/// Runs the next task. Returns false once there is none left: with the last one the page is hydrated and connected, and
/// changes from then on.
pub(crate) fn advance() -> bool {
    if let Some(task) = QUEUE.get().and_then(HydrationQueue::next) {
        task();
    }
    QUEUE.get().is_some_and(HydrationQueue::has_more)
}
