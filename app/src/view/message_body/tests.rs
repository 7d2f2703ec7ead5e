//! What is typed, and the HTML that shows it.

use super::*;

fn html_of(text: &str, marks: &Marks) -> String {
    let mut html = String::new();
    body_element(text, marks).write_html(&mut html);
    html
}

fn marks(text: &str, marks: &[(MarkKind, u16, u16)]) -> Marks {
    let body = Body::try_from(text.to_owned()).unwrap();
    let marks = marks.iter().map(|(kind, from, to)| domain::Mark(*kind, *from, *to));
    Marks::checked(&body, marks.collect()).unwrap()
}

#[test]
fn marks_become_elements_only_where_html_allows_them() {
    use MarkKind::{Item, Language, Link, Strong};
    for (text, of, expected) in [
        ("a <b>", vec![], "a &lt;b&gt;"),
        ("javascript:x", vec![(Link, 0, 12)], "javascript:x"),
        ("a b", vec![(Item, 0, 1), (Item, 2, 3)], "a b"),
        (
            "http://a http://b",
            vec![(Link, 0, 17), (Strong, 0, 8), (Link, 9, 17)],
            "<a href=\"http://a http://b\" target=\"_blank\" rel=\"noopener noreferrer nofollow ugc\">\
             <strong>http://a</strong> http://b</a>",
        ),
        ("rs", vec![(Language, 0, 2)], "rs"),
    ] {
        let expected = format!("<div class=\"body\" dir=\"auto\">{expected}</div>");
        assert_eq!(html_of(text, &marks(text, &of)), expected);
    }
}

#[test]
fn long_runs_can_be_broken() {
    let text = format!("{}{}", "क्षि".repeat(200), "字".repeat(500));
    let html = html_of(&text, &Marks::default());
    assert_eq!(html.matches("<wbr>").count(), unicode::runs(&text).len());
    assert_eq!(html.replace("<wbr>", ""), format!("<div class=\"body\" dir=\"auto\">{text}</div>"));
}

#[cfg(feature = "ssr")]
mod formatted {
    use engine::formatting;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn html(text: &str) -> String {
        let body = Body::try_from(text.to_owned()).unwrap();
        html_of(text, &formatting::marks(&body))
    }

    #[test]
    fn what_is_typed_is_shown_formatted() {
        const LINK: &str = "target=\"_blank\" rel=\"noopener noreferrer nofollow ugc\"";
        for (typed, expected) in [
            ("a **b *c*** ~~d~~", "a <strong>b <em>c</em></strong> <s>d</s>".to_owned()),
            ("`a<b`", "<code translate=\"no\">a&lt;b</code>".to_owned()),
            (
                "a\n```rs\nfn\n```",
                "a<div class=\"code\"><div class=\"code-head\"><span translate=\"no\">rs</span>\
                 <button type=\"button\" class=\"quiet copy-code needs-hydration\">Copy</button></div>\
                 <pre dir=\"ltr\"><code translate=\"no\">fn</code></pre></div>"
                    .to_owned(),
            ),
            ("> a\nb", "<blockquote dir=\"auto\">a</blockquote>b".to_owned()),
            ("- a\n- b", "<ul dir=\"auto\"><li>a</li><li>b</li></ul>".to_owned()),
            ("  1. a\n  1. b", "<ol dir=\"auto\"><li>a</li><li>b</li></ol>".to_owned()),
            ("7) a", "<ol dir=\"auto\" start=\"7\"><li>a</li></ol>".to_owned()),
            ("http://a.example", format!("<a href=\"http://a.example\" {LINK}>http://a.example</a>")),
            (
                "[a](https://b.example)",
                format!(
                    "<a href=\"https://b.example\" {LINK}>a \
                     <span class=\"address\" translate=\"no\">https://b.example</span></a>"
                ),
            ),
            (
                "||a||",
                "<span class=\"spoiler\"><input type=\"checkbox\" aria-label=\"Show spoiler\"><span>a</span></span>"
                    .to_owned(),
            ),
            ("<b>a</b>", "&lt;b&gt;a&lt;/b&gt;".to_owned()),
        ] {
            assert_eq!(html(typed), format!("<div class=\"body\" dir=\"auto\">{expected}</div>"), "{typed}");
        }
    }

    /// What a browser would read of the HTML: start tags, end tags and texts.
    fn read(html: &str) -> (Vec<&str>, String) {
        let (mut tags, mut text, mut rest) = (Vec::new(), String::new(), html);
        while let Some((before, after)) = rest.split_once('<') {
            text.push_str(before);
            let end = after.char_indices().scan(false, |is_quoted, (at, c)| {
                *is_quoted ^= c == '"';
                Some((at, c == '>' && !*is_quoted))
            });
            let end = end.filter(|(_, is_end)| *is_end).map(|(at, _)| at).next().unwrap();
            tags.push(&after[..end]);
            rest = &after[end + 1..];
        }
        assert!(rest.is_empty());
        let text =
            text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        (tags, text)
    }

    proptest! {
        /// Whatever is typed, its HTML has no element and no attribute that is not ours, each is closed in order, and no text
        /// is lost.
        #[test]
        fn any_text_is_safe(
            text in "(\\*{1,3}|_|~~|`{1,3}|\\|\\||\\[|\\]\\(|\\)|[<>\"'&;=/]|\n|> |- |1\\. |https://a\\.example|javascript:|onload=|<script>|<a href=\"|a|é| ){1,40}"
                .prop_filter("no message", |text| Body::parse(text).is_ok())
        ) {
            let body = Body::parse(&text).unwrap();
            let marks = formatting::marks(&body);
            let html = html_of(body.as_str(), &marks);
            let (tags, shown) = read(&html);
            let mut open = Vec::new();
            for tag in tags {
                if let Some(name) = tag.strip_prefix('/') {
                    prop_assert_eq!(open.pop(), Some(name));
                    continue;
                }
                let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
                prop_assert!([
                    "div", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a", "span", "input",
                    "button", "wbr"
                ].contains(&name), "{tag}");
                prop_assert!(name != "a" || !open.contains(&"a"));
                prop_assert!(name != "a" || attributes.starts_with("href=\"https://a.example"), "{tag}");
                for attribute in attributes.split("\" ").filter(|attribute| !attribute.is_empty()) {
                    let name = attribute.split('=').next().unwrap();
                    prop_assert!([
                        "class", "dir", "href", "target", "rel", "translate", "type", "aria-label", "start"
                    ].contains(&name), "{tag}");
                }
                if !["input", "wbr"].contains(&name) {
                    open.push(name);
                }
            }
            prop_assert!(open.is_empty());
            let expected: String = marks.pieces(body.as_str()).map(|piece| match piece {
                Piece::Text(text) => text,
                _ => "",
            }).collect();
            let expected = expected.replace([' ', '\n'], "");
            prop_assert_eq!(shown.replace("Copy", "").replace([' ', '\n'], ""), expected);
        }
    }
}
