//! What a message answers: one line of it above the message, which leads to it.

use domain::{ChatId, Quote, Seq};

use crate::view::node::{Element, Node};

/// The line shows the message that another one answers.
pub(super) enum Shown<'a> {
    /// It is there.
    Quote(&'a Quote),
    /// Its author is hidden by the reader.
    Hidden,
    /// It was removed or has expired.
    Gone,
}

/// Returns the line above a message that answers another one. `style/public/later.js` leads to that one by a function of
/// this module; without a script its address does.
pub(super) fn reply_line(chat: ChatId, answered: Seq, shown: &Shown<'_>) -> Element {
    let text = |text: &str| Node::Text(text.to_owned());
    let quote = match shown {
        Shown::Quote(quote) => quote,
        Shown::Hidden => return plain("In reply to someone you have hidden"),
        Shown::Gone => return plain("In reply to a message that is gone"),
    };
    let name = Element::new("strong", vec![text(quote.nickname.as_str())])
        .with("dir", "auto")
        .with("translate", "no");
    let line = match quote.line.as_str() {
        "" => "Picture",
        line => line,
    };
    let line_shown = Element::new("span", vec![text(line)]).with("dir", "auto");
    Element::new("a", vec![Node::Element(name), text(" "), Node::Element(line_shown)])
        .with("class", "in-reply")
        .with("href", format!("/chat/{chat}?at={answered}"))
        .with("aria-label", format!("In reply to {}", quote.nickname))
        // Read after the name, as a description.
        .with("title", line)
        .with("data-call", "go_to")
        .with("data-seq", answered.to_string())
}

fn plain(text: &str) -> Element {
    Element::new("p", vec![Node::Text(text.to_owned())]).with("class", "in-reply soft")
}

#[cfg(test)]
mod tests {
    use domain::{Line, Nickname, Timestamp, UserId, id::ID_BYTES};

    use super::*;

    fn html(shown: &Shown<'_>) -> String {
        let mut html = String::new();
        reply_line(ChatId::from_bytes([1; ID_BYTES]), Seq(58), shown).write_html(&mut html);
        html
    }

    fn quote(line: &str) -> Quote {
        Quote {
            author: UserId::from_bytes([2; ID_BYTES]),
            nickname: Nickname::parse("Ana \"A\"").unwrap(),
            line: Line::beginning(line),
            at: Timestamp(1),
        }
    }

    #[test]
    fn an_answer_links_to_what_it_answers_and_is_named_after_its_author() {
        let html = html(&Shown::Quote(&quote("Tea <b>at</b> five?")));
        let chat = ChatId::from_bytes([1; ID_BYTES]);
        let link = format!("<a class=\"in-reply\" href=\"/chat/{chat}?at=58\"");
        for expected in [
            link.as_str(),
            "aria-label=\"In reply to Ana &quot;A&quot;\"",
            "Tea &lt;b&gt;at&lt;/b&gt; five?</span>",
            "data-seq=\"58\"",
        ] {
            assert!(html.contains(expected), "{expected} is not in {html}");
        }
        assert!(self::html(&Shown::Quote(&quote(""))).contains(">Picture</span>"), "it has pictures alone");
    }

    #[test]
    fn what_is_gone_or_hidden_is_no_link_and_names_nobody() {
        for (shown, expected) in [(Shown::Gone, "that is gone"), (Shown::Hidden, "you have hidden")] {
            let html = html(&shown);
            assert!(html.contains(expected) && !html.contains("<a") && !html.contains("Ana"), "{html}");
        }
    }
}
