//! Who is here.

use domain::{Member, Problem, User, UserId, frame::Ask, page::About};
use leptos::{
    ev::SubmitEvent,
    html::{Aside, Details},
    prelude::*,
    server_fn::ServerFn,
};

use crate::{
    api::{ChatPrivately, RemoveNewcomers, SetLock, SetNickname},
    live::{Live, LiveChat, press_once},
    view::{
        about::{AboutLink, ActionForm, person_address},
        avatar::Avatar,
        counts::CountsView,
        edit_in_place::{EditInPlace, PlainForm},
        follow::{Show, fixed, maybe_words, part, words},
        hold::Hold,
        icon,
        invites::InvitesSetting,
        item::Item,
        list::list,
        problem_line::ProblemLine,
        switch::Switch,
        terms::Terms,
    },
};

/// Whoever came no longer ago than this can be removed in one act.
const NEWCOMERS_SECONDS: u64 = 10 * 60;

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

/// How many are here, as far as that is known: 0 where the connection has been lost for a while.
fn known_count(chat: LiveChat) -> usize {
    if chat.live.is_in_doubt.get() { 0 } else { chat.roster.with(|roster| roster.count) }
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
    let count = Memo::new(move |_| known_count(chat));
    let sheet = NodeRef::<Aside>::new();
    provide_context(Sheet(sheet));
    let unnamed = move || count.get().saturating_sub(members.with(Vec::len));
    let typing = Memo::new(move |_| {
        chat.roster.with(|roster| {
            let is_shown = |id| chat.live.hidden.with(|hidden| !hidden.contains(&id));
            let typing = roster.members.iter().filter(|member| member.typing && is_shown(member.id));
            typing.map(|member| member.id).collect::<Vec<_>>()
        })
    });
    let rows = move || {
        let row = |Member { id, nickname, .. }| Item::new(id, User { id, nickname });
        members.get().into_iter().map(row).collect()
    };
    // nobody moves whom one is about to ask
    let hold = Hold::default();
    Effect::new(move |_| {
        if let Some(Ok(Some(rows))) = sheet.get().map(|sheet| sheet.query_selector("ul")) {
            hold.watch(&rows);
        }
    });
    let member = move |member: RwSignal<User>| {
        let id = member.with_untracked(|member| member.id);
        if chat.live.me.with_untracked(|me| me.id == id) {
            view! { <SelfRow me=id /> }.into_any()
        } else {
            view! { <MemberRow member typing /> }.into_any()
        }
    };
    let new_people = move || format!("{} new", hold.waiting.get());
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
                <h2 translate="no">{words(move || heading(count.get()))}</h2>
                <Show when=move || { hold.waiting.get() > 0 }>
                    <button type="button" class="new-rows" on:click=move |_| hold.settle()>
                        {words(new_people)}
                    </button>
                </Show>
                <button
                    type="button"
                    class="quiet sheet-only"
                    popovertarget=MEMBERS_ID
                    popovertargetaction="hide"
                >
                    "Close"
                </button>
            </div>
            <div class="members-list" class:in-doubt=move || chat.live.is_in_doubt.get() tabindex="0" role="group" aria-label="People here" data-focus-home="">
                <ul aria-label="Members">
                    {list(Some(hold), rows, member)}
                </ul>
                <Show when=move || { unnamed() > 0 }>
                    <p class="soft">{words(move || format!("and {} more", unnamed()))}</p>
                </Show>
            </div>
            <footer class="members-foot">
                <Lock />
                <CountsView />
                <Terms />
                <InvitesSetting back=Some(chat.chat_id()) />
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
                <RemoveNewcomersForm />
            </div>
        </Show>
    }
    .into_any()
}

/// For the owner when many have come who should not have: one act that removes them. It takes two steps, since nobody gets
/// back what was said.
#[component]
fn RemoveNewcomersForm() -> impl IntoView {
    let chat = LiveChat::here();
    let problem = RwSignal::new(None::<Problem>);
    let details = NodeRef::<Details>::new();
    let done = Callback::new(move |()| {
        problem.set(None);
        if let Some(details) = details.get_untracked() {
            details.set_open(false);
        }
    });
    view! {
        <details class="newcomers" node_ref=details>
            <summary>"Unwelcome visitors"</summary>
            // opens above, so that nothing moves, and a second click meets nothing
            <div class="newcomers-panel">
            <p class="soft">"Whoever was here before, and said something then, stays."</p>
            <ActionForm
                action=RemoveNewcomers::PATH
                fields=vec![("seconds", NEWCOMERS_SECONDS.to_string())]
                ask=Ask::RemoveNewcomers { chat: chat.chat_id(), seconds: NEWCOMERS_SECONDS }
                problem
                done
                is_irreversible=true
            >
                "Remove all who came in the last 10 minutes, and what they said"
            </ActionForm>
            <ProblemLine problem />
            </div>
        </details>
    }
    .into_any()
}

/// The button that opens the members where they are a sheet.
#[component]
pub fn MembersButton() -> impl IntoView {
    let chat = LiveChat::here();
    let count = Memo::new(move |_| known_count(chat));
    view! {
        <button type="button" class="quiet sheet-only" popovertarget=MEMBERS_ID>
            {icon::people()}
            <span aria-hidden="true">{maybe_words(move || Some(count.get()).filter(|count| *count > 0).map(|count| count.to_string()))}</span>
            <span class="hidden" translate="no">{words(move || heading(count.get()))}</span>
        </button>
    }
}

