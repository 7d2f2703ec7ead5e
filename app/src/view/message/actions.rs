//! The actions of a message: a bar of links, each the address of a page with the same as forms. On a live page they are
//! buttons, which `style/public/later.js` handles: "Reply" by a function of this module, the others by pieces that come later.

use domain::{ChatId, Seq};

use crate::view::{
    about_dialog::message_address,
    node::{Element, Node},
    row_link::{ROW_LINK, TAB_STOP},
};

/// An arrow back: reply.
const REPLY: &str = "M9 7l-5 5 5 5M4 12h9a7 7 0 0 1 7 7";
/// A face: react.
const REACT: &str = "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M8.5 14.5a4.5 4.5 0 0 0 7 0M9 9.5h.01M15 9.5h.01";
/// Three dots: more.
const MORE: &str = "M5 12h.01M12 12h.01M19 12h.01";

/// Returns the actions of a stored message. `is_live` is whether the page is hydrated: links that the server rendered become
/// buttons once it is.
pub(super) fn actions(chat: ChatId, message: Seq, is_live: bool) -> Element {
    let action = |label: &str, icon: &str, address: String| {
        let link = Element::new("a", vec![icon_of(icon)])
            .with("href", address)
            .with("aria-label", label)
            .with("title", label)
            .with("translate", "no");
        if is_live { link.with("role", "button").with("tabindex", "-1") } else { link }
    };
    let opens = |link: Element, piece: &str, popup: &str| {
        let link = link.with("class", ROW_LINK).with("data-later", piece).with("data-popup", popup);
        if is_live { link.with("aria-haspopup", popup) } else { link }
    };
    let reply = action("Reply", REPLY, format!("/chat/{chat}?reply={message}"))
        .with("class", format!("{ROW_LINK} {TAB_STOP}"))
        .with("data-call", "reply");
    let react = opens(action("React", REACT, format!("/chat/{chat}?react={message}")), "emoji", "dialog");
    let more = opens(action("More", MORE, message_address(chat, message)), "actions", "menu");
    Element::new("div", [reply, react, more].map(Node::Element).into())
        .with("class", "actions")
        .with("role", "group")
        .with("aria-label", "Actions")
        .with("data-seq", message.to_string())
}

fn icon_of(path: &str) -> Node {
    let path = Element::new("path", Vec::new()).with("d", path);
    let icon = Element::new("svg", vec![Node::Element(path)])
        .with("class", "icon")
        .with("viewBox", "0 0 24 24")
        .with("width", "18")
        .with("height", "18")
        .with("aria-hidden", "true");
    Node::Element(icon)
}

#[cfg(test)]
mod tests {
    use domain::id::ID_BYTES;

    use super::*;

    fn html(is_live: bool) -> String {
        let mut html = String::new();
        actions(ChatId::from_bytes([1; ID_BYTES]), Seq(58), is_live).write_html(&mut html);
        html
    }

    #[test]
    fn without_a_script_the_actions_are_links() {
        let html = html(false);
        let chat = ChatId::from_bytes([1; ID_BYTES]);
        for query in ["reply=58", "react=58", "message=58"] {
            assert!(html.contains(&format!("href=\"/chat/{chat}?{query}\"")), "{html}");
        }
        assert!(!html.contains("role=\"button\"") && !html.contains("tabindex"), "{html}");
        assert!(html.contains("data-seq=\"58\""), "{html}");
    }

    #[test]
    fn on_a_live_page_they_are_buttons_and_tab_stops_at_one_of_all_rows() {
        let html = html(true);
        assert_eq!(html.matches("role=\"button\"").count(), 3, "{html}");
        assert_eq!(html.matches("tabindex=\"-1\"").count(), 3, "{html}");
        assert_eq!(html.matches(TAB_STOP).count(), 1, "{html}");
        for popup in ["dialog", "menu"] {
            assert!(html.contains(&format!("aria-haspopup=\"{popup}\"")), "{html}");
        }
    }
}
