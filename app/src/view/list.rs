//! Lists of items that are added, removed, changed and moved.
//!
//! Leptos' `<For>` decides by distance which rows have moved. If rows are added before others or removed among them, it
//! removes rows that stay, and inserts them again (`tachys::view::keyed`). They lose the focus, the selection and their
//! animations, and a screen reader announces them as new. Here a row is one element for as long as it is shown: rows
//! that stay in order are not touched, the others are moved with the fewest moves possible, and a changed value is
//! passed to its row. The updates of a list can also be paused ([`ListPause`]).

use std::{any::Any, marker::PhantomData, sync::Arc};

use leptos::{
    prelude::*,
    tachys::{
        html::attribute::{Attribute, any_attribute::AnyAttribute},
        hydration::Cursor,
        renderer::Rndr,
        view::{Mountable, Position, PositionState, Render, RenderFlags, add_attr::AddAnyAttr},
    },
    wasm_bindgen::JsCast,
    web_sys::{Comment, Element, HtmlElement, Node},
};

use crate::{
    hydration::DeferredView,
    view::{list_item::ListItem, list_pause::ListPause, reactive_view::reactive_view},
};

/// The class of a row whose item was removed while the list is paused.
const REMOVED: &str = "has-gone";

/// The type of the items of a list, type-erased.
trait Kind: Send + Sync {
    /// Creates the state of a row, which the row keeps.
    fn state(&self, row: Box<dyn Any + Send>) -> RowState;
    /// Creates the view of a new row.
    fn view(&self, state: &RowState) -> AnyView;
    /// Updates the state of a row.
    fn update_row(&self, state: &RowState, row: Box<dyn Any + Send>);
}

/// The signal of a row, type-erased.
type RowState = Arc<dyn Any + Send + Sync>;

/// The type `T` of the items of a list, with the function that shows one.
struct TypedKind<T, V> {
    /// Creates the view of a row.
    view: V,
    item: PhantomData<fn() -> T>,
}

impl<T, V> Kind for TypedKind<T, V>
where
    T: PartialEq + Send + Sync + 'static,
    V: Fn(RwSignal<T>) -> AnyView + Send + Sync,
{
    fn state(&self, row: Box<dyn Any + Send>) -> RowState {
        Arc::new(row.downcast::<T>().ok().map(|row| RwSignal::new(*row)))
    }

    fn view(&self, state: &RowState) -> AnyView {
        let state = state.downcast_ref::<Option<RwSignal<T>>>().copied().flatten();
        state.map(|state| (self.view)(state)).into_any()
    }

    fn update_row(&self, state: &RowState, row: Box<dyn Any + Send>) {
        if let (Some(Some(state)), Ok(row)) =
            (state.downcast_ref::<Option<RwSignal<T>>>(), row.downcast::<T>())
            && state.with_untracked(|before| *before != *row)
        {
            state.set(*row);
        }
    }
}

/// A list of items. Each is shown by `view`, which gets a signal with the current value of the item and has to return a
/// single element. With a `pause`, the rows stay as they are while the list is paused.
pub fn list<T: PartialEq + Send + Sync + 'static>(
    pause: Option<ListPause>,
    items: impl Fn() -> Vec<ListItem> + Send + 'static,
    view: impl Fn(RwSignal<T>) -> AnyView + Send + Sync + 'static,
) -> AnyView {
    list_of(pause, Box::new(items), Arc::new(TypedKind { view, item: PhantomData }))
}

fn list_of(
    pause: Option<ListPause>,
    items: Box<dyn Fn() -> Vec<ListItem> + Send>,
    kind: Arc<dyn Kind>,
) -> AnyView {
    // Rows are owned by the surroundings of the list: the closure below is run for each change of the items.
    let owner = Owner::current().unwrap_or_default();
    let show = move || {
        let items = items();
        let items = match pause {
            Some(pause) => pause.visible_items(items),
            None => items,
        };
        List { items, kind: Arc::clone(&kind), owner: owner.clone() }.into_any()
    };
    reactive_view(show).into_any()
}

/// The items of a list at one moment.
struct List {
    items: Vec<ListItem>,
    kind: Arc<dyn Kind>,
    /// The reactive owner of the rows.
    owner: Owner,
}

/// The state of the view of a row.
type RowView = <DeferredView as Render>::State;