/// Whoever looks, with a way to be called differently.
#[component]
fn SelfRow(me: UserId) -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let nickname = Memo::new(move |_| live.me.with(|me| me.nickname.to_string()));
    let name =
        move || view! { <span class="name" dir="auto" translate="no">{words(move || nickname.get())}</span> };
    let avatar = part(move || {
        let User { id, nickname } = live.me.get();
        view! { <Avatar id nickname /> }.into_any()
    });
    let ask = Callback::new(|nickname| Ask::SetNickname { nickname });
    let form = PlainForm { action: SetNickname::PATH, name: "nickname", chat: chat.chat_id() };
    view! {
        <li class="member me">
            {avatar}
            <EditInPlace button="Edit nickname" label="Nickname" text=nickname ask form>
                {name}
            </EditInPlace>
            {marks(me, Some("you"))}
        </li>
    }
    .into_any()
}

/// Somebody else, and what one can do with them. The row stays when they are called differently, and the focus in it.
#[component]
fn MemberRow(member: RwSignal<User>, typing: Memo<Vec<UserId>>) -> impl IntoView {
    let chat = LiveChat::here();
    let id = member.with_untracked(|member| member.id);
    let name = move || member.with(|member| member.nickname.to_string());
    let who = move || {
        let User { id, nickname } = member.get();
        let name = nickname.to_string();
        view! {
            <Avatar id nickname />
            <span class="name" dir="auto" translate="no">{fixed(name)}</span>
        }
        .into_any()
    };
    let about = Callback::new(move |()| Some(About { person: member.get_untracked(), message: None }));
    // in a chat of two one is where the button would lead
    let can_be_asked = chat.chat.with_untracked(|chat| chat.guest.is_none());
    let sheet = use_context::<Sheet>();
    let address = person_address(chat.chat_id(), id);
    let link = format!("a[href='{address}']");
    // What the controls are called follows as one, since there are many rows.
    Effect::new(move |before: Option<String>| {
        let name = name();
        let sheet = sheet.filter(|_| before.is_some()).and_then(|Sheet(sheet)| sheet.get_untracked());
        let link = sheet.and_then(|sheet| sheet.query_selector(&link).ok().flatten());
        if let Some(row) = link.and_then(|link| link.parent_element()) {
            for (control, label) in [(".over", asks(&name)), (".about-link", about_label(&name))] {
                if let Ok(Some(control)) = row.query_selector(control) {
                    let _ = control.set_attribute("aria-label", &label);
                    let _ = control.set_attribute("title", &label);
                }
            }
        }
        name
    });
    let label = about_label(&member.with_untracked(|member| member.nickname.to_string()));
    // What one can do with a member lies over the whole row.
    view! {
        <li class="member">
            {part(who)}
            {can_be_asked.then(|| view! { <ChatPrivatelyForm id member /> })}
            {marks(id, None)}
            <Show when=move || typing.with(|typing| typing.contains(&id))>
                <Dots />
            </Show>
            <AboutLink address label about />
        </li>
    }
    .into_any()
}

/// What the button is called that asks somebody.
fn asks(name: &str) -> String {
    format!("Chat privately with {name}")
}

/// What the link to more about somebody is called.
fn about_label(name: &str) -> String {
    format!("About {name}")
}

/// What there is to know about somebody besides.
fn marks(id: UserId, you: Option<&'static str>) -> impl IntoView {
    let chat = LiveChat::here();
    let marks = Memo::new(move |_| {
        let owner = chat.chat.with(|chat| chat.owner == id).then_some("owner");
        let hidden = chat.live.hidden.with(|hidden| hidden.contains(&id)).then_some("hidden");
        [you, owner, hidden]
    });
    view! {
        <span class="marks soft">
            {part(move || {
                let marks = marks.get().into_iter().flatten();
                marks.map(|mark| view! { <span>{fixed(mark)}</span> }).collect_view().into_any()
            })}
        </span>
    }
}

/// Asks for a private chat, in a new window: an ordinary form, which opens one without and with a script alike.
#[component]
fn ChatPrivatelyForm(id: UserId, member: RwSignal<User>) -> impl IntoView {
    let live = Live::here();
    let problem = RwSignal::new(None::<Problem>);
    let sheet = use_context::<Sheet>();
    let submit = move |event: SubmitEvent| {
        live.stay_if_cut_off(&event, problem);
        // the chat opens elsewhere: what this page was about comes into view again
        if let Some(Sheet(sheet)) = sheet.filter(|_| !event.default_prevented())
            && let Some(sheet) = sheet.get_untracked()
        {
            let _ = sheet.hide_popover();
        }
    };
    let label = asks(&member.with_untracked(|member| member.nickname.to_string()));
    view! {
        <form
            class="ask"
            method="post"
            action=ChatPrivately::PATH
            target="_blank"
            on:submit=submit
        >
            <input type="hidden" name="with" value=id.to_string() />
            <button class="over" aria-label=label.clone() title=label on:click=press_once></button>
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
            {part(move || {
                let said = names.with(|names| who_types(names));
                said.into_iter().map(|(who, did)| view! { <bdi translate="no">{fixed(who)}</bdi> <span>{fixed(did)}</span> }).collect_view().into_any()
            })}
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
