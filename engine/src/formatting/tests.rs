//! What is typed, and how it is shown.

use std::time::{Duration, Instant};

use domain::{MarkKind, link, marks::Piece, text::BODY_LIMIT, unicode::characters};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde::Deserialize;

use super::*;

fn body(text: &str) -> Body {
    Body::try_from(text.to_owned()).unwrap()
}

/// The name of a kind of mark, as it is on the wire.
fn name(kind: MarkKind) -> String {
    serde_json::to_string(&kind).unwrap().trim_matches('"').to_owned()
}

/// The marks of a text: their kinds, and their ranges in bytes.
fn ranges(text: &str) -> String {
    let mark = |mark: domain::Mark| format!("{} {}..{}", name(mark.0), mark.1, mark.2);
    marks(&body(text)).iter().map(mark).collect::<Vec<_>>().join(", ")
}

/// What is shown of a text, with the kinds of marks as elements.
fn shown(text: &str) -> String {
    let (mut shown, mut open) = (String::new(), Vec::new());
    for piece in marks(&body(text)).pieces(text) {
        match piece {
            Piece::Open(kind, _) => {
                shown += &format!("<{}>", name(kind));
                open.push(kind);
            }
            Piece::Close => shown += &format!("</{}>", name(open.pop().unwrap())),
            Piece::Text(text) => shown += text,
        }
    }
    shown
}

#[test]
fn the_examples_of_the_documentation_have_these_marks() {
    for (typed, expected) in [
        ("a **b** c", "strong 2..7, hidden 2..4, hidden 5..7"),
        ("***x***", "emphasis 0..7, hidden 0..1, strong 1..6, hidden 1..3, hidden 4..6, hidden 6..7"),
        ("`a*b*`", "code 0..6, hidden 0..1, hidden 5..6"),
        (r"\*a\*", "hidden 0..1, hidden 3..4"),
        ("# Title", ""),
        ("<b>x</b>", ""),
        ("[a](https://b.example)", "link 0..22, hidden 0..1, hidden 2..4, address 4..21, hidden 21..22"),
        ("[a](javascript:x)", ""),
        ("[a](https://b.example \"t\")", "link 4..21"),
        ("> q\nanswer", "quote 0..3, hidden 0..2, hidden 3..4"),
        ("2. a\n3. b", "numbers 0..9, item 0..5, hidden 0..3, hidden 4..5, item 5..9, hidden 5..8"),
        ("~5 or ~6", ""),
        ("```rs\n```", "code_block 0..9, hidden 0..3, language 3..5, hidden 5..9"),
    ] {
        assert_eq!(ranges(typed), expected, "{typed}");
    }
}

