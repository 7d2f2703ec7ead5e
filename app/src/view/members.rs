//! Who is here.

use std::collections::HashSet;

use domain::{Member, UserId, frame::Ask};
use leptos::prelude::*;

use crate::{
    live::Live,
    view::{avatar::Avatar, edit_in_place::EditInPlace},
};

/// So many people, in words up to twelve.
fn people(number: usize) -> String {
    const WORDS: [&str; 13] = [
        "No one", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven",
        "Twelve",
    ];
    let word = WORDS.get(number).map_or_else(|| number.to_string(), |word| (*word).to_owned());
    match number {
        0 => word,
        1 => format!("{word} person"),
        _ => format!("{word} people"),
    }
}

fn count(members: usize) -> String {
    format!("{} here", people(members))
}

/// The members, oneself first.
#[component]
pub fn Members() -> impl IntoView {
    let live = Live::here();
    let members = Memo::new(move |_| {
        let (me, owner) = (live.me.with(|me| me.id), live.chat.with(|chat| chat.owner));
        live.roster.with(|roster| roster.for_reader(me, owner))
    });
    let typing = Memo::new(move |_| {
        live.roster.with(|roster| {
            let typing = roster.members.iter().filter(|member| member.typing);
            typing.map(|member| member.id).collect::<HashSet<_>>()
        })
    });
    let key = move |user: &Member| {
        let is_me = live.me.with_untracked(|me| me.id == user.id);
        (user.id, (!is_me).then(|| user.nickname.clone()))
    };
    view! {
        <aside class="members" aria-label="People" tabindex="0">
            <h2 class="soft">{move || count(members.with(Vec::len))}</h2>
            <ul aria-label="Members">
                <For each=move || members.get() key=key let:member>
                    <MemberView member typing />
                </For>
            </ul>
        </aside>
    }
    .into_any()
}

#[component]
fn MemberView(member: Member, typing: Memo<HashSet<UserId>>) -> impl IntoView {
    let live = Live::here();
    let Member { id, nickname, .. } = member;
    let is_me = Memo::new(move |_| live.me.with(|me| me.id == id));
    let is_owner = move || live.chat.with(|chat| chat.owner == id);
    // The row of others is made anew when they are called differently; one's own stays, and the focus in it.
    let nickname =
        Signal::derive(
            move || if is_me.get() { live.me.with(|me| me.nickname.clone()) } else { nickname.clone() },
        );
    let text = Signal::derive(move || nickname.with(ToString::to_string));
    let who = move || {
        view! {
            <span class="who">
                <span class="name" dir="auto">{text}</span>
                <span class="soft">
                    <Show when=move || is_me.get()>
                        <span>"you"</span>
                    </Show>
                    <Show when=is_owner>
                        <span>"owner"</span>
                    </Show>
                </span>
            </span>
        }
    };
    let ask = Callback::new(|nickname| Ask::SetNickname { nickname });
    view! {
        <li class="member" class:me=move || is_me.get()>
            {move || view! { <Avatar id nickname=nickname.get() /> }}
            <Show when=move || is_me.get() fallback=who>
                <EditInPlace button="Edit nickname" label="Nickname" text ask>
                    {who()}
                </EditInPlace>
            </Show>
            <Show when=move || !is_me.get() && typing.with(|typing| typing.contains(&id))>
                <Dots />
            </Show>
        </li>
    }
    .into_any()
}

/// Three dots that breathe, read as "typing".
#[component]
fn Dots() -> impl IntoView {
    view! {
        <span class="dots">
            <span class="hidden">"typing"</span>
            <i></i>
            <i></i>
            <i></i>
        </span>
    }
}

fn who_types(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("{one} is typing"),
        [one, other] => format!("{one} and {other} are typing"),
        _ => format!("{} are typing", people(names.len())),
    }
}

/// Who types, in words above the composer, where the members are not in view. The dots beside the names say the same
/// to assistive technology.
#[component]
pub fn TypingLine() -> impl IntoView {
    let live = Live::here();
    let names = Memo::new(move |_| {
        let me = live.me.with(|me| me.id);
        live.roster.with(|roster| {
            let typing = roster.members.iter().filter(|member| member.typing && member.id != me);
            typing.map(|member| member.nickname.to_string()).collect::<Vec<_>>()
        })
    });
    view! {
        <p class="typing-line soft" aria-hidden="true">
            <bdi>{move || names.with(|names| who_types(names))}</bdi>
        </p>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_words() {
        assert_eq!(count(1), "One person here");
        assert_eq!(count(12), "Twelve people here");
        assert_eq!(count(13), "13 people here");
        assert_eq!(count(0), "No one here");
    }

    #[test]
    fn who_types_is_said_in_words() {
        let names = ["Ana", "Bea", "Cy"].map(str::to_owned);
        assert_eq!(who_types(&names[..0]), "");
        assert_eq!(who_types(&names[..1]), "Ana is typing");
        assert_eq!(who_types(&names[..2]), "Ana and Bea are typing");
        assert_eq!(who_types(&names), "Three people are typing");
    }
}
