//! Finds the addresses in a text that become links. Where an address ends is decided as in Unicode (UTS 58, Unicode
//! Link Detection and Formatting): by the role of its characters, in all scripts. Where a script is written without
//! spaces, its punctuation ends an address as a space does.

use crate::{Body, Mark, MarkKind, Marks};

/// The maximum number of links in one text. Further addresses stay text, since each link is an element of the page of
/// every reader.
pub const LINKS_LIMIT: usize = 50;

/// A part of a text, unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Text that is not a link.
    Text(&'a str),
    /// The address of a web page. It begins with `http://` or `https://`, in any case; other schemes, and with them
    /// scripts, are excluded.
    Link(&'a str),
}

/// Splits a text into segments, in order, without loss and none of them empty; at most [`LINKS_LIMIT`] are links.
pub fn linkify(text: &str) -> Vec<Segment<'_>> {
    let (mut segments, mut rest, mut from, mut links) = (Vec::new(), text, 0, 0);
    while links < LINKS_LIMIT
        && let Some(found) = rest.get(from..).and_then(|rest_of_text| rest_of_text.find(['h', 'H']))
    {
        let at = from + found;
        let length = address_length(&rest[at..], rest[..at].chars().next_back());
        if length == 0 {
            from = at + 1;
            continue;
        }
        if at > 0 {
            segments.push(Segment::Text(&rest[..at]));
        }
        segments.push(Segment::Link(&rest[at..at + length]));
        rest = &rest[at + length..];
        from = 0;
        links += 1;
    }
    if !rest.is_empty() {
        segments.push(Segment::Text(rest));
    }
    segments
}

/// Returns the marks of a text of which only the addresses are links, and nothing else is formatted.
pub fn marks(body: &Body) -> Marks {
    let (mut links, mut at) = (Vec::new(), 0);
    for segment in linkify(body.as_str()) {
        let (Segment::Text(text) | Segment::Link(text)) = segment;
        let end = at + text.len();
        if let (Segment::Link(_), Ok(from), Ok(to)) = (segment, at.try_into(), end.try_into()) {
            links.push(Mark(MarkKind::Link, from, to));
        }
        at = end;
    }
    Marks::checked(body, links).unwrap_or_default()
}

/// Whether a text is the address of a web page, and nothing else.
pub fn is_address(text: &str) -> bool {
    !text.is_empty() && address_length(text, None) == text.len()
}

/// Returns the length in bytes of the address at the beginning of `text`, or 0 if there is none. `before` is the
/// character before it.
fn address_length(text: &str, before: Option<char>) -> usize {
    let scheme = scheme_length(text);
    let address = &text[scheme..];
    if scheme == 0 || before.is_some_and(|c| c.is_ascii_alphanumeric()) || !address.starts_with(begins_host) {
        return 0;
    }
    let mut opened = Vec::new();
    let (mut end, mut last) = (0, None);
    for (at, c) in address.char_indices() {
        let next = at + c.len_utf8();
        match c {
            '(' | '[' | '{' => opened.push(c),
            // a bracket that was opened before the address closes after it
            ')' if opened.pop() != Some('(') => break,
            ']' if opened.pop() != Some('[') => break,
            '}' if opened.pop() != Some('{') => break,
            // Chinese doubles its dash and its ellipsis
            '—' | '…' if last == Some(c) => break,
            _ if ends_address(c) => break,
            _ if ends_sentence(c) => {
                if scheme_length(&address[next..]) != 0 {
                    break;
                }
            }
            // emphasis: _https://a.example_
            '_' if before == Some('_') => {}
            _ => end = next,
        }
        last = Some(c);
    }
    if end == 0 { 0 } else { scheme + end }
}

