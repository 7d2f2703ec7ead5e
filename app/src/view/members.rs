//! Who is here.

use std::collections::HashSet;

use domain::{Member, Problem, User, UserId, frame::Ask, page::About};
use leptos::{ev::SubmitEvent, html::Aside, prelude::*, server_fn::ServerFn};

use crate::{
    api::{ChatPrivately, SetLock, SetNickname},
    live::{Live, LiveChat},
    view::{
        about::{AboutLink, person_address},
        avatar::Avatar,
        counts::CountsView,
        edit_in_place::{EditInPlace, PlainForm},
        icon,
        problem_line::ProblemLine,
        switch::Switch,
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

/// So many people here, where that is known: whoever looks is one of them, unless they cannot be there any more.
fn heading(members: usize) -> String {
    if members == 0 { "People".to_owned() } else { here(members) }
}

/// The members where they are a sheet.
#[derive(Clone, Copy)]
struct Sheet(NodeRef<Aside>);

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
    let sheet = NodeRef::<Aside>::new();
    provide_context(Sheet(sheet));
    let unnamed = move || count.get().saturating_sub(members.with(Vec::len));
    let typing = Memo::new(move |_| {
        chat.roster.with(|roster| {
            let is_shown = |id| chat.live.hidden.with(|hidden| !hidden.contains(&id));
            let typing = roster.members.iter().filter(|member| member.typing && is_shown(member.id));
            typing.map(|member| member.id).collect::<HashSet<_>>()
        })
    });
    let key = move |user: &Member| {
        let is_me = chat.live.me.with_untracked(|me| me.id == user.id);
        (user.id, (!is_me).then(|| user.nickname.clone()))
    };
    view! {
        <aside id=MEMBERS_ID class="members" aria-label="People" popover="auto" node_ref=sheet>
            // A popover lets a tap beside it through to what lies there: this catches it.
            <button
                type="button"
                class="beside"
                tabindex="-1"
                aria-hidden="true"
                popovertarget=MEMBERS_ID
                popovertargetaction="hide"
            ></button>
            <div class="members-sheet">
            <div class="members-head">
                <h2>{move || heading(count.get())}</h2>
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
                <Lock />
                <CountsView />
                <Terms />
            </footer>
            </div>
        </aside>
    }
    .into_any()
}

/// The switch by which the owner of a chat of many lets nobody else write.
#[component]
fn Lock() -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let is_mine = Memo::new(move |_| {
        let me = live.me.with(|me| me.id);
        chat.chat.with(|chat| chat.owner == me && chat.guest.is_none()) && live.ended.with(Option::is_none)
    });
    let is_locked = Memo::new(move |_| chat.chat.with(|chat| chat.is_locked));
    let ask = Callback::new(move |is_locked| Ask::SetLock { chat: chat.chat_id(), is_locked });
    view! {
        <Show when=move || is_mine.get()>
            <div class="lock">
                <Switch
                    label="Locked"
                    title="Only you can write"
                    action=SetLock::PATH
                    name="is_locked"
                    values=["false", "true"]
                    is_on=is_locked
                    ask
                />
            </div>
        </Show>
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
            <span aria-hidden="true">{move || Some(count.get()).filter(|count| *count > 0)}</span>
            <span class="hidden">{move || heading(count.get())}</span>
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
    // What one can do with a member lies over the whole row.
    let other = move || {
        view! {
            {name}
            <Show when=move || can_be_asked.get()>
                <ChatPrivatelyForm id name=text />
            </Show>
        }
    };
    let about_label = Signal::derive(move || format!("About {}", text.get()));
    let about = Callback::new(move |()| {
        Some(About { person: User { id, nickname: nickname.get_untracked() }, message: None })
    });
    let ask = Callback::new(|nickname| Ask::SetNickname { nickname });
    let form = PlainForm { action: SetNickname::PATH, name: "nickname", chat: chat.chat_id() };
    view! {
        <li class="member" class:me=move || is_me.get()>
            {avatar}
            <Show when=move || is_me.get() fallback=other>
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
                <Show when=move || live.hidden.with(|hidden| hidden.contains(&id))>
                    <span>"hidden"</span>
                </Show>
            </span>
            <Show when=move || !is_me.get() && typing.with(|typing| typing.contains(&id))>
                <Dots />
            </Show>
            <Show when=move || !is_me.get()>
                <AboutLink address=person_address(chat.chat_id(), id) label=about_label about />
            </Show>
        </li>
    }
    .into_any()
}

/// Asks for a private chat, in a new window: an ordinary form, which opens one without and with a script alike.
#[component]
fn ChatPrivatelyForm(id: UserId, name: Signal<String>) -> impl IntoView {
    let live = Live::here();
    let problem = RwSignal::new(None::<Problem>);
    let sheet = use_context::<Sheet>();
    let submit = move |event: SubmitEvent| {
        live.stay_if_cut_off(&event, problem);
        // the chat opens elsewhere: what this page was about comes into view again
        if let Some(Sheet(sheet)) = sheet.filter(|_| problem.get_untracked().is_none())
            && let Some(sheet) = sheet.get_untracked()
        {
            let _ = sheet.hide_popover();
        }
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
            <button class="over" aria-label=label title=label></button>
            <ProblemLine problem />
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

/// Who types: names, which are read in the direction of their letters, and what is said of them.
fn who_types(names: &[String]) -> Vec<(String, &'static str)> {
    match names {
        [] => Vec::new(),
        [one] => vec![(one.clone(), " is typing")],
        [one, other] => vec![(one.clone(), " and "), (other.clone(), " are typing")],
        _ => vec![(people(names.len()), " are typing")],
    }
}

/// Who types, in words above the composer, where the members are not in view.
#[component]
pub fn TypingLine() -> impl IntoView {
    let chat = LiveChat::here();
    let names = Memo::new(move |_| {
        let me = chat.live.me.with(|me| me.id);
        chat.roster.with(|roster| {
            let is_shown = |id| id != me && chat.live.hidden.with(|hidden| !hidden.contains(&id));
            let typing = roster.members.iter().filter(|member| member.typing && is_shown(member.id));
            typing.map(|member| member.nickname.to_string()).collect::<Vec<_>>()
        })
    });
    view! {
        <p class="typing-line soft">
            {move || {
                let said = names.with(|names| who_types(names));
                said.into_iter().map(|(who, did)| view! { <bdi>{who}</bdi> {did} }).collect_view()
            }}
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
        let said = |names| who_types(names).into_iter().map(|(who, did)| who + did).collect::<String>();
        assert_eq!(said(&names[..0]), "");
        assert_eq!(said(&names[..1]), "Ana is typing");
        assert_eq!(said(&names[..2]), "Ana and Bea are typing");
        assert_eq!(said(&names), "Three people are typing");
    }
}
