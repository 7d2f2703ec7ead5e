//! The text of a message: formatted as its marks say, with places where a line may break, and folded if it is long.

use domain::{Body, MarkKind, Marks, marks::Piece, unicode};
use leptos::{
    prelude::*,
    wasm_bindgen::JsCast,
    web_sys::{self, ToggleEvent},
};

use crate::view::node::{Element, Node, StaticView};

#[cfg(test)]
mod tests;

/// Shows a message. A long one is folded, and unfolds without a script.
pub fn body_view(body: &Body, marks: &Marks) -> AnyView {
    let text = StaticView(body_element(body.as_str(), marks));
    if !body.is_long() {
        return text.into_any();
    }
    view! {
        <details class="fold" on:toggle=handle_toggle>
            <summary>
                <span class="more-of-it">"Show all"</span>
                <span class="less-of-it">"Show less"</span>
            </summary>
        </details>
        {text}
    }
    .into_any()
}

/// Scrolls to the beginning of a message when it is unfolded. A list that follows its end would push it out of view.
fn handle_toggle(event: ToggleEvent) {
    let details = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
    let details = details.filter(|details| details.has_attribute("open"));
    if let Some(message) = details.and_then(|details| details.parent_element()) {
        message.scroll_into_view();
    }
}

/// A mark that is open while a text is walked.
struct Open<'a> {
    /// `None` for the text as a whole.
    kind: Option<MarkKind>,
    /// The text of its range as typed, or the address of a link.
    source: &'a str,
    /// What is in it so far.
    children: Vec<Node>,
    /// The language of code, once it is known.
    language: Option<Node>,
    /// The number of a list's first item, once it is known.
    number: Option<&'a str>,
}

/// Returns the element that shows a text.
fn body_element(text: &str, marks: &Marks) -> Element {
    let begin = |kind, source| Open { kind, source, children: Vec::new(), language: None, number: None };
    let (mut open, mut around) = (begin(None, text), Vec::new());
    for piece in marks.pieces(text) {
        match piece {
            Piece::Text(text) => add_text(&mut open.children, text),
            Piece::Open(kind, source) => {
                if kind == MarkKind::Item && open.number.is_none() {
                    open.number = Some(source);
                }
                around.push(std::mem::replace(&mut open, begin(Some(kind), source)));
            }
            Piece::Close => {
                let Some(outer) = around.pop() else { continue };
                let inner = std::mem::replace(&mut open, outer);
                let is_in_link = around.iter().chain([&open]).any(|open| open.kind == Some(MarkKind::Link));
                close(&mut open, inner, is_in_link);
            }
        }
    }
    Element::new("div", open.children).with("class", "body").with("dir", "auto")
}

/// Adds a mark that is complete to the one around it. What is where the parser of HTML would move it, such as a link in a
/// link, adds only its content.
fn close(outer: &mut Open<'_>, inner: Open<'_>, is_in_link: bool) {
    let Open { kind, source, children, language, number } = inner;
    let element = match kind {
        Some(MarkKind::Strong) => Element::new("strong", children),
        Some(MarkKind::Emphasis) => Element::new("em", children),
        Some(MarkKind::Struck) => Element::new("s", children),
        Some(MarkKind::Code) => Element::new("code", children).with("translate", "no"),
        Some(MarkKind::CodeBlock) => code_block(children, language),
        Some(MarkKind::Language) if outer.kind == Some(MarkKind::CodeBlock) && outer.language.is_none() => {
            outer.language = Some(Node::Element(Element::new("span", children).with("translate", "no")));
            return;
        }
        Some(MarkKind::Quote) => Element::new("blockquote", children).with("dir", "auto"),
        Some(MarkKind::Bullets) => Element::new("ul", children).with("dir", "auto"),
        Some(MarkKind::Numbers) => {
            let list = Element::new("ol", children).with("dir", "auto");
            match number.and_then(number_of) {
                None | Some(1) => list,
                Some(number) => list.with("start", number.to_string()),
            }
        }
        Some(MarkKind::Item) if matches!(outer.kind, Some(MarkKind::Bullets | MarkKind::Numbers)) => {
            Element::new("li", children)
        }
        // They open in a new window, without access to this one.
        Some(MarkKind::Link) if !is_in_link && is_web_address(source) => Element::new("a", children)
            .with("href", source)
            .with("target", "_blank")
            .with("rel", "noopener noreferrer nofollow ugc"),
        Some(MarkKind::Address) => {
            outer.children.push(Node::Text(" ".to_owned()));
            Element::new("span", children).with("class", "address").with("translate", "no")
        }
        Some(MarkKind::Spoiler) => {
            let tick =
                Element::new("input", Vec::new()).with("type", "checkbox").with("aria-label", "Show spoiler");
            Element::new("span", vec![Node::Element(tick), Node::Element(Element::new("span", children))])
                .with("class", "spoiler")
        }
        Some(MarkKind::Mention) => {
            Element::new("span", children).with("class", "mention").with("translate", "no")
        }
        Some(MarkKind::Item | MarkKind::Link | MarkKind::Language | MarkKind::Hidden) | None => {
            outer.children.extend(children);
            return;
        }
    };
    outer.children.push(Node::Element(element));
}

/// Returns the element for lines of code, with a line above that has the language and a button. `boot.js` makes the button
/// copy the code.
fn code_block(children: Vec<Node>, language: Option<Node>) -> Element {
    let copy = Element::new("button", vec![Node::Text("Copy".to_owned())])
        .with("type", "button")
        .with("class", "quiet copy-code needs-hydration");
    let head = language.into_iter().chain([Node::Element(copy)]).collect();
    let code = Element::new("code", children).with("translate", "no");
    let lines = vec![
        Node::Element(Element::new("div", head).with("class", "code-head")),
        Node::Element(Element::new("pre", vec![Node::Element(code)]).with("dir", "ltr")),
    ];
    Element::new("div", lines).with("class", "code")
}

/// Whether this is an address that a link may lead to.
fn is_web_address(address: &str) -> bool {
    let begins =
        |scheme: &str| address.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    begins("http://") || begins("https://")
}

/// Returns the number with which an item begins.
fn number_of(item: &str) -> Option<u32> {
    let item = item.trim_start();
    let digits = item.find(|c: char| !c.is_ascii_digit()).unwrap_or(item.len());
    item.get(..digits)?.parse().ok()
}

/// Adds a text with break opportunities in long runs without any: browsers take quadratic time to find their own.
fn add_text(nodes: &mut Vec<Node>, text: &str) {
    // Texts side by side are one text in the HTML of a server, and one run.
    let before = match nodes.pop_if(|node| matches!(node, Node::Text(_))) {
        Some(Node::Text(before)) => before,
        _ => String::new(),
    };
    let text = before + text;
    let runs = unicode::runs(&text);
    let is_broken = runs.len() > 1;
    for run in runs {
        nodes.push(Node::Text(run.to_owned()));
        if is_broken {
            nodes.push(Node::Element(Element::new("wbr", Vec::new())));
        }
    }
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
