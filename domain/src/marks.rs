//! Marks: how the parts of a text are shown. A text stays as it was typed; marks are ranges of it. What is in no
//! [`MarkKind::Hidden`] range is shown, so whoever ignores the marks shows what was typed and loses nothing.

use serde::{Deserialize, Serialize};

use crate::{Body, text::Line};

/// The maximum number of marks of one text.
pub const MARKS_LIMIT: usize = 400;
/// How deep marks can be nested. [`MarkKind::Hidden`] does not count, since it makes no element of a page.
pub const MARKS_DEPTH: usize = 8;

/// The marks of one text, by where they begin; of two that begin at the same place the outer comes first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Marks(Box<[Mark]>);

/// How a range of a text is shown: its kind, where it begins and where it ends, in bytes of the text as UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark(pub MarkKind, pub u16, pub u16);

/// The kinds of marks. Stored by position: new kinds are added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// A sign that made a mark, such as a star: not shown. It contains no other marks.
    Hidden,
    /// Strong text, usually bold.
    Strong,
    /// Emphasized text, usually italic.
    Emphasis,
    /// Text that is struck through.
    Struck,
    /// Code within a line.
    Code,
    /// Lines of code.
    CodeBlock,
    /// The name of the language of the [`MarkKind::CodeBlock`] around it.
    Language,
    /// Quoted text.
    Quote,
    /// A list with bullets.
    Bullets,
    /// A numbered list. It begins with the number of its first item.
    Numbers,
    /// An item of a list.
    Item,
    /// A link. Its address is the [`MarkKind::Address`] in it, or its text if it has none.
    Link,
    /// The address of the [`MarkKind::Link`] around it.
    Address,
    /// Text that is shown only on request.
    Spoiler,
    /// The name of a user who is meant.
    Mention,
}

/// A step of the way through a marked text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A mark begins. With the text of its range as typed, or for a link the address that it leads to.
    Open(MarkKind, &'a str),
    /// Text that is shown, never empty.
    Text(&'a str),
    /// The mark that was opened last and is still open ends.
    Close,
}

impl Mark {
    /// Returns the text of this range, or `None` if the text has no such range.
    fn text(self, body: &str) -> Option<&str> {
        body.get(usize::from(self.1)..usize::from(self.2))
    }
}

impl Marks {
    /// Returns marks as those of a text. `None` if a range is out of bounds, empty, not between characters, not in
    /// order, crosses another or lies in a hidden one, or if there are more than [`MARKS_LIMIT`] or they are nested
    /// deeper than [`MARKS_DEPTH`].
    pub fn checked(body: &Body, marks: Vec<Mark>) -> Option<Self> {
        if marks.len() > MARKS_LIMIT {
            return None;
        }
        let mut around: Vec<Mark> = Vec::new();
        let mut last_from = 0;
        for mark in &marks {
            let Mark(kind, from, to) = *mark;
            if mark.text(body.as_str())?.is_empty() || from < last_from {
                return None;
            }
            last_from = from;
            while around.pop_if(|Mark(_, _, end)| *end <= from).is_some() {}
            if around.last().is_some_and(|Mark(outer, _, end)| *outer == MarkKind::Hidden || *end < to) {
                return None;
            }
            if kind != MarkKind::Hidden && around.len() >= MARKS_DEPTH {
                return None;
            }
            around.push(*mark);
        }
        Some(Self(marks.into()))
    }

    /// Whether there are no marks.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the marks in their order.
    pub fn iter(&self) -> impl Iterator<Item = Mark> {
        self.0.iter().copied()
    }

    /// Returns the way through the text that these marks belong to: what is opened, shown and closed. Whatever the
    /// marks, each character that is not hidden is shown once and in order; marks that [`Marks::checked`] refuses are
    /// left out.
    pub fn pieces<'a>(&self, body: &'a str) -> impl Iterator<Item = Piece<'a>> {
        let mut pieces = Vec::new();
        let mut at = 0;
        let mut ends: Vec<usize> = Vec::new();
        let text = |from, to, pieces: &mut Vec<_>| {
            let shown = body.get(from..to).filter(|shown| !shown.is_empty());
            pieces.extend(shown.map(Piece::Text));
        };
        for (place, mark) in self.0.iter().enumerate() {
            let Mark(kind, from, to) = *mark;
            let (from, to) = (usize::from(from), usize::from(to));
            while let Some(end) = ends.pop_if(|end| *end <= from) {
                text(at, end, &mut pieces);
                pieces.push(Piece::Close);
                at = at.max(end);
            }
            let Some(source) = mark.text(body).filter(|source| !source.is_empty()) else { continue };
            let is_in_order = from >= at && ends.last().is_none_or(|end| to <= *end);
            let is_too_deep = kind != MarkKind::Hidden && ends.len() >= MARKS_DEPTH;
            if !is_in_order || is_too_deep {
                continue;
            }
            text(at, from, &mut pieces);
            at = from;
            match kind {
                MarkKind::Hidden => at = to,
                MarkKind::Link => {
                    let inner = self.0.iter().skip(place + 1).take_while(|inner| usize::from(inner.1) < to);
                    let address =
                        inner.filter(|inner| inner.0 == MarkKind::Address).find_map(|inner| inner.text(body));
                    pieces.push(Piece::Open(kind, address.unwrap_or(source)));
                    ends.push(to);
                }
                _ => {
                    pieces.push(Piece::Open(kind, source));
                    ends.push(to);
                }
            }
        }
        while let Some(end) = ends.pop() {
            text(at, end, &mut pieces);
            pieces.push(Piece::Close);
            at = at.max(end);
        }
        text(at, body.len(), &mut pieces);
        pieces.into_iter()
    }

    /// Returns the beginning of what is shown of a text, on one line: for quotes, search results and notifications. What
    /// is to be shown only on request is "…", and neither the addresses of links with a text nor the languages of code
    /// are in it.
    pub fn first_line(&self, body: &str) -> Line {
        Line::beginning(&self.shown(body))
    }

    /// Returns what is shown of a text, of which [`Marks::first_line`] is the beginning: with a space where lines of their
    /// own begin and end.
    pub fn shown(&self, body: &str) -> String {
        let mut shown = String::new();
        let mut around: Vec<MarkKind> = Vec::new();
        for piece in self.pieces(body) {
            let is_left_out = around
                .iter()
                .any(|kind| matches!(kind, MarkKind::Spoiler | MarkKind::Address | MarkKind::Language));
            match piece {
                Piece::Open(kind, _) => {
                    if kind == MarkKind::Spoiler && !is_left_out {
                        shown.push('…');
                    }
                    if kind.is_block() {
                        shown.push(' ');
                    }
                    around.push(kind);
                }
                Piece::Close => {
                    if around.pop().is_some_and(MarkKind::is_block) {
                        shown.push(' ');
                    }
                }
                Piece::Text(text) if !is_left_out => shown.push_str(text),
                Piece::Text(_) => {}
            }
        }
        shown
    }
}