#[test]
fn what_is_typed_in_a_line_is_shown_formatted() {
    for (typed, expected) in [
        ("*a* _b_ __c__", "<emphasis>a</emphasis> <emphasis>b</emphasis> <strong>c</strong>"),
        ("~~a *b*~~ ~c~", "<struck>a <emphasis>b</emphasis></struck> ~c~"),
        ("snake_case_name 2*3*4", "snake_case_name 2<emphasis>3</emphasis>4"),
        ("`` a`b `` `  x  ` ` `", "<code>a`b</code> <code> x </code> ` `"),
        ("`a\nb` \\`c\\`", "<code>a\nb</code> `c`"),
        (r"a\\b a\b \", r"a\b a\b \"),
        ("one\\\ntwo  \nthree", "one\ntwo  \nthree"),
        ("&amp; <i>*x*</i>", "&amp; <i><emphasis>x</emphasis></i>"),
        ("** a ** *", "** a ** *"),
        ("字**字**字", "字<strong>字</strong>字"),
    ] {
        assert_eq!(shown(typed), expected, "{typed}");
    }
}

#[test]
fn links_show_where_they_lead() {
    for (typed, expected) in [
        ("[a](https://b.example)", "<link>a<address>https://b.example</address></link>"),
        (
            "[a **b**]( <https://b.example/x_y> )!",
            "<link>a <strong>b</strong><address>https://b.example/x_y</address></link>!",
        ),
        (r"[\[a\]](https://b.example)", "<link>[a]<address>https://b.example</address></link>"),
        ("<https://a.example/é>", "<link>https://a.example/é</link>"),
        (
            "(HTTPS://a.example), *http://b.example*.",
            "(<link>HTTPS://a.example</link>), <emphasis><link>http://b.example</link></emphasis>.",
        ),
        // what is not a whole address, or not written as it is, is shown as typed
        ("[a](https://b.example.)", "[a](<link>https://b.example</link>.)"),
        ("[a](https://b.example/?x&amp;y)", "[a](<link>https://b.example/?x&amp;y</link>)"),
        (r"[a](https://b.example/\_)", r"[a](<link>https://b.example/\_</link>)"),
        ("[a](/b) [a](data:x) <a@b.example>", "[a](/b) [a](data:x) <a@b.example>"),
        (
            "[](https://b.example) [ ](https://b.example)",
            "[](<link>https://b.example</link>) [ ](<link>https://b.example</link>)",
        ),
        ("![a](https://b.example)", "![a](<link>https://b.example</link>)"),
        ("[a]: https://b.example\n[a] [b][a]", "[a]: <link>https://b.example</link>\n[a] [b][a]"),
        ("[a](\nhttps://b.example)", "[a](\n<link>https://b.example</link>)"),
        (
            "[https://a.example](https://b.example)",
            "<link>https://a.example<address>https://b.example</address></link>",
        ),
        // no sign means anything else in an address
        ("https://a.example/*b*c_d_e", "<link>https://a.example/*b*c_d_e</link>"),
        ("*see https://a.example/*b* c", "*see <link>https://a.example/*b</link>* c"),
        ("https://a.example/**b and c**", "<link>https://a.example/**b</link> and c**"),
        (r"https://a.example/\_b||c||d", r"<link>https://a.example/\_b||c||d</link>"),
        ("<https://a.example/||b||c>", "<link>https://a.example/||b||c</link>"),
        ("`https://a.example`", "<code>https://a.example</code>"),
        ("```\nhttps://a.example\n```", "<code_block>https://a.example</code_block>"),
    ] {
        assert_eq!(shown(typed), expected, "{typed}");
    }
}

#[test]
fn blocks_have_lines_of_their_own() {
    for (typed, expected) in [
        ("a\n> q\n> r\nb", "a<quote>q\nr</quote>b"),
        ("a\n\n> q\n\n\n  b", "a<quote>q</quote>  b"),
        ("> q\n>\n> r", "<quote>q\n\nr</quote>"),
        (">q\n>> r\n> s", "<quote>q<quote>r\ns</quote></quote>"),
        ("  > a\n  > b", "<quote>a\nb</quote>"),
        ("> # T\n> ***\n> x", "<quote># T\n***\nx</quote>"),
        ("> a\n>     b", "<quote>a\n    b</quote>"),
        ("- a\n- b\n\nc", "<bullets><item>a</item><item>b</item></bullets>c"),
        ("a\n- b\n\n\n- c", "a<bullets><item>b</item><item>c</item></bullets>"),
        (
            "* a\n  1) b\n     c\n  2) d\n+ e",
            "<bullets><item>a<numbers><item>b\nc</item><item>d</item></numbers></item></bullets>\
             <bullets><item>e</item></bullets>",
        ),
        ("- a\n\n  b", "<bullets><item>a\n\nb</item></bullets>"),
        ("-\ta\n\tb", "<bullets><item>a\nb</item></bullets>"),
        ("- > a\n  > b\n- c", "<bullets><item><quote>a\nb</quote></item><item>c</item></bullets>"),
        ("> - a\n> - b\n>\n> c", "<quote><bullets><item>a</item><item>b</item></bullets>c</quote>"),
        ("```rs x\n  a\n\n*b*\n```\nc", "<code_block><language>rs x</language>  a\n\n*b*</code_block>c"),
        ("a\n~~~\nb\n~~~", "a<code_block>b</code_block>"),
        ("```\nnot closed", "<code_block>not closed</code_block>"),
        ("> ```\n> a\n>\n>  b\n> ```\n> c", "<quote><code_block>a\n\n b</code_block>c</quote>"),
        (
            "- ```\n  a\n   b\n  ```\n- c",
            "<bullets><item><code_block>a\n b</code_block></item><item>c</item></bullets>",
        ),
        ("> `a\n> b`\n> *c\n> d*", "<quote><code>a\nb</code>\n<emphasis>c\nd</emphasis></quote>"),
    ] {
        assert_eq!(shown(typed), expected, "{typed}");
    }
}

#[test]
fn what_is_not_supported_is_shown_as_typed() {
    for typed in [
        "# a",
        "a\n===",
        "a\n---\nb",
        "***",
        "    code",
        "| a | b |\n|---|---|\n| c | d |",
        "<div>\n*a*\n</div>",
        "<script>alert(1)</script>",
        "a[^1]\n\n[^1]: b",
        // they would show nothing, or something else than was meant
        ">",
        "-",
        "1.",
        "```",
        "**",
        "****",
        "- a\n-\n- b",
        "2024. was a good year",
        "a || b",
        "|| ||",
        "||||",
    ] {
        assert_eq!(shown(typed), typed);
    }
    assert_eq!(shown("999. a"), "<numbers><item>a</item></numbers>");
}

#[test]
fn spoilers_are_pairs_in_one_paragraph() {
    for (typed, expected) in [
        ("a ||b|| c", "a <spoiler>b</spoiler> c"),
        ("||a **b** `c`||", "<spoiler>a <strong>b</strong> <code>c</code></spoiler>"),
        ("**||a||**", "<strong><spoiler>a</spoiler></strong>"),
        ("||a\nb|| ||c||", "<spoiler>a\nb</spoiler> <spoiler>c</spoiler>"),
        ("||a **b|| c**", "||a <strong>b|| c</strong>"),
        ("||a\n\nb||", "||a\n\nb||"),
        ("- ||a\n  > b\n\n  c||", "<bullets><item>||a<quote>b</quote>c||</item></bullets>"),
        ("`||a||`", "<code>||a||</code>"),
        (r"\||a|| b||", "||a<spoiler> b</spoiler>"),
        ("> ||a\n> b||", "<quote><spoiler>a\nb</spoiler></quote>"),
        ("||https://a.example||", "<spoiler><link>https://a.example</link></spoiler>"),
    ] {
        assert_eq!(shown(typed), expected, "{typed}");
    }
}

#[test]
fn what_is_beyond_the_limits_is_shown_as_typed() {
    let many = format!("**a** {}", "*b* ".repeat(300));
    assert!(shown(&many).starts_with("<strong>a</strong> <emphasis>b</emphasis> "));
    assert!(shown(&many).ends_with(" *b* *b* "));
    let links = "https://a.example [b](https://b.example) ".repeat(30);
    assert_eq!(shown(&links).matches("<link>").count(), link::LINKS_LIMIT);
    assert!(shown(&links).ends_with(" https://a.example [b](https://b.example) "));
    let quotes = format!("{}a", "> ".repeat(12));
    assert_eq!(shown(&quotes), format!("{}> > > > a{}", "<quote>".repeat(8), "</quote>".repeat(8)));
    // a list is not cut in half
    let list = "- a\n".repeat(300);
    assert_eq!(shown(list.trim_end()), list.trim_end());
    let deep = format!("{}- a", "> ".repeat(7));
    assert_eq!(shown(&deep), format!("{}- a{}", "<quote>".repeat(7), "</quote>".repeat(7)));
    // too many signs to be parsed
    let signs = format!("{}**a** https://a.example", "_ ".repeat(SIGNS_LIMIT));
    assert!(shown(&signs).ends_with("**a** <link>https://a.example</link>"));
}

/// Pieces of text that mean something, in any order.
fn any_text() -> impl Strategy<Value = String> {
    const PIECES: [&str; 60] = [
        "*",
        "**",
        "***",
        "_",
        "__",
        "~~",
        "~",
        "`",
        "``",
        "```",
        "~~~",
        "||",
        "|",
        "[",
        "](",
        ")",
        "]",
        "(",
        "<",
        ">",
        "!",
        "\\",
        "&amp;",
        "> ",
        ">> ",
        "- ",
        "+ ",
        "* ",
        "1. ",
        "2) ",
        "- - ",
        "# ",
        "---\n",
        "\n",
        "\n\n",
        "\n> ",
        "\n- ",
        "\n  ",
        "\n    ",
        "\n```\n",
        "```rs\n",
        "\t",
        " ",
        "  \n",
        "\\\n",
        "a",
        "b",
        "é",
        "字",
        "👍🏽",
        "\u{301}",
        "https://a.example",
        "http://b.example/x_y_z",
        "](https://c.example)",
        "<https://d.example>",
        "javascript:x",
        "[a]: https://e.example\n",
        "<b>",
        "\n<div>\n",
        "\n1. ",
    ];
    proptest::collection::vec(proptest::sample::select(&PIECES[..]), 1..40).prop_map(|pieces| pieces.concat())
}

fn any_body() -> impl Strategy<Value = Body> {
    let text = prop_oneof![4 => any_text(), 1 => any::<String>()];
    text.prop_filter_map("no message", |text| Body::parse(&text).ok())
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

    /// Whatever is typed, its signs alone are hidden, and what is shown is in order.
    #[test]
    fn any_text_survives(body in any_body()) {
        let text = body.as_str();
        let parts = if may_be_formatted(text) { parts(text) } else { Vec::new() };
        prop_assert!(checked(&body, parts, &[]).is_some(), "the parts of {text:?} do not fit together");
        let marks = marks(&body);
        let mut at = 0;
        for mark in marks.iter().filter(|mark| mark.0 == MarkKind::Hidden) {
            let hidden = &text[usize::from(mark.1)..usize::from(mark.2)];
            let is_sign = |c: char| " \t\n*_~`>|[]()<\\-+.".contains(c) || c.is_ascii_digit();
            prop_assert!(hidden.chars().all(is_sign), "{hidden:?} of {text:?}");
            prop_assert!(!hidden.contains(|c: char| c.is_ascii_digit()) || hidden.contains(['.', ')']));
            prop_assert!(usize::from(mark.1) >= at, "hidden twice in {text:?}");
            at = mark.2.into();
        }
        let is_hidden = |at: usize| marks.iter().any(|mark| {
            mark.0 == MarkKind::Hidden && (usize::from(mark.1)..usize::from(mark.2)).contains(&at)
        });
        let rest: String = text.char_indices().filter(|(at, _)| !is_hidden(*at)).map(|(_, c)| c).collect();
        let mut all = String::new();
        for piece in marks.pieces(text) {
            match piece {
                Piece::Text(text) => all.push_str(text),
                Piece::Open(MarkKind::Link, address) => {
                    prop_assert!(link::is_address(address) && text.contains(address), "{address:?} of {text:?}");
                }
                _ => {}
            }
        }
        prop_assert_eq!(all, rest);
        let lists = marks.iter().filter(|mark| matches!(mark.0, MarkKind::Bullets | MarkKind::Numbers)).count();
        let items = marks.iter().filter(|mark| mark.0 == MarkKind::Item).count();
        prop_assert!(lists <= items);
    }

    /// What has no signs is shown as it is.
    #[test]
    fn a_plain_text_has_no_marks(text in "[a-zé字 ,.!?\n]{1,60}") {
        if let Ok(body) = Body::parse(&text) {
            prop_assert!(marks(&body).is_empty());
        }
    }
}

/// Texts for which parsers are known to need time that is not linear in their length.
fn hostile_texts() -> Vec<String> {
    let fill = |piece: &str| piece.repeat(BODY_LIMIT / characters(piece));
    let around = |begin: &str, end: &str| {
        let half = BODY_LIMIT / 2;
        begin.repeat(half / begin.len()) + &end.repeat(half / end.len())
    };
    let growing = (1..80).map(|many| format!("{}a", "`".repeat(many))).collect::<String>();
    let mut texts: Vec<String> = [
        "[](",
        "[",
        "]",
        "![",
        "[a](",
        "[a](<",
        "[a](b",
        "](",
        "> ",
        ">",
        "*a_",
        "_a*",
        "*a ",
        "a*",
        "**a_ ",
        "*a **b ",
        "~~a",
        "~~a ~b",
        "`",
        "` ",
        "``a`",
        "<",
        "<a",
        "<a ",
        "a<?",
        "<!--",
        "a<!A ",
        "<![CDATA[",
        "</",
        "<https://a",
        "https://a.example/(",
        "https://",
        "[x]: y\n",
        "[x]: (",
        "[a][",
        "[a]",
        "\\",
        "\\\\`",
        "- ",
        "1. ",
        "* * ",
        "- a\n",
        " - a\n",
        ">- ",
        "> - a\n",
        "\n",
        "\n\n",
        "a\n\n",
        "```\n",
        "~~~\n> ",
        "    a\n",
        "||",
        "|",
        "||a",
        "|a|\n|-|\n",
        "# ",
        "a\n=\n",
        "&",
        "&#1;",
        "*\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
        "_字",
        "\t",
        "-\t",
        "\u{a0}*",
        "[a](https://b.example) ",
        "**https://a.example/**b ",
        "*a* ",
        "> a\nb\n",
        "\"a'",
        "(",
        "{",
        "a--- ",
    ]
    .iter()
    .map(|piece| fill(piece))
    .collect();
    texts.extend([
        around("[", "]"),
        around("*a ", " b*"),
        around("**a ", " b**"),
        around("> ", "a\n"),
        around("- ", "a\n"),
        around("[a](", ")"),
        around("~~a ", "~~"),
        around("||a ", "||"),
        growing,
        (1..80).map(|many| format!("{}a\n", "> ".repeat(many % 40))).collect(),
        (0..80).map(|many| format!("{}- a\n", " ".repeat(many))).collect(),
        (0..400).map(|many| format!("{many}. a\n")).collect(),
        format!("[a]: https://b.example\n{}", "[a]".repeat(1_000)),
        format!("[{}]: b\n{}", "a".repeat(500), format!("[{}]", "a".repeat(500)).repeat(6)),
    ]);
    texts
}

/// How long the marks of a text may take to be found, in a build that is not optimised, on a machine with other work.
const TIME_LIMIT: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 20 });