/// Returns the length in bytes of the scheme at the beginning of a text, or 0 if there is none.
fn scheme_length(text: &str) -> usize {
    let begins = |scheme: &&str| {
        text.as_bytes().get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    ["https://", "http://"].iter().find(|scheme| begins(scheme)).map_or(0, |scheme| scheme.len())
}

/// Whether a host can begin with this character: a letter, a digit, or the bracket of an IPv6 address. Beyond ASCII
/// anything counts as a letter, except punctuation and what ends an address: more precise tables would add to what the
/// browser downloads.
fn begins_host(c: char) -> bool {
    match c {
        '\0'..='\u{7f}' => c.is_ascii_alphanumeric() || c == '[',
        '\u{80}'..='\u{bf}' | '\u{2000}'..='\u{2bff}' | '\u{3000}'..='\u{303f}' => false,
        _ => !ends_address(c) && !ends_sentence(c),
    }
}

/// Whether a character is never part of an address: white space, controls and bidirectional marks; quotes and angle
/// brackets, with which people enclose addresses; and beyond ASCII all brackets, double quotes, and the punctuation of
/// scripts written without spaces.
fn ends_address(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c,
            '<' | '>' | '"' | '`'
            // invisible or bidirectional
            | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // quotes and brackets
            | '\u{ab}' | '\u{bb}' | '\u{f3a}'..='\u{f3d}' | '\u{169b}' | '\u{169c}' | '\u{201a}' | '\u{201c}'..='\u{201f}'
            | '\u{2039}' | '\u{203a}' | '\u{2045}' | '\u{2046}' | '\u{207d}' | '\u{207e}' | '\u{208d}' | '\u{208e}'
            | '\u{2308}'..='\u{230b}' | '\u{2329}' | '\u{232a}' | '\u{2768}'..='\u{2775}' | '\u{27c5}' | '\u{27c6}'
            | '\u{27e6}'..='\u{27ef}' | '\u{2983}'..='\u{2998}' | '\u{29d8}'..='\u{29db}' | '\u{29fc}' | '\u{29fd}'
            | '\u{2e22}'..='\u{2e29}' | '\u{2e42}' | '\u{2e55}'..='\u{2e5c}' | '\u{2e62}' | '\u{2e63}' | '\u{fd3e}' | '\u{fd3f}'
            // Chinese and Japanese
            | '\u{3001}' | '\u{3002}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301b}' | '\u{301d}'..='\u{301f}'
            | '\u{fe10}'..='\u{fe19}' | '\u{fe35}'..='\u{fe44}' | '\u{fe47}' | '\u{fe48}' | '\u{fe50}'..='\u{fe52}'
            | '\u{fe54}'..='\u{fe57}' | '\u{fe59}'..='\u{fe5e}' | '\u{ff01}' | '\u{ff02}' | '\u{ff07}'..='\u{ff09}'
            | '\u{ff0c}' | '\u{ff0e}' | '\u{ff1a}' | '\u{ff1b}' | '\u{ff1f}' | '\u{ff3b}' | '\u{ff3d}' | '\u{ff5b}'
            | '\u{ff5d}' | '\u{ff5f}'..='\u{ff64}')
}

/// Whether a character may be within an address, but at its end belongs to the sentence around it, or separates it from
/// another address that follows immediately.
fn ends_sentence(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '~' | '|' | '‘' | '’' | '‛' | '—' | '―' | '…'
    ) || (c > '\u{7f}' && is_terminal(c))
}

/// Whether a character is in [`TERMINAL`].
fn is_terminal(c: char) -> bool {
    let c = u32::from(c);
    let after = TERMINAL.partition_point(|run| run >> 8 <= c);
    after.checked_sub(1).is_some_and(|at| c - (TERMINAL[at] >> 8) < TERMINAL[at] & 0xff)
}