impl MarkKind {
    /// Whether it begins and ends lines of its own.
    pub fn is_block(self) -> bool {
        matches!(self, Self::CodeBlock | Self::Quote | Self::Bullets | Self::Numbers | Self::Item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
        strategy::Just,
    };

    use super::*;

    fn body(text: &str) -> Body {
        Body::try_from(text.to_owned()).unwrap()
    }

    fn marks(text: &str, marks: &[(MarkKind, u16, u16)]) -> Option<Marks> {
        Marks::checked(&body(text), marks.iter().map(|(kind, from, to)| Mark(*kind, *from, *to)).collect())
    }

    #[test]
    fn a_marked_text_is_walked_in_order() {
        use MarkKind::{Emphasis, Hidden, Strong};
        use Piece::{Close, Open, Text};
        let text = "a ***x* y** c";
        let marks = marks(
            text,
            &[
                (Strong, 2, 11),
                (Hidden, 2, 4),
                (Emphasis, 4, 7),
                (Hidden, 4, 5),
                (Hidden, 6, 7),
                (Hidden, 9, 11),
            ],
        );
        assert_eq!(
            marks.unwrap().pieces(text).collect::<Vec<_>>(),
            [
                Text("a "),
                Open(Strong, "***x* y**"),
                Open(Emphasis, "*x*"),
                Text("x"),
                Close,
                Text(" y"),
                Close,
                Text(" c")
            ]
        );
    }

    #[test]
    fn a_link_opens_with_its_address() {
        use MarkKind::{Address, Hidden, Link};
        use Piece::{Close, Open, Text};
        let text = "[a](https://b.example) https://c.example";
        let with_text = [
            (Link, 0, 22),
            (Hidden, 0, 1),
            (Hidden, 2, 4),
            (Address, 4, 21),
            (Hidden, 21, 22),
            (Link, 23, 40),
        ];
        assert_eq!(
            marks(text, &with_text).unwrap().pieces(text).collect::<Vec<_>>(),
            [
                Open(Link, "https://b.example"),
                Text("a"),
                Open(Address, "https://b.example"),
                Text("https://b.example"),
                Close,
                Close,
                Text(" "),
                Open(Link, "https://c.example"),
                Text("https://c.example"),
                Close
            ]
        );
    }

    #[test]
    fn ranges_that_do_not_fit_are_refused() {
        use MarkKind::{Emphasis, Hidden, Strong};
        for (bad, why) in [
            (vec![(Strong, 0, 8)], "out of bounds"),
            (vec![(Strong, 2, 2)], "empty"),
            (vec![(Strong, 3, 2)], "backwards"),
            (vec![(Strong, 0, 1)], "within a character"),
            (vec![(Strong, 3, 4), (Strong, 2, 3)], "not in order"),
            (vec![(Strong, 2, 3), (Strong, 2, 4)], "the inner before the outer"),
            (vec![(Strong, 0, 4), (Emphasis, 3, 5)], "crossing"),
            (vec![(Hidden, 0, 4), (Emphasis, 2, 4)], "in a hidden one"),
            (vec![(Strong, 2, 3); MARKS_LIMIT + 1], "too many"),
            (vec![(Strong, 0, 7); MARKS_DEPTH + 1], "too deep"),
        ] {
            assert_eq!(marks("é23456", &bad), None, "{why}");
        }
        let deep: Vec<_> = [(Strong, 0, 7); MARKS_DEPTH].into_iter().chain([(Hidden, 0, 2)]).collect();
        assert!(marks("é23456", &deep).is_some());
        assert!(marks("é23456", &[(Strong, 0, 3), (Emphasis, 3, 4)]).is_some());
        assert!(marks("", &[]).is_some_and(|none| none.is_empty()));
    }

    #[test]
    fn a_text_is_shown_on_one_line() {
        use MarkKind::{Address, Bullets, Code, CodeBlock, Hidden, Item, Language, Link, Spoiler};
        for (text, of, expected) in [
            ("a\n\n b\tc", vec![], "a b c"),
            ("`a`", vec![(Code, 0, 3), (Hidden, 0, 1), (Hidden, 2, 3)], "a"),
            (
                "- a\n- b",
                vec![
                    (Bullets, 0, 7),
                    (Item, 0, 4),
                    (Hidden, 0, 2),
                    (Hidden, 3, 4),
                    (Item, 4, 7),
                    (Hidden, 4, 6),
                ],
                "a b",
            ),
            ("x ||y `z`||", vec![(Spoiler, 2, 11), (Code, 6, 9)], "x …"),
            (
                "```rs\ny\n```",
                vec![(CodeBlock, 0, 11), (Hidden, 0, 3), (Language, 3, 5), (Hidden, 7, 11)],
                "y",
            ),
            (
                "[a](https://b.example)",
                vec![(Link, 0, 22), (Hidden, 0, 1), (Hidden, 2, 4), (Address, 4, 21), (Hidden, 21, 22)],
                "a",
            ),
        ] {
            assert_eq!(marks(text, &of).unwrap().first_line(text).as_str(), expected);
        }
    }

    #[test]
    fn marks_are_short_where_they_are_stored_and_sent() {
        let marks = marks("**a**", &[(MarkKind::Strong, 0, 5), (MarkKind::Hidden, 0, 2)]).unwrap();
        assert_eq!(serde_json::to_string(&marks).unwrap(), r#"[["strong",0,5],["hidden",0,2]]"#);
    }

    fn any_kind() -> impl Strategy<Value = MarkKind> {
        use MarkKind::{Address, Code, Hidden, Item, Link, Spoiler};
        prop_oneof![Just(Hidden), Just(Code), Just(Link), Just(Address), Just(Item), Just(Spoiler)]
    }

    proptest! {
        /// Marks that nobody checked: a text is walked without loss, and what is opened is closed.
        #[test]
        fn whatever_the_marks_a_text_is_walked_whole(
            text in "[aé字 \n]{0,12}", found in vec((any_kind(), 0..30_u16, 0..30_u16), 0..12), is_sorted in any::<bool>()
        ) {
            let mut found: Vec<_> = found.into_iter().map(|(kind, from, to)| Mark(kind, from, to)).collect();
            if is_sorted {
                found.sort_by_key(|Mark(_, from, to)| (*from, u16::MAX - *to));
            }
            let is_checked = Marks::checked(&body(&text), found.clone()).is_some();
            let marks = Marks(found.clone().into());
            let (mut open, mut shown, mut opened) = (0, String::new(), 0);
            for piece in marks.pieces(&text) {
                match piece {
                    Piece::Open(..) => (open, opened) = (open + 1, opened + 1),
                    Piece::Close => open -= 1,
                    Piece::Text(part) => shown.push_str(part),
                }
                prop_assert!((0..=MARKS_DEPTH).contains(&open));
            }
            prop_assert_eq!(open, 0);
            let is_hidden = |at: usize| {
                found.iter().any(|Mark(kind, from, to)| {
                    *kind == MarkKind::Hidden && (usize::from(*from)..usize::from(*to)).contains(&at)
                })
            };
            let rest: String = text.char_indices().filter(|(at, _)| !is_hidden(*at)).map(|(_, c)| c).collect();
            if is_checked {
                prop_assert_eq!(&shown, &rest);
                prop_assert_eq!(opened, found.iter().filter(|mark| mark.0 != MarkKind::Hidden).count());
            }
            // nothing is shown twice or out of order, and nothing is lost that is not hidden
            let mut left = text.chars();
            prop_assert!(shown.chars().all(|c| left.by_ref().any(|other| other == c)));
            prop_assert!(shown.chars().count() >= rest.chars().count());
            marks.first_line(&text);
        }
    }
}
