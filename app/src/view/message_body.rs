//! The text of a message, with links, with places where a line may break, and folded if it is long.

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

/// Shows a message. A long one is folded, and unfolds without a script.
pub fn body_view(body: &Body) -> AnyView {
    let text = body.clone();
    let paragraph = StaticView(Box::new(move || {
        view! {
            <p class="body" dir="auto">
                {linked_text(text.as_str())}
            </p>
        }
        .into_any()
    }));
    if !body.is_long() {
        return paragraph.into_any();
    }
    view! {
        <details class="fold" on:toggle=handle_toggle>
            <summary>
                <span class="more-of-it">"Show all"</span>
                <span class="less-of-it">"Show less"</span>
            </summary>
        </details>
        {paragraph}
    }
    .into_any()
}

/// Scrolls to the beginning of a message when it is unfolded. A list that follows its end would push it out of view.
fn handle_toggle(event: ToggleEvent) {
    let details = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let details = details.filter(|details| details.has_attribute("open"));
    if let Some(message) = details.and_then(|details| details.parent_element()) {
        message.scroll_into_view();
    }
}

/// Shows a text with its links. They open in a new window, without access to this one.
fn linked_text(text: &str) -> AnyView {
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

/// Shows a text with break opportunities in long runs without any: browsers take quadratic time to find their own.
pub fn breakable(text: &str) -> AnyView {
    let runs = unicode::runs(text);
    if let [run] = runs[..] {
        return run.to_owned().into_any();
    }
    let run_view = |run: &str| {
        view! {
            {run.to_owned()}
            <wbr />
        }
        .into_any()
    };
    runs.into_iter().map(run_view).collect_view().into_any()
}

/// A view of a single element in which nothing changes or acts. Hydration skips it: its content may have been changed
/// by a translator, or split elsewhere by a browser with a newer version of Unicode.
struct StaticView(Children);

/// The state of a static view: its element on the page.
enum StaticViewState {
    /// The element was built here.
    Built(AnyViewState),
    /// The element was rendered by the server.
    Rendered(types::Element),
}

impl StaticViewState {
    fn as_mountable(&mut self) -> &mut dyn Mountable {
        match self {
            Self::Built(view) => view,
            Self::Rendered(element) => element,
        }
    }
}

impl Mountable for StaticViewState {
    fn unmount(&mut self) {
        self.as_mountable().unmount();
    }

    fn mount(&mut self, parent: &types::Element, marker: Option<&types::Node>) {
        self.as_mountable().mount(parent, marker);
    }

    fn insert_before_this(&self, child: &mut dyn Mountable) -> bool {
        match self {
            Self::Built(view) => view.insert_before_this(child),
            Self::Rendered(element) => element.insert_before_this(child),
        }
    }

    fn elements(&self) -> Vec<types::Element> {
        match self {
            Self::Built(view) => view.elements(),
            Self::Rendered(element) => vec![element.clone()],
        }
    }
}

impl Render for StaticView {
    type State = StaticViewState;

    fn build(self) -> Self::State {
        StaticViewState::Built((self.0)().build())
    }

    fn rebuild(self, _: &mut Self::State) {}
}

impl AddAnyAttr for StaticView {
    type Output<NewAttr: Attribute> = Self;

    fn add_any_attr<NewAttr: Attribute>(self, _: NewAttr) -> Self {
        self
    }
}

impl RenderHtml for StaticView {
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
        // Skips the element, as hydrating it would.
        cursor.advance_to_placeholder(position);
        match cursor.current().dyn_into() {
            Ok(element) => StaticViewState::Rendered(element),
            Err(_) => StaticViewState::Built((self.0)().build()),
        }
    }

    fn into_owned(self) -> Self {
        self
    }
}
