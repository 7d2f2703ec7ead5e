//! The line of an event other than a message.

use domain::{Answer, EventKind, Nickname, User, UserId, Visibility, page::About};
use leptos::prelude::*;

use crate::{
    live::LiveChat,
    view::{
        about_dialog::{AboutLink, person_address},
        members::people,
    },
};

/// A line for an event other than a message.
#[component]
pub fn SystemLine(
    /// What happened.
    kind: EventKind,
    /// The reader, who is called "you".
    me: UserId,
) -> impl IntoView {
    let chat = LiveChat::from_context();
    let owner = chat.chat.with_untracked(|chat| chat.owner);
    // A removed user is not in the member list, so the owner can let them return from here.
    let about = match &kind {
        EventKind::PersonRemoved { person, .. } if owner == me => Some(person.clone()),
        EventKind::PeopleRemoved { first, others, .. } if owner == me && others.is_empty() => {
            Some(first.clone())
        }
        _ => None,
    };
    let about = about.map(|person| {
        let label = format!("About {}", person.nickname);
        let address = person_address(chat.chat_id(), person.id);
        let about = Callback::new(move |()| Some(About { person: person.clone(), message: None }));
        view! { <AboutLink address label about one_of_many=true /> }
    });
    let and_all = matches!(kind, EventKind::PeopleRemoved { .. }).then_some(" and all their messages");
    let (who, did, name) = describe(kind, me, owner);
    view! {
        <li class="system">
            <bdi translate="no">{who}</bdi>
            {did}
            {name.map(|name| view! { <bdi>{name}</bdi> })}
            {and_all}
            {about}
        </li>
    }
}

/// Describes an event in words for a reader: who, what they did, and what or who it was about.
fn describe(kind: EventKind, me: UserId, owner: UserId) -> (String, &'static str, Option<String>) {
    let you = |id: UserId, nickname: Nickname| if id == me { "You".to_owned() } else { nickname.to_string() };
    let whom = |user: User| if user.id == me { "you".to_owned() } else { user.nickname.to_string() };
    match kind {
        EventKind::Started { owner, nickname, guest: Some(guest), .. } => {
            (you(owner, nickname), " started this private chat with ", Some(whom(guest)))
        }
        EventKind::Started { owner, nickname, .. } => (you(owner, nickname), " started this chat", None),
        EventKind::Renamed { user, from, to } => {
            let did = if user == me { " are now called " } else { " is now called " };
            (you(user, from), did, Some(to.to_string()))
        }
        EventKind::TitleEdited { nickname, title } => {
            (you(owner, nickname), " changed the title to ", Some(title.to_string()))
        }
        EventKind::VisibilitySet { nickname, visibility } => {
            let did = match visibility {
                Visibility::Public => " made this chat public",
                Visibility::Private => " made this chat private",
            };
            (you(owner, nickname), did, None)
        }
        EventKind::Invited { by, to } => (you(by.id, by.nickname), " invited ", Some(whom(to))),
        EventKind::InviteAnswered { by, answer } => {
            let did = match answer {
                Answer::Accept => " accepted the invite",
                Answer::Decline => " declined the invite",
            };
            (you(by.id, by.nickname), did, None)
        }
        EventKind::InviteWithdrawn { by, .. } => {
            (you(by.id, by.nickname), " left before the invite was answered", None)
        }
        EventKind::PersonRemoved { nickname, person } => {
            (you(owner, nickname), " removed ", Some(whom(person)))
        }
        EventKind::PersonAdmitted { nickname, person } => {
            (you(owner, nickname), " readmitted ", Some(whom(person)))
        }
        EventKind::PeopleRemoved { nickname, first, others } if others.is_empty() => {
            (you(owner, nickname), " removed ", Some(whom(first)))
        }
        EventKind::PeopleRemoved { nickname, others, .. } => {
            let people = people(others.len() + 1).to_ascii_lowercase();
            (you(owner, nickname), " removed ", Some(people))
        }
        EventKind::LockSet { nickname, is_locked } => {
            let did = if is_locked { " locked this chat" } else { " unlocked this chat" };
            (you(owner, nickname), did, None)
        }
        // These are shown by other lines, or not at all.
        EventKind::Said(_)
        | EventKind::Posted(_)
        | EventKind::MessageEdited { .. }
        | EventKind::MessageRestored { .. }
        | EventKind::Tombstone(_)
        | EventKind::MessageRemoved { .. }
        | EventKind::OwnRemoved { .. } => (String::new(), "", None),
    }
}
