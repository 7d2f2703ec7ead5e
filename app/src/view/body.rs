//! What somebody said, as it was written: with links to follow, places where a line may break, and folded where it is long.

use domain::{
    Body,
    link::{self, Segment},
    unicode,
};
use leptos::{
    prelude::*,
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
    web_sys::{Element, ToggleEvent},
};

/// A message, and where it is long a way to see all of it, which needs no script.
pub fn body_view(body: &Body) -> AnyView {
    let words = body.clone();
    let said = AsItStands(Box::new(move || {
        view! {
            <p class="body" dir="auto">
                {words_view(words.as_str())}
            </p>
        }
        .into_any()
    }));
    if !body.is_long() {
        return said.into_any();
    }
    view! {
        <details class="fold" on:toggle=toggled>
            <summary>
                <span class="more-of-it">"Show all"</span>
                <span class="less-of-it">"Show less"</span>
            </summary>
        </details>
        {said}
    }
    .into_any()
}

/// Who unfolds a message reads it from its beginning, which a list that follows its end would push out of view.
fn toggled(event: ToggleEvent) {
    let details = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let details = details.filter(|details| details.has_attribute("open"));
    if let Some(message) = details.and_then(|details| details.parent_element()) {
        message.scroll_into_view();
    }
}

/// A text, its addresses to be followed into a window of their own, which learns nothing of this one.
fn words_view(text: &str) -> AnyView {
    let piece_view = |piece: &Segment| match *piece {
        Segment::Text(text) => breakable(text),
        Segment::Link(address) => view! {
            <a href=address.to_owned() target="_blank" rel="noopener noreferrer nofollow ugc">
                {breakable(address)}
            </a>
        }
        .into_any(),
    };
    link::linkify(text).iter().map(piece_view).collect_view().into_any()
}

/// A text with places to break where it has none for long: a browser needs time squared to find one by itself.
pub fn breakable(text: &str) -> AnyView {
    let runs = unicode::runs(text);
    if let [run] = runs[..] {
        return run.to_owned().into_any();
    }
    let run_view = |run: &str| view! { {run.to_owned()}<wbr /> }.into_any();
    runs.into_iter().map(run_view).collect_view().into_any()
}

/// A view of one element in which nothing changes or acts: it is passed over when the page is taken over, and what is in it
/// may have been changed by a translator, or broken elsewhere by a browser that counts characters by a newer Unicode.
struct AsItStands(Children);

/// The element on the page: as it was built here, or as it came.
enum Standing {
    Built(AnyViewState),
    Came(types::Element),
}

impl Standing {
    fn as_mountable(&mut self) -> &mut dyn Mountable {
        match self {
            Self::Built(view) => view,
            Self::Came(element) => element,
        }
    }
}

impl Mountable for Standing {
    fn unmount(&mut self) {
        self.as_mountable().unmount();
    }

    fn mount(&mut self, parent: &types::Element, marker: Option<&types::Node>) {
        self.as_mountable().mount(parent, marker);
    }

    fn insert_before_this(&self, child: &mut dyn Mountable) -> bool {
        match self {
            Self::Built(view) => view.insert_before_this(child),
            Self::Came(element) => element.insert_before_this(child),
        }
    }

    fn elements(&self) -> Vec<types::Element> {
        match self {
            Self::Built(view) => view.elements(),
            Self::Came(element) => vec![element.clone()],
        }
    }
}

impl Render for AsItStands {
    type State = Standing;

    fn build(self) -> Self::State {
        Standing::Built((self.0)().build())
    }

    fn rebuild(self, _: &mut Self::State) {}
}

impl AddAnyAttr for AsItStands {
    type Output<NewAttr: Attribute> = Self;

    fn add_any_attr<NewAttr: Attribute>(self, _: NewAttr) -> Self {
        self
    }
}

impl RenderHtml for AsItStands {
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
        (self.0)().to_html_with_buf(html, position, flags, attributes);
    }

    fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> Self::State {
        // passes over the element, as it would do itself
        cursor.advance_to_placeholder(position);
        match cursor.current().dyn_into() {
            Ok(element) => Standing::Came(element),
            Err(_) => Standing::Built((self.0)().build()),
        }
    }

    fn into_owned(self) -> Self {
        self
    }
}
