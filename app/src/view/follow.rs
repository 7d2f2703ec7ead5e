//! What follows the state of a page: texts and attributes, and parts that come and go. Leptos makes its machine anew for
//! each closure that does so, and a browser is sent all of them; through these it is sent one for each kind.

use std::hash::{DefaultHasher, Hash, Hasher};

use leptos::{children::ViewFn, prelude::*};

use crate::{state::Derived, takeover::TakenOverLater};

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

/// Something in a list.
pub struct Item {
    key: u64,
    view: Children,
}

impl Item {
    /// Something that stays in the list as it is for as long as its key is there. `view` shows it where that is new.
    pub fn new(key: impl Hash, view: impl FnOnce() -> AnyView + Send + 'static) -> Self {
        // two of a thousand are taken for one in one of 10^13 lists
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self { key: hasher.finish(), view: Box::new(view) }
    }
}

/// A list of things that come, go and move.
pub fn list(items: impl Fn() -> Vec<Item> + Send + Sync + 'static) -> AnyView {
    let items: Box<dyn Fn() -> Vec<Item> + Send + Sync> = Box::new(items);
    view! { <For each=items key=|item| item.key children=|item| TakenOverLater(item.view) /> }.into_any()
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
