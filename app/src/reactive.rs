//! Effects and memos whose functions are boxed. Leptos' own are generic over the function, so that each is code of its own,
//! which a browser has to download (docs/adr/0024-the-tools-as-released.md); these are generic over the value alone.

use leptos::prelude::*;

/// Runs a function in the browser, and again whenever a signal that it has read changes.
pub fn effect(run: impl Fn() + 'static) {
    boxed_effect(Box::new(run));
}

fn boxed_effect(run: Box<dyn Fn()>) {
    Effect::new(move |_| run());
}

/// Creates a value that is computed from signals, again when one of them has changed, and that has changed itself if it is
/// not equal to the last one.
pub fn memo<T: PartialEq + Send + Sync + 'static>(
    compute: impl Fn() -> T + Send + Sync + 'static,
) -> Memo<T> {
    boxed_memo(Box::new(compute))
}

fn boxed_memo<T: PartialEq + Send + Sync + 'static>(compute: Box<dyn Fn() -> T + Send + Sync>) -> Memo<T> {
    Memo::new(move |_| compute())
}
