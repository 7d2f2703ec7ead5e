//! Who is here.

use std::collections::HashSet;

use domain::{Member, Problem, UserId, frame::Ask};
use leptos::{ev::SubmitEvent, prelude::*, server_fn::ServerFn};

use crate::{
    api::{ChatPrivately, SetNickname},
    live::{Live, LiveChat},
    view::{
        avatar::Avatar,
        counts::CountsView,
        edit_in_place::{EditInPlace, PlainForm},
        icon,
        terms::Terms,
    },
};

/// The id of the list, for the button that opens it on small screens.
pub const MEMBERS_ID: &str = "members";

/// So many people, in words up to twelve.
pub fn people(number: usize) -> String {
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

/// So many people here, in words up to twelve.
pub fn here(members: usize) -> String {
    format!("{} here", people(members))
}

/// The members, oneself first: a column where there is room for one, and a sheet that the header opens where there is
/// not. The sheet is a popover, so that it opens, closes by Escape and gives the focus back without a script.
#[component]
pub fn Members() -> impl IntoView {
    let chat = LiveChat::here();
    let members = Memo::new(move |_| {
        let (me, owner) = (chat.live.me.get(), chat.chat.with(|chat| chat.owner));
        chat.roster.with(|roster| roster.for_reader(&me, owner))
    });
    let count = Memo::new(move |_| chat.roster.with(|roster| roster.count));
    let unnamed = move || count.get().saturating_sub(members.with(Vec::len));
    let typing = Memo::new(move |_| {
        chat.roster.with(|roster| {
            let typing = roster.members.iter().filter(|member| member.typing);
            typing.map(|member| member.id).collect::<HashSet<_>>()
        })
    });
    let key = move |user: &Member| {
        let is_me = chat.live.me.with_untracked(|me| me.id == user.id);
        (user.id, (!is_me).then(|| user.nickname.clone()))
    };
    view! {
        <aside id=MEMBERS_ID class="members" aria-label="People" popover="auto">
            <div class="members-head">
                <h2>{move || here(count.get())}</h2>
                <button
                    type="button"
                    class="quiet sheet-only"
                    popovertarget=MEMBERS_ID
                    popovertargetaction="hide"
                >
                    "Close"
                </button>
            </div>
            <div class="members-list" tabindex="0" role="group" aria-label="Members">
                <ul aria-label="Members">
                    <For each=move || members.get() key=key let:member>
                        <MemberView member typing />
                    </For>
                </ul>
                <Show when=move || { unnamed() > 0 }>
                    <p class="soft">{move || format!("and {} more", unnamed())}</p>
                </Show>
            </div>
            <footer class="members-foot">
                <CountsView />
                <Terms />
            </footer>
        </aside>
    }
    .into_any()
}

/// The button that opens the members where they are a sheet.
#[component]
pub fn MembersButton() -> impl IntoView {
    let chat = LiveChat::here();
    let count = Memo::new(move |_| chat.roster.with(|roster| roster.count));
    view! {
        <button type="button" class="quiet sheet-only" popovertarget=MEMBERS_ID>
            {icon::people()}
            <span aria-hidden="true">{move || count.get()}</span>
            <span class="hidden">{move || here(count.get())}</span>
        </button>
    }
}

#[component]
fn MemberView(member: Member, typing: Memo<HashSet<UserId>>) -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let Member { id, nickname, .. } = member;
    let is_me = Memo::new(move |_| live.me.with(|me| me.id == id));
    let is_owner = move || chat.chat.with(|chat| chat.owner == id);
    // The row of others is made anew when they are called differently; one's own stays, and the focus in it.
    let nickname =
        Signal::derive(
            move || if is_me.get() { live.me.with(|me| me.nickname.clone()) } else { nickname.clone() },
        );
    let text = Signal::derive(move || nickname.with(ToString::to_string));
    let name = move || view! { <span class="name" dir="auto">{text}</span> };
    let avatar = move || view! { <Avatar id nickname=nickname.get() /> };
    // in a chat of two one is where the button would lead
    let can_be_asked = Memo::new(move |_| chat.chat.with(|chat| chat.guest.is_none()));
    let other = move || {
        view! {
            <Show when=move || can_be_asked.get() fallback=move || view! { {avatar} {name} }>
                <ChatPrivatelyForm id name=text>
                    {avatar}
                    {name}
                </ChatPrivatelyForm>
            </Show>
        }
    };
    let ask = Callback::new(|nickname| Ask::SetNickname { nickname });
    let form = PlainForm { action: SetNickname::PATH, name: "nickname", chat: chat.chat_id() };
    view! {
        <li class="member" class:me=move || is_me.get()>
            <Show when=move || is_me.get() fallback=other>
                {avatar}
                <EditInPlace button="Edit nickname" label="Nickname" text ask form>
                    {name}
                </EditInPlace>
            </Show>
            <span class="marks soft">
                <Show when=move || is_me.get()>
                    <span>"you"</span>
                </Show>
                <Show when=is_owner>
                    <span>"owner"</span>
                </Show>
                <Show when=move || !is_me.get() && typing.with(|typing| typing.contains(&id))>
                    <Dots />
                </Show>
            </span>
        </li>
    }
    .into_any()
}

/// Asks for a private chat, in a new window: an ordinary form, which opens one without and with a script alike.
#[component]
fn ChatPrivatelyForm(id: UserId, #[prop(into)] name: Signal<String>, children: ChildrenFn) -> impl IntoView {
    let live = Live::here();
    let (problem, set_problem) = signal(None::<Problem>);
    let submit = move |event: SubmitEvent| {
        let problem = (!live.can_leave()).then_some(Problem::NotConnected);
        if problem.is_some() {
            event.prevent_default();
        }
        set_problem.set(problem);
    };
    let label = move || format!("Chat privately with {}", name.get());
    view! {
        <form
            class="ask"
            method="post"
            action=ChatPrivately::PATH
            target="_blank"
            on:submit=submit
        >
            <input type="hidden" name="with" value=id.to_string() />
            <button class="person" aria-label=label title=label>
                {children()}
            </button>
            <p class="problem" role="alert">
                {move || problem.get().map(|problem| problem.to_string())}
            </p>
        </form>
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

/// Who types, in words above the composer, where the members are not in view.
#[component]
pub fn TypingLine() -> impl IntoView {
    let chat = LiveChat::here();
    let names = Memo::new(move |_| {
        let me = chat.live.me.with(|me| me.id);
        chat.roster.with(|roster| {
            let typing = roster.members.iter().filter(|member| member.typing && member.id != me);
            typing.map(|member| member.nickname.to_string()).collect::<Vec<_>>()
        })
    });
    view! {
        <p class="typing-line soft">
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
        assert_eq!(here(1), "One person here");
        assert_eq!(here(12), "Twelve people here");
        assert_eq!(here(13), "13 people here");
        assert_eq!(here(0), "No one here");
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
