//! What follows the state of a page: texts and attributes, and parts that come and go. Leptos makes its machine anew for
//! each closure that does so, and a browser is sent all of them; through these it is sent one for each kind.

use leptos::{children::ViewFn, prelude::*};

use crate::state::Derived;

/// A text, or the value of an attribute.
pub fn text<T: Into<String>>(say: impl Fn() -> T + Send + 'static) -> Box<dyn FnMut() -> String + Send> {
    Box::new(move || say().into())
}

/// A text, or an attribute, that may not be there.
pub fn maybe<T: Into<String>>(
    say: impl Fn() -> Option<T> + Send + 'static,
) -> Box<dyn FnMut() -> Option<String> + Send> {
    Box::new(move || say().map(Into::into))
}

/// Whether something has a class, or an attribute that says no more than that.
pub fn flag(is: impl Fn() -> bool + Send + 'static) -> Box<dyn FnMut() -> bool + Send> {
    Box::new(is)
}

/// A part that is made anew.
pub fn part(show: impl Fn() -> AnyView + Send + 'static) -> Box<dyn FnMut() -> AnyView + Send> {
    Box::new(show)
}

/// Does something with the next frame.
pub fn next_frame(act: impl FnOnce() + 'static) {
    let act: Box<dyn FnOnce()> = Box::new(act);
    let _ = request_animation_frame(act);
}

/// A part that is there while a condition holds, and another one meanwhile, as with Leptos' own `Show`.
#[component]
pub fn Show(
    /// The condition.
    when: impl Fn() -> bool + Send + Sync + 'static,
    /// What is there while it holds.
    children: ChildrenFn,
    /// What is there while it does not.
    #[prop(optional, into)]
    fallback: ViewFn,
) -> impl IntoView {
    let when = Derived::new(move |_| when());
    part(move || if when.get() { children() } else { fallback.run() })
}
