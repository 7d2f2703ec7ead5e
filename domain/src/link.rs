//! Addresses in what people write, to be followed at a click.

use crate::text::is_unfit_for_names;

/// A part of a text, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Anything.
    Text(&'a str),
    /// The address of a page: it begins with `http://` or `https://`, which no other scheme, and so no script, does.
    Link(&'a str),
}

/// A text in pieces that make up the whole, in order, none of them empty.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest, mut from) = (Vec::new(), text, 0);
    while let Some(found) = rest.get(from..).and_then(|tail| tail.find("http")) {
        let at = from + found;
        let starts_word = rest[..at].chars().next_back().is_none_or(|before| !before.is_ascii_alphanumeric());
        let length = if starts_word { link_length(&rest[at..]) } else { 0 };
        if length == 0 {
            from = at + "http".len();
            continue;
        }
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        pieces.push(Piece::Link(&rest[at..at + length]));
        rest = &rest[at + length..];
        from = 0;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// How many bytes at the beginning of a text are an address; 0 if it does not begin with one.
fn link_length(text: &str) -> usize {
    let Some(after) = ["http://", "https://"].into_iter().find_map(|scheme| text.strip_prefix(scheme)) else {
        return 0;
    };
    let end = after.find(ends_link).unwrap_or(after.len());
    let address = without_punctuation(&after[..end]);
    let has_host = address.chars().next().is_some_and(begins_host);
    if has_host { text.len() - after.len() + address.len() } else { 0 }
}

/// A host begins with a letter or a digit, or is a number in brackets. Beyond ASCII everything may be a letter, but for the
/// punctuation that stands where an address ends: to know better takes tables that a browser would be sent.
fn begins_host(c: char) -> bool {
    match c {
        '\0'..='\u{7f}' => c.is_ascii_alphanumeric() || c == '[',
        '\u{80}'..='\u{bf}' | '\u{2000}'..='\u{2bff}' | '\u{3000}'..='\u{303f}' => false,
        _ => true,
    }
}

/// White space and what would turn the line around is in no address; quotes and angles are how people enclose one.
fn ends_link(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_unfit_for_names(c) || matches!(c, '<' | '>' | '"' | '`')
}

/// An address without what belongs to the sentence around it: stops and commas at its end, and brackets that were
/// opened before it.
fn without_punctuation(address: &str) -> &str {
    let mut address = address;
    while let Some(last) = address.chars().next_back() {
        let belongs = match last {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '~' | '”' | '’' | '»' => false,
            ')' => is_balanced(address, '(', ')'),
            ']' => is_balanced(address, '[', ']'),
            '}' => is_balanced(address, '{', '}'),
            _ => true,
        };
        if belongs {
            break;
        }
        address = &address[..address.len() - last.len_utf8()];
    }
    address
}

fn is_balanced(text: &str, open: char, close: char) -> bool {
    text.matches(open).count() >= text.matches(close).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn links(text: &str) -> Vec<&str> {
        let link = |piece| match piece {
            Piece::Link(link) => Some(link),
            Piece::Text(_) => None,
        };
        pieces(text).into_iter().filter_map(link).collect()
    }

    #[test]
    fn an_address_ends_where_a_reader_would_say() {
        for (text, expected) in [
            ("see https://example.org/a?b=c#d.", vec!["https://example.org/a?b=c#d"]),
            ("(http://example.org/x)", vec!["http://example.org/x"]),
            ("https://en.wikipedia.org/wiki/A_(b), or", vec!["https://en.wikipedia.org/wiki/A_(b)"]),
            ("<https://a.example> and \"https://b.example\"", vec!["https://a.example", "https://b.example"]),
            ("https://مثال.example/صفحة؟", vec!["https://مثال.example/صفحة؟"]),
            ("line\nhttps://a.example\nline", vec!["https://a.example"]),
            ("http://[::1]:3000/", vec!["http://[::1]:3000/"]),
            ("見てhttps://a.example/", vec!["https://a.example/"]),
        ] {
            assert_eq!(links(text), expected, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_one_stays_text() {
        for text in [
            "javascript:alert(1)",
            "http://",
            "https://.",
            "https://…",
            "https://「」",
            "xhttps://a.example",
            "http",
            "data:text/html,http",
        ] {
            assert_eq!(pieces(text), [Piece::Text(text)]);
        }
        assert_eq!(links("https://a.example/\u{202e}gpj.exe"), ["https://a.example/"]);
        assert!(pieces("").is_empty());
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_whole(text in "(h|http://|https://a|[a(). \n<]|é|\u{202e}){0,40}") {
            let all = pieces(&text);
            let whole: String = all.iter().map(|piece| match piece { Piece::Text(text) | Piece::Link(text) => *text }).collect();
            prop_assert_eq!(&whole, &text);
            for piece in all {
                match piece {
                    Piece::Text(text) => prop_assert!(!text.is_empty()),
                    Piece::Link(link) => prop_assert!(link.starts_with("http") && !link.contains(ends_link)),
                }
            }
        }
    }
}
