//! A line of the timeline, most of which are messages.

mod actions;
pub mod delivery;
pub mod hidden_messages;
pub mod line;
mod pictures;
pub mod reactions;
mod reply;
pub mod system_line;
pub mod time;

use domain::{
    MessageContent, RemovedBy, link,
    timeline::{Delivery, Row, RowContent, author_of},
};
use leptos::prelude::*;

use self::{
    actions::actions,
    delivery::DeliveryView,
    hidden_messages::HiddenMessagesView,
    line::Line,
    pictures::pictures_view,
    reactions::reactions_view,
    reply::{Shown, reply_line},
    system_line::SystemLine,
    time::{DayLine, Edited, clock},
};
use crate::{
    live::{Live, LiveChat},
    reactive::memo,
    view::{
        avatar::Avatar,
        message_body::body_view,
        node::{Element, StaticView},
        reactive_view::{reactive_text, reactive_view, static_text},
    },
};

/// Shows a line and its changes.
pub fn line_view(line: RwSignal<Line>) -> AnyView {
    match line.get_untracked() {
        Line::Day(at) => view! { <DayLine at /> }.into_any(),
        Line::New => view! { <li class="new-since">"New"</li> }.into_any(),
        Line::Gap => view! { <li class="system">"Messages in between are not shown"</li> }.into_any(),
        Line::Row(Row { content: RowContent::Hidden(hidden), .. }) => {
            view! { <HiddenMessagesView line hidden /> }.into_any()
        }
        Line::Row(Row { content: RowContent::Stored(event), .. }) if author_of(&event).is_none() => {
            let me = Live::from_context().me.with_untracked(|me| me.id);
            view! { <SystemLine kind=event.kind.clone() me /> }.into_any()
        }
        Line::Row(_) => view! { <MessageView line /> }.into_any(),
    }
}

/// A message. Its element stays for as long as the message is shown: while it is sent, once it is stored, when it
/// becomes the first of its group, and when it is removed.
#[component]
fn MessageView(line: RwSignal<Line>) -> AnyView {
    let chat = LiveChat::from_context();
    let me = chat.live.me;
    let first = line.get_untracked();
    let Some(first) = first.message() else { return ().into_any() };
    // The author and nickname of a stored message do not change.
    let author = first.author.unwrap_or_else(|| me.with_untracked(|me| me.id));
    let nickname = move || {
        let stored = line.with(|line| line.message()?.nickname.cloned());
        stored.unwrap_or_else(|| me.with(|me| me.nickname.clone()))
    };
    let (avatar, name) = match first.nickname.cloned() {
        Some(nickname) => {
            let name = nickname.to_string();
            (view! { <Avatar id=author nickname /> }.into_any(), static_text(name).into_any())
        }
        None => {
            let avatar = move || view! { <Avatar id=author nickname=nickname() /> }.into_any();
            (reactive_view(avatar).into_any(), reactive_text(move || nickname().to_string()).into_any())
        }
    };
    let is_own = me.with_untracked(|me| me.id == author);
    let starts_group = move || line.with(|line| matches!(line, Line::Row(row) if row.starts_group));
    let is_to_me = move || {
        let me = me.with(|me| me.id);
        line.with(|line| line.is_meant_for(me))
    };
    let is_action = move || line.with(Line::is_action);
    let at = move || line.with(|line| line.message().map(|message| message.at).unwrap_or_default());
    let body = move || {
        line.with(|line| match line.message()?.content {
            MessageContent::Text(body, marks) => {
                // What waits is shown as it was typed, with its links, until the server has formatted it.
                let text = || match marks {
                    Some(marks) => body_view(body, marks),
                    None => body_view(body, &link::marks(body)),
                };
                let said = match pictures_view(chat.chat_id(), &line.message()?) {
                    None => text(),
                    Some(pictures) if body.is_empty() => pictures,
                    Some(pictures) => (text(), pictures).into_any(),
                };
                let said = match line.edited_at() {
                    None => said,
                    Some(at) => (said, view! { <Edited at /> }.into_any()).into_any(),
                };
                Some(match answered_line(chat, line) {
                    Some(answered) => (StaticView(answered), said).into_any(),
                    None => said,
                })
            }
            MessageContent::Removed(by) => {
                let text = match by {
                    RemovedBy::Author => "Message removed",
                    RemovedBy::Owner => "Message removed by the owner",
                };
                Some(view! { <p class="gone soft">{static_text(text)}</p> }.into_any())
            }
        })
        .into_any()
    };
    let client_id = first.client_id;
    // A stored message does not become pending again, so its delivery does not change any more.
    let delivery = matches!(first.delivery, Delivery::Waits(_)).then(|| {
        let delivery = memo(move || {
            line.with(|line| line.message().map_or(Delivery::Waits(None), |message| message.delivery))
        });
        view! { <DeliveryView client_id delivery /> }
    });
    let chat_id = chat.chat_id();
    // Where the address of the page leads. A live page marks the messages that it leads to itself.
    let is_place = matches!(first.delivery, Delivery::Stored(seq) if chat.place == Some(seq));
    let actions = match first.delivery {
        Delivery::Stored(place) => {
            StaticView(actions(chat_id, place, chat.live.is_hydrated.get_untracked())).into_any()
        }
        Delivery::Waits(_) => {
            let place = memo(move || {
                line.with(|line| match line.message()?.delivery {
                    Delivery::Stored(place) => Some(place),
                    Delivery::Waits(_) => None,
                })
            });
            let view = move || place.get().map(|place| StaticView(actions(chat_id, place, true))).into_any();
            reactive_view(view).into_any()
        }
    };
    view! {
        <li
            id=is_place.then_some("at")
            aria-current=is_place.then_some("true")
            class="message"
            class:own=is_own
            class:first=starts_group
            class:to-me=is_to_me
            class:action=is_action
        >
            {avatar}
            // For assistive technology only, unless the message is the first of its group.
            <p class="by">
                <strong dir="auto" translate="no">
                    {name}
                </strong>
                " "
                {clock(at)}
            </p>
            {reactive_view(body)}
            {reactions_view(chat, line)}
            {delivery}
            {actions}
        </li>
    }
    .into_any()
}

/// Returns the line with what a message answers. `None` if it answers nothing.
fn answered_line(chat: LiveChat, line: &Line) -> Option<Element> {
    let (answered, quote) = line.answers()?;
    let quote = match quote {
        Some(quote) => quote.cloned(),
        // What waits has no quote yet. It has no line if what it answers is not loaded.
        None => chat.timeline.with_untracked(|timeline| {
            let quote = timeline.quote_of(answered);
            (quote.is_some() || timeline.is_removed(answered)).then_some(quote)
        })?,
    };
    let shown = match &quote {
        None => Shown::Gone,
        Some(quote) if chat.live.hidden.with(|hidden| hidden.contains(&quote.author)) => Shown::Hidden,
        Some(quote) => Shown::Quote(quote),
    };
    Some(reply_line(chat.chat_id(), answered, &shown))
}
