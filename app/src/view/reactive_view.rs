//! Reactive texts and views that keep working when something else changes the page: translators wrap text in other
//! elements, and some extensions remove comments, by which Leptos finds its places
//! (docs/adr/0020-changed-pages-are-rendered-again.md). They replace Leptos' `Show` and reactive text. Attributes are plain
//! closures.

use std::{cell::RefCell, rc::Rc};

use leptos::{
    children::ViewFn,
    prelude::*,
    reactive::effect::RenderEffect,
    tachys::{
        html::attribute::{Attribute, any_attribute::AnyAttribute},
        hydration::Cursor,
        renderer::types,
        view::{
            Mountable, Position, PositionState, Render, RenderFlags, add_attr::AddAnyAttr,
            any_view::AnyViewState,
        },
    },
    wasm_bindgen::JsCast,
};

/// A text that is the only content of its element. It is set as the text content of the element, and not of a text
/// node, which a translator may have replaced.
pub struct TextContent(String);

/// Creates a text that does not change by itself. It has to be the only child of its element.
pub fn static_text(text: impl Into<String>) -> TextContent {
    TextContent(text.into())
}

/// Creates a text that is set again when the signals it reads change. It has to be the only child of its element.
pub fn reactive_text<T: Into<String>>(
    text: impl Fn() -> T + Send + 'static,
) -> Box<dyn FnMut() -> TextContent + Send> {
    Box::new(move || TextContent(text().into()))
}

/// Creates a text as [`reactive_text`] does, which may be empty. It has to be the only child of its element.
pub fn optional_text<T: Into<String>>(
    text: impl Fn() -> Option<T> + Send + 'static,
) -> Box<dyn FnMut() -> TextContent + Send> {
    reactive_text(move || text().map(Into::into).unwrap_or_default())
}

/// A text on the page: its element, once it is mounted or hydrated, and the text last set.
pub struct TextContentState(Option<types::Element>, String);

impl Mountable for TextContentState {
    fn unmount(&mut self) {
        if let Some(element) = self.0.take() {
            element.set_text_content(None);
        }
    }

    fn mount(&mut self, parent: &types::Element, _: Option<&types::Node>) {
        parent.set_text_content(Some(&self.1));
        self.0 = Some(parent.clone());
    }

    fn insert_before_this(&self, _: &mut dyn Mountable) -> bool {
        false
    }

    fn elements(&self) -> Vec<types::Element> {
        Vec::new()
    }
}

impl Render for TextContent {
    type State = TextContentState;

    fn build(self) -> TextContentState {
        TextContentState(None, self.0)
    }

    fn rebuild(self, TextContentState(element, last): &mut TextContentState) {
        // A text that is the same is left alone, since it may have been translated.
        if *last != self.0 {
            *last = self.0;
            if let Some(element) = element {
                element.set_text_content(Some(last));
            }
        }
    }
}

impl AddAnyAttr for TextContent {
    type Output<NewAttr: Attribute> = Self;

    fn add_any_attr<NewAttr: Attribute>(self, _: NewAttr) -> Self {
        self
    }
}

impl RenderHtml for TextContent {
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
        // Leptos would write a space for an empty text, to have a text node.
        if !self.0.is_empty() {
            self.0.to_html_with_buf(html, position, flags, attributes);
        }
    }

    fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> TextContentState {
        // Before its first child, the cursor is at the element.
        let element = cursor.current().dyn_into().ok();
        if !self.0.is_empty() {
            cursor.child();
            position.set(Position::NextChild);
        }
        TextContentState(element, self.0)
    }

    fn into_owned(self) -> Self {
        self
    }
}

/// The parent element of a reactive view, known once the view is mounted or hydrated.
type ParentElement = Rc<RefCell<Option<types::Element>>>;

/// A view that is rendered again when the signals it reads change. If its place cannot be found any more, it is put at
/// the end of its parent element.
pub struct ReactiveView(Box<dyn Fn() -> AnyView + Send>);

/// Creates a [`ReactiveView`].
pub fn reactive_view(show: impl Fn() -> AnyView + Send + 'static) -> ReactiveView {
    ReactiveView(Box::new(show))
}

/// The state of a reactive view on the page.
pub struct ReactiveViewState {
    parent: ParentElement,
    effect: RenderEffect<AnyViewState>,
}

impl ReactiveView {
    fn into_state(
        self,
        parent: ParentElement,
        first: impl FnOnce(AnyView) -> AnyViewState + 'static,
    ) -> ReactiveViewState {
        let Self(show) = self;
        let mut first = Some(first);
        let effect = RenderEffect::new({
            let parent = Rc::clone(&parent);
            move |before: Option<AnyViewState>| {
                let view = show();
                let mut state = match (before, first.take()) {
                    (Some(state), _) => state,
                    (None, Some(first)) => return first(view),
                    (None, None) => return view.build(),
                };
                view.rebuild(&mut state);
                let is_lost = state.elements().iter().any(|element| element.parent_node().is_none());
                if is_lost && let Some(parent) = &*parent.borrow() {
                    state.mount(parent, None);
                }
                state
            }
        });
        ReactiveViewState { parent, effect }
    }
}

impl Mountable for ReactiveViewState {
    fn unmount(&mut self) {
        self.parent.take();
        self.effect.unmount();
    }

    fn mount(&mut self, parent: &types::Element, marker: Option<&types::Node>) {
        self.parent.replace(Some(parent.clone()));
        self.effect.mount(parent, marker);
    }

    fn insert_before_this(&self, child: &mut dyn Mountable) -> bool {
        self.effect.insert_before_this(child)
    }

    fn elements(&self) -> Vec<types::Element> {
        self.effect.elements()
    }
}

impl Render for ReactiveView {
    type State = ReactiveViewState;

    fn build(self) -> ReactiveViewState {
        self.into_state(ParentElement::default(), Render::build)
    }

    fn rebuild(self, state: &mut ReactiveViewState) {
        let new = self.build();
        let mut old = std::mem::replace(state, new);
        let parent = old.parent.borrow().clone();
        old.insert_before_this(state);
        state.parent.replace(parent);
        old.unmount();
    }
}

impl AddAnyAttr for ReactiveView {
    type Output<NewAttr: Attribute> = Self;

    fn add_any_attr<NewAttr: Attribute>(self, attribute: NewAttr) -> Self {
        let attribute = attribute.into_cloneable_owned();
        reactive_view(move || (self.0)().add_any_attr(attribute.clone()).into_any())
    }
}

impl RenderHtml for ReactiveView {
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

    fn hydrate<const FROM_SERVER: bool>(
        self,
        cursor: &Cursor,
        position: &PositionState,
    ) -> ReactiveViewState {
        let node = cursor.current();
        let parent = match position.get() {
            Position::FirstChild => node.dyn_into().ok(),
            _ => node.parent_element(),
        };
        let (cursor, position) = (cursor.clone(), position.clone());
        self.into_state(Rc::new(RefCell::new(parent)), move |view| {
            view.hydrate::<FROM_SERVER>(&cursor, &position)
        })
    }

    fn into_owned(self) -> Self {
        self
    }
}

/// Shows `children` while a condition holds, and `fallback` otherwise. Replaces Leptos' `Show`.
#[component]
pub fn Show(
    /// Returns whether the condition holds.
    when: impl Fn() -> bool + Send + Sync + 'static,
    /// The view while the condition holds.
    children: ChildrenFn,
    /// The view while the condition does not hold.
    #[prop(optional, into)]
    fallback: ViewFn,
) -> impl IntoView {
    let when = Memo::new(move |_| when());
    reactive_view(move || if when.get() { children() } else { fallback.run() })
}