#[test]
fn hostile_texts_take_no_longer_than_others() {
    for text in hostile_texts() {
        // as it is, and cut to what is still parsed
        let is_sign = |c: char| "`[<*_~>|\\\n".contains(c);
        let mut signs = 0;
        let cut = text.find(|c| {
            signs += usize::from(is_sign(c));
            signs > SIGNS_LIMIT
        });
        for text in [text.as_str(), &text[..cut.unwrap_or(text.len())]] {
            let Ok(body) = Body::parse(text) else { continue };
            // the fastest of three, since others use the machine as well
            let time = (0..3).map(|_| {
                let begin = Instant::now();
                marks(&body);
                begin.elapsed()
            });
            let time = time.min().unwrap();
            let begin: String = text.chars().take(40).collect();
            assert!(time < TIME_LIMIT, "{time:?} for {begin:?}");
        }
    }
}

/// An example of the specification of CommonMark.
#[derive(Deserialize)]
struct Example {
    markdown: String,
    html: String,
    example: usize,
}

/// The examples that are shown differently, and why.
const DIFFERENT: [(&str, &[usize]); 9] = [
    (
        "code by indentation is shown as typed",
        &[
            1, 2, 3, 5, 6, 7, 8, 18, 36, 48, 69, 107, 110, 111, 112, 114, 116, 117, 118, 134, 211, 225, 231,
            236, 252, 253, 254, 257, 264, 270, 271, 272, 273, 274, 278, 286, 287, 288, 289, 290, 313,
        ],
    ),
    ("a line without its sign is no part of a quote", &[93, 233, 237, 238, 247, 250, 292]),
    ("entities stay as typed", &[25, 26, 27, 34, 37, 38, 39, 40, 41]),
    ("and so do escapes in the language of code", &[24]),
    ("references, and what they refer to, are shown as typed", &[207, 208, 210, 317, 537, 545, 563, 592]),
    (
        "what would show nothing is shown as typed",
        &[126, 129, 130, 138, 239, 240, 280, 281, 282, 283, 284, 315, 334],
    ),
    ("longer numbers are no numbers of lists", &[265]),
    (
        "an address is as typed, and ends where it does in any text",
        &[20, 603, 346, 480, 526, 538, 600, 602, 608],
    ),
    ("addresses are links without brackets as well", &[611]),
];

