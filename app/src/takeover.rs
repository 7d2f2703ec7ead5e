//! How the browser takes over the page that the server rendered: its outline at once, and what stands in it piece by piece,
//! so that a slow phone scrolls in between. React calls this selective hydration; why it is done here is in ADR 15. A page that
//! is not as the server rendered it is rendered anew instead, all at once (style/public/boot.js decides).

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use leptos::{
    prelude::*,
    tachys::{
        dom::body,
        html::attribute::{Attribute, any_attribute::AnyAttribute},
        hydration::Cursor,
        view::{Position, PositionState, Render, RenderFlags, add_attr::AddAnyAttr, any_view::AnyViewState},
    },
};

/// One thing to do of what is left.
type Piece = Box<dyn FnOnce()>;

/// What is left to be taken over. Until nothing is, nothing may change of what the page shows, since each piece has to be
/// found as the server rendered it: news come when the page is alive, which is last, and whoever acts before has the rest
/// done first.
#[derive(Clone, Copy)]
pub struct HydrationQueue(StoredValue<Left, LocalStorage>);

#[derive(Default)]
struct Left {
    /// At most one for each element of the page.
    pieces: VecDeque<Piece>,
    last: Option<Piece>,
}

impl HydrationQueue {
    /// Begins: what is to be taken over is found as the outline is.
    pub fn begin() -> Self {
        Self(StoredValue::new_local(Left::default()))
    }

    /// The next thing to do, and nothing once the page is alive.
    pub fn next(self) -> Option<Piece> {
        self.0.try_update_value(|left| left.pieces.pop_front().or_else(|| left.last.take())).flatten()
    }

    /// Whether something is left to do.
    pub fn has_more(self) -> bool {
        self.0.with_value(|left| !left.pieces.is_empty() || left.last.is_some())
    }

    /// Does this after everything else.
    pub fn on_complete(self, piece: impl FnOnce() + 'static) {
        self.0.update_value(|left| left.last = Some(Box::new(piece)));
    }

    fn add(self, piece: Piece) {
        self.0.update_value(|left| left.pieces.push_back(piece));
    }
}

/// One element that is taken over after what is around it.
#[component]
pub fn Deferred(
    /// The element.
    children: Children,
) -> impl IntoView {
    DeferredView(children)
}

/// A view of one element that is taken over after what is around it.
pub struct DeferredView(pub Children);

impl Render for DeferredView {
    type State = Rc<RefCell<Option<AnyViewState>>>;

    fn build(self) -> Self::State {
        Rc::new(RefCell::new(Some((self.0)().build())))
    }

    fn rebuild(self, state: &mut Self::State) {
        // one that was not taken over yet cannot have changed
        if let Some(state) = &mut *state.borrow_mut() {
            (self.0)().rebuild(state);
        }
    }
}

impl AddAnyAttr for DeferredView {
    type Output<NewAttr: Attribute> = AnyView;

    fn add_any_attr<NewAttr: Attribute>(self, attribute: NewAttr) -> AnyView {
        (self.0)().add_any_attr(attribute).into_any()
    }
}

impl RenderHtml for DeferredView {
    type AsyncOutput = AnyView;
    type Owned = Self;

    const MIN_LENGTH: usize = 0;

    fn dry_resolve(&mut self) {}

    async fn resolve(self) -> AnyView {
        (self.0)()
    }

    fn to_html_with_buf(
        self,
        html: &mut String,
        position: &mut Position,
        flags: RenderFlags,
        attributes: Vec<AnyAttribute>,
    ) {
        (self.0)().to_html_with_buf(html, position, flags, attributes);
    }

    fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> Self::State {
        let (Some(takeover), Some(owner)) = (use_context::<HydrationQueue>(), Owner::current()) else {
            let view = (self.0)().hydrate::<FROM_SERVER>(cursor, position);
            return Rc::new(RefCell::new(Some(view)));
        };
        let state = Rc::new(RefCell::new(None));
        // where it is: what the cursor was at before, and whether it comes first in that or after it
        let (taken, node, place) = (Rc::clone(&state), cursor.current(), position.deep_clone());
        // passes over the element, as it does itself when its turn comes
        cursor.advance_to_placeholder(position);
        takeover.add(Box::new(move || {
            let cursor = Cursor::new(body().into());
            cursor.set(node);
            let view = owner.with(|| (self.0)().hydrate::<FROM_SERVER>(&cursor, &place));
            *taken.borrow_mut() = Some(view);
        }));
        state
    }

    fn into_owned(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_comes_last_and_nothing_twice() {
        Owner::new().with(|| {
            let done = Rc::new(RefCell::new(Vec::new()));
            let note = |kind| {
                let done = Rc::clone(&done);
                move || done.borrow_mut().push(kind)
            };
            let takeover = HydrationQueue::begin();
            takeover.on_complete(note("alive"));
            takeover.add(Box::new(note("header")));
            let inner = note("a line of it");
            takeover.add(Box::new(move || takeover.add(Box::new(inner))));
            takeover.add(Box::new(note("composer")));
            while let Some(piece) = takeover.next() {
                piece();
                assert_eq!(takeover.has_more(), done.borrow().last() != Some(&"alive"));
            }
            assert_eq!(*done.borrow(), ["header", "composer", "a line of it", "alive"]);
            assert!(takeover.next().is_none());
        });
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn what_comes_later_is_rendered_as_what_it_is() {
        let now = view! { <p class="soft">"Hello"</p> }.to_html();
        let later = view! {
            <Deferred>
                <p class="soft">"Hello"</p>
            </Deferred>
        };
        assert_eq!(later.to_html(), now);
    }
}
