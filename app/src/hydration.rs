//! Selective hydration of the page that the server rendered: its outline at once, and the elements in it piece by
//! piece, so that a slow phone can scroll in between (ADR 15). A page that is not as the server rendered it is rendered
//! from scratch instead, all at once; `style/public/boot.js` decides which.

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

/// One task of the hydration.
type Task = Box<dyn FnOnce()>;

/// The queue of elements that are not hydrated yet. Until it is empty, nothing may change what the page shows, since
/// each element has to be found as the server rendered it. The connection is therefore opened last, and when the user
/// acts before that, the rest of the queue is run first.
#[derive(Clone, Copy)]
pub struct HydrationQueue(StoredValue<Tasks, LocalStorage>);

#[derive(Default)]
struct Tasks {
    /// The elements to hydrate, at most one task for each element of the page.
    deferred: VecDeque<Task>,
    /// The task to run after all others. `None` if there is none, or once it was run.
    last: Option<Task>,
}

impl HydrationQueue {
    /// Creates an empty queue. It is filled as the outline of the page is hydrated.
    pub fn begin() -> Self {
        Self(StoredValue::new_local(Tasks::default()))
    }

    /// Removes and returns the next task. Returns `None` once the page is hydrated.
    pub fn next(self) -> Option<Task> {
        self.0.try_update_value(|tasks| tasks.deferred.pop_front().or_else(|| tasks.last.take())).flatten()
    }

    /// Whether any task is left.
    pub fn has_more(self) -> bool {
        self.0.with_value(|tasks| !tasks.deferred.is_empty() || tasks.last.is_some())
    }

    /// Sets the task to run after all others.
    pub fn on_complete(self, task: impl FnOnce() + 'static) {
        self.0.update_value(|tasks| tasks.last = Some(Box::new(task)));
    }

    fn add(self, task: Task) {
        self.0.update_value(|tasks| tasks.deferred.push_back(task));
    }
}

/// An element that is hydrated after its surroundings.
#[component]
pub fn Deferred(
    /// The element. It has to be a single one.
    children: Children,
) -> impl IntoView {
    DeferredView(children)
}

/// A view of a single element that is hydrated after its surroundings.
pub struct DeferredView(pub Children);

impl Render for DeferredView {
    type State = Rc<RefCell<Option<AnyViewState>>>;

    fn build(self) -> Self::State {
        Rc::new(RefCell::new(Some((self.0)().build())))
    }

    fn rebuild(self, state: &mut Self::State) {
        // A view that is not hydrated yet cannot have changed.
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
        let (Some(queue), Some(owner)) = (use_context::<HydrationQueue>(), Owner::current()) else {
            let view = (self.0)().hydrate::<FROM_SERVER>(cursor, position);
            return Rc::new(RefCell::new(Some(view)));
        };
        let state = Rc::new(RefCell::new(None));
        // The position of the element: the node that the cursor was at, and whether the element is its first child or
        // follows it.
        let (view_state, node, place) = (Rc::clone(&state), cursor.current(), position.deep_clone());
        // Skips the element, as hydrating it would.
        cursor.advance_to_placeholder(position);
        queue.add(Box::new(move || {
            let cursor = Cursor::new(body().into());
            cursor.set(node);
            let view = owner.with(|| (self.0)().hydrate::<FROM_SERVER>(&cursor, &place));
            *view_state.borrow_mut() = Some(view);
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
    fn the_completion_is_run_last_and_each_task_once() {
        Owner::new().with(|| {
            let done = Rc::new(RefCell::new(Vec::new()));
            let note = |kind| {
                let done = Rc::clone(&done);
                move || done.borrow_mut().push(kind)
            };
            let queue = HydrationQueue::begin();
            queue.on_complete(note("completion"));
            queue.add(Box::new(note("header")));
            let inner = note("a line of it");
            queue.add(Box::new(move || queue.add(Box::new(inner))));
            queue.add(Box::new(note("composer")));
            while let Some(task) = queue.next() {
                task();
                assert_eq!(queue.has_more(), done.borrow().last() != Some(&"completion"));
            }
            assert_eq!(*done.borrow(), ["header", "composer", "a line of it", "completion"]);
            assert!(queue.next().is_none());
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
