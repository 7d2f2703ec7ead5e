//! Who is here.

use domain::{User, frame::Ask};
use leptos::prelude::*;

use crate::{
    live::Live,
    view::{avatar::Avatar, edit_in_place::EditInPlace},
};

fn count(members: usize) -> String {
    const WORDS: [&str; 13] = [
        "No one", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven",
        "Twelve",
    ];
    let number = WORDS.get(members).map_or_else(|| members.to_string(), |word| (*word).to_owned());
    if members == 1 { format!("{number} person here") } else { format!("{number} people here") }
}

/// The members, oneself first.
#[component]
pub fn Members() -> impl IntoView {
    let live = Live::here();
    let members = Memo::new(move |_| {
        let (me, owner) = (live.me.with(|me| me.id), live.chat.with(|chat| chat.owner));
        live.roster.with(|roster| roster.for_reader(me, owner))
    });
    let key = move |user: &User| {
        let is_me = live.me.with_untracked(|me| me.id == user.id);
        (user.id, (!is_me).then(|| user.nickname.clone()))
    };
    view! {
        <aside class="members" aria-label="People" tabindex="0">
            <h2 class="soft">{move || count(members.with(Vec::len))}</h2>
            <ul aria-label="Members">
                <For each=move || members.get() key=key let:user>
                    <MemberView user />
                </For>
            </ul>
        </aside>
    }
    .into_any()
}

#[component]
fn MemberView(user: User) -> impl IntoView {
    let live = Live::here();
    let User { id, nickname } = user;
    let is_me = Memo::new(move |_| live.me.with(|me| me.id == id));
    let is_owner = move || live.chat.with(|chat| chat.owner == id);
    // The row of others is made anew when they are called differently; one's own stays, and the focus in it.
    let nickname =
        Signal::derive(
            move || if is_me.get() { live.me.with(|me| me.nickname.clone()) } else { nickname.clone() },
        );
    let text = Signal::derive(move || nickname.with(ToString::to_string));
    let name = move || view! { <span class="name" dir="auto">{text}</span> };
    let ask = Callback::new(|nickname| Ask::SetNickname { nickname });
    view! {
        <li class="member" class:me=move || is_me.get()>
            {move || view! { <Avatar id nickname=nickname.get() /> }}
            <Show when=move || is_me.get() fallback=name>
                <EditInPlace button="Edit nickname" label="Nickname" text ask>
                    {name()}
                    <span class="soft">"you"</span>
                </EditInPlace>
            </Show>
            <Show when=is_owner>
                <span class="badge">"owner"</span>
            </Show>
        </li>
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
    }
}