/// Unicode's property Terminal_Punctuation (18.0), except for ASCII and for what always ends an address: the first code
/// point of each run, times 256, plus the length of the run.
#[rustfmt::skip]
#[expect(clippy::unusual_byte_groupings, reason = "two numbers in one: where a run begins, and its length")]
static TERMINAL: [u32; 100] = [
    0x0037e_01, 0x00387_01, 0x00589_01, 0x005c3_01, 0x0060c_01, 0x0061b_01, 0x0061d_03, 0x006d4_01, 0x00700_0b,
    0x0070c_01, 0x007f8_02, 0x00830_06, 0x00837_08, 0x0085e_01, 0x00964_02, 0x00e5a_02, 0x00f08_01, 0x00f0d_06,
    0x0104a_02, 0x01361_08, 0x0166e_01, 0x016eb_03, 0x01735_02, 0x017d4_03, 0x017da_01, 0x01802_04, 0x01808_02,
    0x01944_02, 0x01aa8_04, 0x01b4e_02, 0x01b5a_02, 0x01b5d_03, 0x01b7d_03, 0x01c3b_05, 0x01c7e_02, 0x02024_01,
    0x0203c_02, 0x02047_03, 0x02cf9_03, 0x02e2e_01, 0x02e3c_01, 0x02e41_01, 0x02e4c_01, 0x02e4e_02, 0x02e53_02, 0x02e60_02,
    0x0a4fe_02, 0x0a60d_03, 0x0a6f3_05, 0x0a876_02, 0x0a8ce_02, 0x0a92f_01, 0x0a9c7_03, 0x0aa5d_03, 0x0aadf_01,
    0x0aaf0_02, 0x0abeb_01, 0x1039f_01, 0x103d0_01, 0x10857_01, 0x1091f_01, 0x10a56_02, 0x10af0_06, 0x10b3a_06,
    0x10b99_04, 0x10f55_05, 0x10f86_04, 0x11047_07, 0x110be_04, 0x11141_03, 0x111c5_02, 0x111cd_01, 0x111de_02,
    0x11238_05, 0x112a9_01, 0x113d4_02, 0x1144b_03, 0x1145a_02, 0x115c2_04, 0x115c9_0f, 0x11641_02, 0x1173c_03,
    0x11944_01, 0x11946_01, 0x11a42_02, 0x11a9b_02, 0x11aa1_02, 0x11c41_03, 0x11c71_01, 0x11ef7_02, 0x11f43_02,
    0x12470_05, 0x16a6e_02, 0x16af5_01, 0x16b37_03, 0x16b44_01, 0x16d6e_02, 0x16e97_02, 0x1bc9f_01, 0x1da87_04,
];

#[cfg(test)]
mod tests {
    use icu_properties::{
        CodePointMapData, CodePointSetData,
        props::{GeneralCategory, QuotationMark, TerminalPunctuation},
    };
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn links(text: &str) -> Vec<&str> {
        let link = |segment| match segment {
            Segment::Link(link) => Some(link),
            Segment::Text(_) => None,
        };
        linkify(text).into_iter().filter_map(link).collect()
    }

    #[test]
    fn an_address_ends_where_a_reader_would_say() {
        for (text, expected) in [
            ("see https://example.org/a?b=c#d.", vec!["https://example.org/a?b=c#d"]),
            ("(http://example.org/x)", vec!["http://example.org/x"]),
            ("https://en.wikipedia.org/wiki/A_(b), or", vec!["https://en.wikipedia.org/wiki/A_(b)"]),
            ("(https://a.example/x)y", vec!["https://a.example/x"]),
            ("[a](https://a.example/b_[c]_(d))", vec!["https://a.example/b_[c]_(d)"]),
            ("<https://a.example> and \"https://b.example\"", vec!["https://a.example", "https://b.example"]),
            ("'https://a.example', *https://b.example*", vec!["https://a.example", "https://b.example"]),
            ("line\nhttps://a.example\nline", vec!["https://a.example"]),
            ("http://[::1]:3000/", vec!["http://[::1]:3000/"]),
            ("https://a.example/wiki/Rings_ and", vec!["https://a.example/wiki/Rings_"]),
            ("_https://a.example/b_c_", vec!["https://a.example/b_c"]),
            ("https://a.example/it’s—or not…", vec!["https://a.example/it’s—or"]),
        ] {
            assert_eq!(links(text), expected, "{text}");
        }
    }

    #[test]
    fn the_sentence_of_any_script_goes_on_after_an_address() {
        for (text, expected) in [
            ("https://a.example/x，后面", "https://a.example/x"),
            ("（https://a.example/docs）", "https://a.example/docs"),
            ("https://a.example。", "https://a.example"),
            ("「https://a.example」", "https://a.example"),
            ("“https://a.example/x”是", "https://a.example/x"),
            ("看https://a.example/x（备用）", "https://a.example/x"),
            ("https://a.example/x——后面", "https://a.example/x"),
            ("https://a.example/x……后面", "https://a.example/x"),
            ("https://a.example/x｡", "https://a.example/x"),
            ("見てhttps://a.example/ﾚｵﾅﾙﾄﾞ・ダ、", "https://a.example/ﾚｵﾅﾙﾄﾞ・ダ"),
            ("https://مثال.example/صفحة؟", "https://مثال.example/صفحة"),
            ("https://a.example/पृष्ठ। आगे", "https://a.example/पृष्ठ"),
            ("https://a.example/x։ ", "https://a.example/x"),
            ("https://a.example/x။", "https://a.example/x"),
            ("«https://a.example/x», „https://a.example/x“", "https://a.example/x"),
            ("⟨https://a.example/x⟩", "https://a.example/x"),
        ] {
            assert_eq!(links(text).first(), Some(&expected), "{text}");
            assert!(links(text).iter().all(|link| *link == expected), "{text}");
        }
    }

