//! Texts and parts that go on when something else changes the page as well: translators put other elements around text, and
//! some extensions take comments out, which is how Leptos knows its places (docs/adr/0020-a-page-that-others-change.md).
//! What stands in for Leptos' `Show` and dynamic text is here; attributes are closures as the book has them.

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

/// A text that is all its element holds. It is changed as the text of that element, and not of a node in it, which a
/// translator may have replaced.
pub struct Words(String);

/// A text that does not change by itself. It has to be the only child of its element.
pub fn fixed(text: impl Into<String>) -> Words {
    Words(text.into())
}

/// A text that follows the state. It has to be the only child of its element.
pub fn words<T: Into<String>>(say: impl Fn() -> T + Send + 'static) -> Box<dyn FnMut() -> Words + Send> {
    Box::new(move || Words(say().into()))
}

/// A text that follows the state and may be empty. It has to be the only child of its element.
pub fn maybe_words<T: Into<String>>(
    say: impl Fn() -> Option<T> + Send + 'static,
) -> Box<dyn FnMut() -> Words + Send> {
    words(move || say().map(Into::into).unwrap_or_default())
}

/// A text on the page: its element, once it is mounted or hydrated, and what was last said there.
pub struct WordsState(Option<types::Element>, String);

impl Mountable for WordsState {
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

impl Render for Words {
    type State = WordsState;

    fn build(self) -> WordsState {
        WordsState(None, self.0)
    }

    fn rebuild(self, WordsState(element, said): &mut WordsState) {
        // what says the same stays, translated as it may be
        if *said != self.0 {
            *said = self.0;
            if let Some(element) = element {
                element.set_text_content(Some(said));
            }
        }
    }
}

impl AddAnyAttr for Words {
    type Output<NewAttr: Attribute> = Self;

    fn add_any_attr<NewAttr: Attribute>(self, _: NewAttr) -> Self {
        self
    }
}

impl RenderHtml for Words {
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
        // for an empty text Leptos would write a blank, to have a node
        if !self.0.is_empty() {
            self.0.to_html_with_buf(html, position, flags, attributes);
        }
    }

    fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> WordsState {
        // before its first child the cursor is at the element
        let element = cursor.current().dyn_into().ok();
        if !self.0.is_empty() {
            cursor.child();
            position.set(Position::NextChild);
        }
        WordsState(element, self.0)
    }

    fn into_owned(self) -> Self {
        self
    }
}

/// The element that a part stands in: known once it is mounted or hydrated.
type Place = Rc<RefCell<Option<types::Element>>>;

/// A part that is made anew when what it looks at changes. Where its place can no longer be found, it comes last in the
/// element around it.
pub struct Part(Box<dyn Fn() -> AnyView + Send>);

/// A part that is made anew.
pub fn part(show: impl Fn() -> AnyView + Send + 'static) -> Part {
    Part(Box::new(show))
}

/// Keeps a part as it is to be.
pub struct PartState {
    place: Place,
    effect: RenderEffect<AnyViewState>,
}

impl Part {
    fn follow(self, place: Place, first: impl FnOnce(AnyView) -> AnyViewState + 'static) -> PartState {
        let Self(show) = self;
        let mut first = Some(first);
        let effect = RenderEffect::new({
            let place = Rc::clone(&place);
            move |before: Option<AnyViewState>| {
                let view = show();
                let mut state = match (before, first.take()) {
                    (Some(state), _) => state,
                    (None, Some(first)) => return first(view),
                    (None, None) => return view.build(),
                };
                view.rebuild(&mut state);
                let is_lost = state.elements().iter().any(|element| element.parent_node().is_none());
                if is_lost && let Some(parent) = &*place.borrow() {
                    state.mount(parent, None);
                }
                state
            }
        });
        PartState { place, effect }
    }
}

impl Mountable for PartState {
    fn unmount(&mut self) {
        self.place.take();
        self.effect.unmount();
    }

    fn mount(&mut self, parent: &types::Element, marker: Option<&types::Node>) {
        self.place.replace(Some(parent.clone()));
        self.effect.mount(parent, marker);
    }

    fn insert_before_this(&self, child: &mut dyn Mountable) -> bool {
        self.effect.insert_before_this(child)
    }

    fn elements(&self) -> Vec<types::Element> {
        self.effect.elements()
    }
}

impl Render for Part {
    type State = PartState;

    fn build(self) -> PartState {
        self.follow(Place::default(), Render::build)
    }

    fn rebuild(self, state: &mut PartState) {
        let new = self.build();
        let mut old = std::mem::replace(state, new);
        let place = old.place.borrow().clone();
        old.insert_before_this(state);
        state.place.replace(place);
        old.unmount();
    }
}

impl AddAnyAttr for Part {
    type Output<NewAttr: Attribute> = Self;

    fn add_any_attr<NewAttr: Attribute>(self, attribute: NewAttr) -> Self {
        let attribute = attribute.into_cloneable_owned();
        part(move || (self.0)().add_any_attr(attribute.clone()).into_any())
    }
}

impl RenderHtml for Part {
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

    fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> PartState {
        let node = cursor.current();
        let parent = match position.get() {
            Position::FirstChild => node.dyn_into().ok(),
            _ => node.parent_element(),
        };
        let (cursor, position) = (cursor.clone(), position.clone());
        self.follow(Rc::new(RefCell::new(parent)), move |view| {
            view.hydrate::<FROM_SERVER>(&cursor, &position)
        })
    }

    fn into_owned(self) -> Self {
        self
    }
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
    let when = Memo::new(move |_| when());
    part(move || if when.get() { children() } else { fallback.run() })
}