/// A row that is shown.
struct Slot {
    /// The key of its item.
    key: u64,
    // Fields are dropped in this order: the view before the signals it reads.
    view: RowView,
    state: RowState,
    /// Whether the row is marked, since its item was removed.
    is_removed: bool,
    _owner: Owner,
}

/// The state of a list on the page.
struct ListState {
    /// The rows, in order.
    slots: Vec<Slot>,
    /// A placeholder after the rows.
    end: Comment,
}

/// Creates a row for a new item. Returns `None` if the item was removed.
fn slot(
    kind: &Arc<dyn Kind>,
    owner: &Owner,
    item: ListItem,
    show: &mut dyn FnMut(DeferredView) -> RowView,
) -> Option<Slot> {
    let row = item.row?;
    let owner = owner.with(Owner::new);
    let (state, view) = owner.with(|| {
        let (kind, state) = (Arc::clone(kind), kind.state(row));
        let shown = Arc::clone(&state);
        (state, show(DeferredView(Box::new(move || kind.view(&shown)))))
    });
    Some(Slot { key: item.key, view, state, is_removed: false, _owner: owner })
}

impl List {
    /// Creates a row for each item.
    fn slots(self, show: &mut dyn FnMut(DeferredView) -> RowView) -> Vec<Slot> {
        let Self { items, kind, owner } = self;
        items.into_iter().filter_map(|item| slot(&kind, &owner, item, show)).collect()
    }
}

impl Slot {
    fn element(&self) -> Option<Element> {
        self.view.elements().into_iter().next()
    }

    fn mark_removed(&mut self, is_removed: bool) {
        if self.is_removed != is_removed
            && let Some(element) = self.element()
        {
            self.is_removed = is_removed;
            let _ = element.class_list().toggle_with_force(REMOVED, is_removed);
        }
    }
}

/// Returns which of the new rows stay where they are: as many as possible of those that keep their order (a longest
/// increasing subsequence). `was` has the place of each row before, or `None` for a new row.
fn unmoved(was: &[Option<usize>]) -> Vec<bool> {
    // For each length, the last row of the best run so far; and for each row, the one before it in its run.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = vec![None; was.len()];
    for (row, place) in was.iter().enumerate() {
        if place.is_some() {
            let length = ends.partition_point(|end| was[*end] < *place);
            before[row] = length.checked_sub(1).map(|shorter| ends[shorter]);
            if length == ends.len() {
                ends.push(row);
            } else {
                ends[length] = row;
            }
        }
    }
    let mut stays = vec![false; was.len()];
    let mut next = ends.last().copied();
    while let Some(row) = next {
        stays[row] = true;
        next = before[row];
    }
    stays
}

impl Render for List {
    type State = ListState;

    fn build(self) -> ListState {
        ListState { slots: self.slots(&mut Render::build), end: Rndr::create_placeholder() }
    }

    fn rebuild(self, state: &mut ListState) {
        let Self { items, kind, owner } = self;
        let mut slots: Vec<Option<Slot>> = state.slots.drain(..).map(Some).collect();
        let mut next = 0;
        let place_of = |item: &ListItem| {
            let is_it = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.key == item.key);
            // Most rows still follow the row that they followed before.
            let is_next = slots.get(next).is_some_and(is_it);
            let place = if is_next { next } else { slots.iter().position(is_it)? };
            next = place + 1;
            Some(place)
        };
        let was: Vec<Option<usize>> = items.iter().map(place_of).collect();
        let kept: Vec<Option<Slot>> = was.iter().map(|place| slots[(*place)?].take()).collect();
        for mut removed in slots.into_iter().flatten() {
            removed.view.unmount();
        }
        let focused = document().active_element();
        let parent = state.end.parent_element();
        let mut after: Node = state.end.clone().into();
        for ((item, slot), stays) in items.into_iter().zip(kept).zip(unmoved(&was)).rev() {
            let slot = match slot {
                Some(mut slot) => {
                    slot.mark_removed(item.row.is_none());
                    if let Some(row) = item.row {
                        kind.update_row(&slot.state, row);
                    }
                    Some(slot)
                }
                None => self::slot(&kind, &owner, item, &mut Render::build),
            };
            let Some(mut slot) = slot else { continue };
            if let Some(parent) = parent.as_ref().filter(|_| !stays) {
                slot.view.mount(parent, Some(&after));
            }
            if let Some(element) = slot.element() {
                after = element.into();
            }
            state.slots.push(slot);
        }
        state.slots.reverse();
        keep_focus_on(focused);
    }
}