#[test]
fn the_examples_of_commonmark_are_shown_as_it_says() {
    let examples: Vec<Example> =
        serde_json::from_str(include_str!("../../tests/fixtures/commonmark.json")).unwrap();
    assert_eq!(examples.len(), 652);
    let (mut equal, mut wrong) = (0, Vec::new());
    for Example { markdown, html, example } in examples {
        let Some(expected) = tokens_of(&html) else { continue };
        let Ok(body) = Body::parse(&markdown) else { continue };
        let found = tokens(&body);
        let is_different = DIFFERENT.iter().any(|(_, examples)| examples.contains(&example));
        equal += usize::from(found == expected);
        if (found == expected) == is_different {
            println!("{example} {markdown:?}\n    {found:?}\n    {expected:?}");
            wrong.push(example);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(equal > 300, "only {equal} examples have marks");
}

/// Elements and texts. White space that has no meaning in HTML is reduced.
#[derive(Default)]
struct Tokens {
    done: Vec<String>,
    text: String,
    is_code: bool,
}

impl Tokens {
    fn text(&mut self, text: &str) {
        if self.is_code {
            self.text.push_str(&text.replace(' ', "·").replace('\n', "↵"));
        } else {
            self.text.push_str(text);
        }
    }

    fn tag(&mut self, tag: &str) {
        let is_block = |tag: &str| {
            [
                "<p",
                "<blockquote",
                "<ul",
                "<ol",
                "<li",
                "<pre",
                "</p",
                "</blockquote",
                "</ul",
                "</ol",
                "</li",
                "</pre",
            ]
            .iter()
            .any(|block| tag.starts_with(block))
        };
        self.is_code = tag.starts_with("<pre") || (self.is_code && !tag.starts_with("</pre"));
        let begins_line = self.done.last().is_none_or(|last| is_block(last));
        let mut text = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.text.starts_with(char::is_whitespace) && !begins_line && !text.is_empty() {
            text.insert(0, ' ');
        }
        if self.text.ends_with(char::is_whitespace) && !is_block(tag) && !(text.is_empty() && begins_line) {
            text.push(' ');
        }
        let text = text.trim_end_matches('↵');
        if !text.is_empty() {
            self.done.push(text.to_owned());
        }
        self.text.clear();
        if !tag.is_empty() {
            self.done.push(tag.to_owned());
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.tag("</p>");
        self.done.pop();
        self.done
    }
}

/// Reads the HTML of an example. `None` if it has anything that messages do not have.
fn tokens_of(html: &str) -> Option<Vec<String>> {
    let mut tokens = Tokens::default();
    let decode = |text: &str| {
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
    };
    let mut rest = html;
    while let Some((text, (tag, after))) =
        rest.split_once('<').and_then(|(text, tag)| Some((text, tag.split_once('>')?)))
    {
        tokens.text(&decode(text));
        rest = after;
        match tag {
            "br /" => {}
            // a paragraph ends a line
            "p" | "/p" => tokens.text("\n"),
            "pre" => {
                let (code, after) = rest.split_once('>')?;
                let language =
                    code.strip_prefix("<code class=\"language-").map(|code| code.trim_end_matches('"'));
                tokens.tag(&format!("<pre {}>", decode(language.unwrap_or_default())));
                rest = after;
            }
            "/code" if tokens.is_code => {}
            "em" | "/em" | "strong" | "/strong" | "code" | "/code" | "/pre" | "blockquote"
            | "/blockquote" | "ul" | "/ul" | "ol" | "/ol" | "li" | "/li" | "/a" => {
                tokens.tag(&format!("<{tag}>"));
            }
            _ if tag.starts_with("ol start=") => tokens.tag("<ol>"),
            _ => {
                let address = tag
                    .strip_prefix("a href=\"")?
                    .strip_suffix('"')
                    .filter(|address| address.starts_with("http"))?;
                tokens.tag(&format!("<a {}>", decode(address)));
            }
        }
    }
    tokens.text(&decode(rest));
    Some(tokens.finish())
}

/// What is shown of a text, in the form of [`tokens_of`].
fn tokens(body: &Body) -> Vec<String> {
    let (mut tokens, mut open) = (Tokens::default(), Vec::new());
    let mut pieces = marks(body).pieces(body.as_str()).collect::<Vec<_>>().into_iter().peekable();
    while let Some(piece) = pieces.next() {
        let tag = |kind| match kind {
            MarkKind::Strong => "strong",
            MarkKind::Emphasis => "em",
            MarkKind::Code => "code",
            MarkKind::CodeBlock => "pre",
            MarkKind::Quote => "blockquote",
            MarkKind::Bullets => "ul",
            MarkKind::Numbers => "ol",
            MarkKind::Item => "li",
            MarkKind::Link => "a",
            MarkKind::Struck => "s",
            _ => "other",
        };
        match piece {
            Piece::Open(MarkKind::Link, address) => {
                tokens.tag(&format!("<a {address}>"));
                open.push(MarkKind::Link);
            }
            Piece::Open(MarkKind::CodeBlock, _) => {
                let mut language = "";
                if let Some(Piece::Open(MarkKind::Language, of)) = pieces.peek() {
                    language = of.split_whitespace().next().unwrap();
                    pieces.nth(2);
                }
                tokens.tag(&format!("<pre {language}>"));
                open.push(MarkKind::CodeBlock);
            }
            Piece::Open(MarkKind::Address, _) => drop(pieces.nth(1)),
            Piece::Open(kind, _) => {
                tokens.tag(&format!("<{}>", tag(kind)));
                open.push(kind);
            }
            Piece::Close => tokens.tag(&format!("</{}>", tag(open.pop().unwrap()))),
            Piece::Text(text) => tokens.text(text),
        }
    }
    tokens.finish()
}