    #[test]
    fn schemes_and_hosts_are_the_same_in_capitals() {
        for link in ["Https://a.example", "HTTP://A.EXAMPLE", "hTTps://A.example/B"] {
            assert_eq!(links(&format!("hh {link}. Hm")), [link]);
        }
    }

    #[test]
    fn addresses_that_follow_at_once_are_one_each() {
        for between in [",", ";", "|", "...", "、"] {
            assert_eq!(
                links(&format!("https://a.example/x{between}Https://b.example/y")),
                ["https://a.example/x", "Https://b.example/y"]
            );
        }
        for link in ["https://web.example/2020/https://a.example/", "https://a.example/?to=http://b.example"]
        {
            assert_eq!(links(link), [link]);
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
            "https://[",
            "xhttps://a.example",
            "http",
            "data:text/html,http",
        ] {
            assert_eq!(linkify(text), [Segment::Text(text)]);
            assert!(!is_address(text));
        }
        assert!(is_address("https://a.example/b") && !is_address("https://a.example.") && !is_address(""));
        assert_eq!(links("https://a.example/\u{202e}gpj.exe"), ["https://a.example/"]);
        assert!(linkify("").is_empty());
    }

    #[test]
    fn addresses_alone_are_marked() {
        let text = "é https://a.example, *b* http://c.example";
        let body = Body::parse(text).unwrap();
        let marks: Vec<_> = marks(&body).iter().collect();
        assert_eq!(marks, [Mark(MarkKind::Link, 3, 20), Mark(MarkKind::Link, 26, 42)]);
    }

    #[test]
    fn links_are_bounded() {
        let text = "https://a ".repeat(LINKS_LIMIT + 1);
        assert_eq!(links(&text).len(), LINKS_LIMIT);
        assert_eq!(linkify(&text).last(), Some(&Segment::Text(" https://a ")));
    }

    #[test]
    fn the_tables_are_those_of_unicode() {
        let categories = CodePointMapData::<GeneralCategory>::new();
        let terminal = CodePointSetData::new::<TerminalPunctuation>();
        let quotes = CodePointSetData::new::<QuotationMark>();
        for c in ('\u{80}'..=char::MAX).filter(|c| !c.is_control() && !c.is_whitespace()) {
            let is_bracket = matches!(
                categories.get(c),
                GeneralCategory::OpenPunctuation | GeneralCategory::ClosePunctuation
            );
            let code = u32::from(c);
            assert!(!is_bracket || ends_address(c), "U+{code:04X} is a bracket");
            assert!(!quotes.contains(c) || ends_address(c) || ends_sentence(c), "U+{code:04X} is a quote");
            assert_eq!(
                is_terminal(c) || ends_address(c),
                terminal.contains(c) || ends_address(c),
                "U+{code:04X}"
            );
            assert!(
                !ends_address(c)
                    || matches!(
                        categories.get(c),
                        GeneralCategory::OpenPunctuation
                            | GeneralCategory::ClosePunctuation
                            | GeneralCategory::InitialPunctuation
                            | GeneralCategory::FinalPunctuation
                            | GeneralCategory::OtherPunctuation
                            | GeneralCategory::Format
                            | GeneralCategory::Unassigned
                    ),
                "U+{code:04X} is no punctuation"
            );
        }
    }

    proptest! {
        #[test]
        fn the_segments_make_up_the_whole_text(
            text in "(h|HTTP://|https://a|(https://a[,_]){1,60}|[a()\\[\\]{}._, \n<]|é|、|।|（|\u{202e}){0,40}"
        ) {
            let all = linkify(&text);
            let whole: String = all.iter().map(|segment| match segment { Segment::Text(text) | Segment::Link(text) => *text }).collect();
            prop_assert_eq!(&whole, &text);
            prop_assert!(links(&text).len() <= LINKS_LIMIT);
            for segment in all {
                match segment {
                    Segment::Text(text) => prop_assert!(!text.is_empty()),
                    Segment::Link(link) => {
                        prop_assert!(scheme_length(link) > 0 && !link.contains(ends_address));
                        prop_assert!(!link.ends_with(ends_sentence));
                        // it is a link by itself as well
                        prop_assert_eq!(linkify(link), [Segment::Link(link)]);
                    }
                }
            }
        }
    }
}