/// Restores the focus: an element that is moved loses it.
fn keep_focus_on(focused: Option<Element>) {
    if let Some(focused) = focused
        && document().active_element().as_ref() != Some(&focused)
        && focused.is_connected()
        && let Ok(focused) = focused.dyn_into::<HtmlElement>()
    {
        let _ = focused.focus();
    }
}

impl Mountable for ListState {
    fn unmount(&mut self) {
        for slot in &mut self.slots {
            slot.view.unmount();
        }
        self.end.unmount();
    }

    fn mount(&mut self, parent: &Element, marker: Option<&Node>) {
        for slot in &mut self.slots {
            slot.view.mount(parent, marker);
        }
        self.end.mount(parent, marker);
    }

    fn insert_before_this(&self, child: &mut dyn Mountable) -> bool {
        match self.slots.first() {
            Some(slot) => slot.view.insert_before_this(child),
            None => self.end.insert_before_this(child),
        }
    }

    fn elements(&self) -> Vec<Element> {
        self.slots.iter().flat_map(|slot| slot.view.elements()).collect()
    }
}

impl AddAnyAttr for List {
    type Output<NewAttr: Attribute> = Self;

    fn add_any_attr<NewAttr: Attribute>(self, _: NewAttr) -> Self {
        self
    }
}

impl RenderHtml for List {
    type AsyncOutput = Self;
    type Owned = Self;

    const MIN_LENGTH: usize = 0;

    fn dry_resolve(&mut self) {}

    async fn resolve(self) -> Self {
        self
    }

    fn to_html_with_buf(
        self,
        html: &mut String,
        position: &mut Position,
        flags: RenderFlags,
        attributes: Vec<AnyAttribute>,
    ) {
        for item in self.items {
            let Some(row) = item.row else { continue };
            // The signals of a row only have to live until it is rendered.
            let owner = self.owner.with(Owner::new);
            owner.with(|| {
                let state = self.kind.state(row);
                self.kind.view(&state).to_html_with_buf(html, position, flags, attributes.clone());
            });
            *position = Position::NextChild;
        }
        html.push_str("<!>");
    }

    fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> ListState {
        let slots = self.slots(&mut |view| view.hydrate::<FROM_SERVER>(cursor, position));
        let end = cursor.next_placeholder(position);
        position.set(Position::NextChild);
        ListState { slots, end }
    }

    fn into_owned(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the rows of `after` that stay where they were in `before`.
    fn stays(before: &str, after: &str) -> String {
        let was: Vec<_> = after.chars().map(|row| before.chars().position(|other| other == row)).collect();
        after.chars().zip(unmoved(&was)).filter(|(_, stays)| *stays).map(|(row, _)| row).collect()
    }

    #[test]
    fn no_row_is_moved_that_need_not_be() {
        assert_eq!(stays("", "abc"), "");
        assert_eq!(stays("abc", "abc"), "abc");
        assert_eq!(stays("cde", "abcdef"), "cde", "where rows come before and after");
        assert_eq!(stays("abcdef", "bdf"), "bdf", "where rows go among them");
        assert_eq!(stays("abcdef", "bxcydze"), "bcde", "both");
        assert_eq!(stays("abcdef", "bcdefa"), "bcdef", "the first to the end");
        assert_eq!(stays("abcdef", "fabcde"), "abcde", "the last to the front");
        assert_eq!(stays("abcdef", "adbcef"), "abcef");
        assert_eq!(stays("abcdef", "fedcba").len(), 1);
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn a_list_is_rendered_in_its_order() {
        Owner::new().with(|| {
            let rows =
                || vec![ListItem::new(2, "two"), ListItem::new(1, "one"), ListItem::new(2, "two again")];
            let row = |row: RwSignal<&'static str>| view! { <li title=row.get()></li> }.into_any();
            let html = view! { <ul>{list(None, rows, row)}</ul> }.to_html();
            let places = ["two", "one", "two again"].map(|row| html.find(&format!("title=\"{row}\"")));
            assert!(places.is_sorted() && places[0].is_some(), "{html}");
        });
    }
}
