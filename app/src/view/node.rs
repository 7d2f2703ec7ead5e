//! Parts of a page in which nothing changes by itself or acts, as data: one type for all of them, where each kind of
//! element as a view of Leptos would be generic code of its own.

mod keyed;

use leptos::{
    tachys::{
        html::attribute::{Attribute, any_attribute::AnyAttribute},
        hydration::Cursor,
        renderer::{Rndr, types},
        view::{Mountable, Position, PositionState, Render, RenderFlags, RenderHtml, add_attr::AddAnyAttr},
    },
    wasm_bindgen::JsCast,
};

/// Elements without content, which have no end tag.
const VOID: [&str; 2] = ["input", "wbr"];

/// Elements of drawings.
const SVG: [&str; 2] = ["svg", "path"];

/// A node of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A text.
    Text(String),
    /// An element.
    Element(Element),
}

/// An element of a page. Names, also those of attributes, are constants: nothing that a user wrote can be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Node>,
}

impl Element {
    /// Creates an element without attributes.
    pub fn new(name: &'static str, children: Vec<Node>) -> Self {
        Self { name, attributes: Vec::new(), children }
    }

    /// Adds an attribute.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// Writes the element as HTML.
    pub fn write_html(&self, html: &mut String) {
        html.push('<');
        html.push_str(self.name);
        for (name, value) in &self.attributes {
            html.push(' ');
            html.push_str(name);
            html.push_str("=\"");
            write_escaped(value, html);
            html.push('"');
        }
        html.push('>');
        if VOID.contains(&self.name) {
            return;
        }
        for child in &self.children {
            match child {
                Node::Text(text) => write_escaped(text, html),
                Node::Element(element) => element.write_html(html),
            }
        }
        html.push_str("</");
        html.push_str(self.name);
        html.push('>');
    }

    /// Creates the element in the browser.
    fn create(&self) -> types::Element {
        let namespace = SVG.contains(&self.name).then_some("http://www.w3.org/2000/svg");
        let element = Rndr::create_element(self.name, namespace);
        for (name, value) in &self.attributes {
            Rndr::set_attribute(&element, name, value);
        }
        self.fill(&element);
        element
    }

    /// Adds the children to the element in the browser.
    fn fill(&self, element: &types::Element) {
        for child in &self.children {
            match child {
                Node::Text(text) => Rndr::insert_node(element, &Rndr::create_text_node(text), None),
                Node::Element(child) => Rndr::insert_node(element, &child.create(), None),
            }
        }
    }
}

/// Writes a text as HTML, or as the value of an attribute in double quotes.
fn write_escaped(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            _ => html.push(c),
        }
    }
}

/// A view of a single element. Hydration skips it: its content may have been changed by a translator, or split elsewhere by
/// a browser with a newer version of Unicode. It is rendered again only if it is another one.
pub struct StaticView(pub Element);

/// The state of a static view.
pub struct StaticViewState {
    /// What is shown.
    shown: Element,
    /// The element on the page.
    element: types::Element,
}

impl Mountable for StaticViewState {
    fn unmount(&mut self) {
        self.element.unmount();
    }

    fn mount(&mut self, parent: &types::Element, marker: Option<&types::Node>) {
        self.element.mount(parent, marker);
    }

    fn insert_before_this(&self, child: &mut dyn Mountable) -> bool {
        self.element.insert_before_this(child)
    }

    fn elements(&self) -> Vec<types::Element> {
        vec![self.element.clone()]
    }
}

impl Render for StaticView {
    type State = StaticViewState;

    fn build(self) -> StaticViewState {
        StaticViewState { element: self.0.create(), shown: self.0 }
    }

    fn rebuild(self, state: &mut StaticViewState) {
        let Self(new) = self;
        if new == state.shown {
            return;
        }
        if new.name == state.shown.name && new.attributes == state.shown.attributes {
            // The element stays, and with it what others know of it.
            new.fill_again(&state.shown, &state.element);
        } else {
            let mut element = new.create();
            state.element.insert_before_this(&mut element);
            state.element.unmount();
            state.element = element;
        }
        state.shown = new;
    }
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
        _: RenderFlags,
        _: Vec<AnyAttribute>,
    ) {
        self.0.write_html(html);
        *position = Position::NextChild;
    }

    fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> StaticViewState {
        // Skips the element, as hydrating it would.
        cursor.advance_to_placeholder(position);
        let Self(shown) = self;
        let element = cursor.current().dyn_into().unwrap_or_else(|_| shown.create());
        StaticViewState { shown, element }
    }

    fn into_owned(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_values_are_escaped() {
        let link = Element::new("a", vec![Node::Text("<b> & \"c\"".to_owned())])
            .with("href", "https://a.example/?\"&<'>");
        let line =
            Element::new("div", vec![Node::Element(link), Node::Element(Element::new("wbr", Vec::new()))]);
        let mut html = String::new();
        line.write_html(&mut html);
        assert_eq!(
            html,
            "<div><a href=\"https://a.example/?&quot;&amp;&lt;'&gt;\">&lt;b&gt; &amp; &quot;c&quot;</a><wbr></div>"
        );
    }
}
