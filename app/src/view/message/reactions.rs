//! The reactions to a message: a button for each emoji. On a live page `style/public/later/actions.js` handles them; without a
//! script they are the buttons of a form.

use domain::{ChatId, EmojiCount, Seq, UserId};
use leptos::{prelude::*, server_fn::ServerFn};

use super::line::Line;
use crate::{
    api::React,
    live::LiveChat,
    view::{
        node::{Element, Node, StaticView},
        reactive_view::{ReactiveView, reactive_view},
    },
};

/// The reactions with one emoji, as one reader sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownReaction {
    /// The emoji.
    pub emoji: String,
    /// How many users have reacted with it, the reader among them.
    pub count: u32,
    /// Whether the reader has.
    pub is_mine: bool,
    /// The nicknames of some of the others, the newest first.
    pub others: Vec<String>,
}

impl ShownReaction {
    /// Returns what a reader sees of a count. Users whom the reader has hidden are counted and not named.
    pub fn of(count: &EmojiCount, me: UserId, hidden: &[UserId]) -> Self {
        let is_named = |user: UserId| user != me && !hidden.contains(&user);
        let others = count.people.iter().filter(|user| is_named(user.id));
        Self {
            emoji: count.emoji.as_str().to_owned(),
            count: count.count,
            is_mine: count.is_mine,
            others: others.map(|user| user.nickname.to_string()).collect(),
        }
    }

    /// Returns who has reacted, in words.
    fn who(&self) -> String {
        let mut named: Vec<&str> = self.is_mine.then_some("You").into_iter().collect();
        named.extend(self.others.iter().map(String::as_str));
        let unnamed = (self.count as usize).saturating_sub(named.len());
        let more = match unnamed {
            0 => None,
            1 if named.is_empty() => Some("One person".to_owned()),
            1 => Some("one other".to_owned()),
            _ if named.is_empty() => Some(format!("{unnamed} people")),
            _ => Some(format!("{unnamed} others")),
        };
        named.extend(more.as_deref());
        match named.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
            None => String::new(),
        }
    }
}

/// Shows the reactions to the message of a line, and their changes. Buttons that stay keep their elements, and with them
/// the focus.
pub(super) fn reactions_view(chat: LiveChat, line: RwSignal<Line>) -> ReactiveView {
    let id = chat.chat_id();
    reactive_view(move || {
        line.with(|line| {
            let (message, tally) = line.tally()?;
            let me = chat.live.me.with(|me| me.id);
            let shown: Vec<_> = chat
                .live
                .hidden
                .with(|hidden| tally.of.iter().map(|count| ShownReaction::of(count, me, hidden)).collect());
            Some(StaticView(reactions(id, message, &shown)))
        })
        .into_any()
    })
}

/// Returns the buttons of the reactions to a message, which stay in the order in which they are given. Empty if there are
/// none.
pub fn reactions(chat: ChatId, message: Seq, shown: &[ShownReaction]) -> Element {
    let form = |children| {
        Element::new("form", children)
            .with("class", "reactions")
            .with("method", "post")
            .with("action", React::PATH)
            .with("data-seq", message.to_string())
    };
    if shown.is_empty() {
        return form(Vec::new());
    }
    let hidden = |name: &'static str, value: String| {
        Element::new("input", Vec::new()).with("type", "hidden").with("name", name).with("value", value)
    };
    let mut parts = vec![hidden("chat", chat.to_string()), hidden("message", message.to_string())];
    parts.extend(shown.iter().map(button));
    form(parts.into_iter().map(Node::Element).collect())
}

fn button(shown: &ShownReaction) -> Element {
    let ShownReaction { emoji, count, is_mine, .. } = shown;
    let number = Element::new("span", vec![Node::Text(count.to_string())]);
    Element::new("button", vec![Node::Text(emoji.clone()), Node::Element(number)])
        .with("name", if *is_mine { "off" } else { "on" })
        .with("value", emoji.as_str())
        .with("aria-pressed", is_mine.to_string())
        .with("aria-label", format!("{emoji} {count}"))
        .with("title", shown.who())
        .with("data-later", "actions")
}

#[cfg(test)]
mod tests {
    use domain::{Emoji, Nickname, User, id::ID_BYTES};

    use super::*;

    fn shown(count: u32, is_mine: bool, others: &[&str]) -> ShownReaction {
        let others = others.iter().map(|name| (*name).to_owned()).collect();
        ShownReaction { emoji: "👍".to_owned(), count, is_mine, others }
    }

    #[test]
    fn who_has_reacted_is_said_in_words() {
        assert_eq!(shown(1, true, &[]).who(), "You");
        assert_eq!(shown(1, false, &["Ana"]).who(), "Ana");
        assert_eq!(shown(2, true, &["Ana"]).who(), "You and Ana");
        assert_eq!(shown(3, false, &["Ana", "Bea", "Cy"]).who(), "Ana, Bea and Cy");
        assert_eq!(shown(3, false, &["Ana", "Bea"]).who(), "Ana, Bea and one other");
        assert_eq!(shown(10_000, true, &["Ana"]).who(), "You, Ana and 9998 others");
        assert_eq!(shown(1, false, &[]).who(), "One person", "whom the reader has hidden");
        assert_eq!(shown(2, false, &[]).who(), "2 people");
    }

    #[test]
    fn hidden_users_are_counted_and_not_named() {
        let user = |number, name| User {
            id: UserId::from_bytes([number; ID_BYTES]),
            nickname: Nickname::parse(name).unwrap(),
        };
        let people = vec![user(3, "Cy"), user(1, "Ana"), user(2, "Bea")];
        let emoji = Emoji::try_from("👍".to_owned()).unwrap();
        let count = EmojiCount { emoji, count: 3, people, is_mine: true };
        let (me, cy) = (user(1, "Ana").id, user(3, "Cy").id);
        assert_eq!(ShownReaction::of(&count, me, &[]), shown(3, true, &["Cy", "Bea"]));
        let without_cy = ShownReaction::of(&count, me, &[cy]);
        assert_eq!(without_cy, shown(3, true, &["Bea"]));
        assert_eq!(without_cy.who(), "You, Bea and one other");
    }

    #[test]
    fn each_emoji_is_a_button_that_says_what_it_does_without_a_script() {
        let mut html = String::new();
        let chat = ChatId::from_bytes([1; ID_BYTES]);
        reactions(chat, Seq(58), &[shown(1, true, &[]), shown(2, false, &["<Ana>"])]).write_html(&mut html);
        assert!(html.contains("aria-label=\"👍 1\"") && html.contains("aria-label=\"👍 2\""), "{html}");
        assert!(html.contains("name=\"off\" value=\"👍\" aria-pressed=\"true\""), "{html}");
        assert!(html.contains("name=\"on\" value=\"👍\" aria-pressed=\"false\""), "{html}");
        assert!(html.contains("data-seq=\"58\"") && html.contains("&lt;Ana&gt; and one other"), "{html}");
    }

    #[test]
    fn a_message_without_reactions_has_no_buttons_and_no_fields() {
        let mut html = String::new();
        reactions(ChatId::from_bytes([1; ID_BYTES]), Seq(58), &[]).write_html(&mut html);
        assert!(html.ends_with("></form>") && !html.contains("<input"), "{html}");
    }
}
