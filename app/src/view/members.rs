//! Who is here.

use domain::User;
use leptos::prelude::*;

use crate::{live::Live, view::avatar::Avatar};

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
    view! {
        <aside class="members" aria-label="People" tabindex="0">
            <h2 class="soft">{move || count(members.with(Vec::len))}</h2>
            <ul aria-label="Members">
                <For each=move || members.get() key=|user| (user.id, user.nickname.clone()) let:user>
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
    let is_me = move || live.me.with(|me| me.id == id);
    let is_owner = move || live.chat.with(|chat| chat.owner == id);
    view! {
        <li class="member" class:me=is_me>
            <Avatar id nickname=nickname.clone() />
            <span class="name" dir="auto">
                {nickname.to_string()}
            </span>
            <Show when=is_me>
                <span class="soft">"you"</span>
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
