//! The members of a chat.

use domain::{Member, Problem, User, UserId, frame::ClientCommand, page::About};
use leptos::{
    ev::SubmitEvent,
    html::{Aside, Details},
    prelude::*,
    server_fn::ServerFn,
};

use crate::{
    api::{ChatPrivately, RemoveNewcomers, SetLock, SetNickname},
    live::{Live, LiveChat, press_once},
    reactive::{effect, memo},
    view::{
        about_dialog::{AboutLink, ActionForm, person_address},
        avatar::Avatar,
        edit_in_place::{EditInPlace, PlainForm},
        icon,
        invites::InvitesSetting,
        list::list,
        list_item::ListItem,
        list_pause::ListPause,
        problem_line::ProblemLine,
        reactive_view::{Show, optional_text, reactive_text, reactive_view, static_text},
        retention_notice::RetentionNotice,
        setting_switch::SettingSwitch,
        site_counts::SiteCounts,
    },
};

/// The owner can remove all users who came within this time at once.
const NEWCOMERS_SECONDS: u64 = 10 * 60;

/// The id of the member list, for the button that opens it on small screens.
pub const MEMBERS_ID: &str = "members";

/// Formats a number of people, in words up to twelve.
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

/// Formats the number of people in a chat, in words up to twelve.
pub fn people_here(members: usize) -> String {
    format!("{} here", people(members))
}

/// Returns the heading of the list. A count of 0 means that it is not known, since the reader is counted.
fn heading(members: usize) -> String {
    if members == 0 { "People".to_owned() } else { people_here(members) }
}

/// Returns the number of members. 0 if it is not known, since the connection has been lost for a while.
fn known_count(chat: LiveChat) -> usize {
    if chat.live.is_stale.get() { 0 } else { chat.roster.with(|roster| roster.count) }
}

/// The member list, for views in it that close it where it is a sheet.
#[derive(Clone, Copy)]
struct Sheet(NodeRef<Aside>);

/// The members, the reader first: a column on large screens, and on small ones a sheet that the header opens. The sheet
/// is a popover, so that it opens, closes by Escape and returns the focus without a script.
#[component]
pub fn Members() -> impl IntoView {
    let chat = LiveChat::from_context();
    let members = memo(move || {
        let (me, owner) = (chat.live.me.get(), chat.chat.with(|chat| chat.owner));
        chat.roster.with(|roster| roster.for_reader(&me, owner))
    });
    let count = memo(move || known_count(chat));
    let sheet = NodeRef::<Aside>::new();
    provide_context(Sheet(sheet));
    let unnamed = move || count.get().saturating_sub(members.with(Vec::len));
    let typing = memo(move || {
        chat.roster.with(|roster| {
            let is_shown = |id| chat.live.hidden.with(|hidden| !hidden.contains(&id));
            let typing = roster.members.iter().filter(|member| member.typing && is_shown(member.id));
            typing.map(|member| member.id).collect::<Vec<_>>()
        })
    });
    let rows = move || {
        let row = |Member { id, nickname, .. }| ListItem::new(id, User { id, nickname });
        members.get().into_iter().map(row).collect()
    };
    // A row does not move while the reader is about to click it.
    let pause = ListPause::default();
    effect(move || {
        if let Some(Ok(Some(rows))) = sheet.get().map(|sheet| sheet.query_selector("ul")) {
            pause.pause_for(&rows);
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
    let new_people = move || format!("{} new", pause.waiting.get());
    view! {
        <aside id=MEMBERS_ID class="members" aria-label="People" popover="auto" node_ref=sheet>
            // A tap beside a popover reaches what is below it. This button catches it.
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
                    <h2 translate="no">{reactive_text(move || heading(count.get()))}</h2>
                    <Show when=move || { pause.waiting.get() > 0 }>
                        <button type="button" class="new-rows" on:click=move |_| pause.update_once()>
                            {reactive_text(new_people)}
                        </button>
                    </Show>
                    <button type="button" class="quiet sheet-only" popovertarget=MEMBERS_ID popovertargetaction="hide">
                        "Close"
                    </button>
                </div>
                <div
                    class="members-list"
                    class:in-doubt=move || chat.live.is_stale.get()
                    tabindex="0"
                    role="group"
                    aria-label="People here"
                    data-focus-home=""
                >
                    <ul aria-label="Members">{list(Some(pause), rows, member)}</ul>
                    <Show when=move || { unnamed() > 0 }>
                        <p class="soft">{reactive_text(move || format!("and {} more", unnamed()))}</p>
                    </Show>
                </div>
                <footer class="members-foot">
                    <Lock />
                    <SiteCounts />
                    <RetentionNotice />
                    <InvitesSetting back=Some(chat.chat_id()) />
                </footer>
            </div>
        </aside>
    }
    .into_any()
}

/// The switch with which the owner of a group chat locks it, so that no one else can write.
#[component]
fn Lock() -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let is_mine = memo(move || {
        let me = live.me.with(|me| me.id);
        chat.chat.with(|chat| chat.owner == me && chat.guest.is_none()) && live.ended.with(Option::is_none)
    });
    let is_locked = memo(move || chat.chat.with(|chat| chat.is_locked));
    let ask = Callback::new(move |is_locked| ClientCommand::SetLock { chat: chat.chat_id(), is_locked });
    view! {
        <Show when=move || is_mine.get()>
            <div class="lock">
                <SettingSwitch
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

/// A form with which the owner removes all users who came recently, after a raid. It takes two steps, since removed
/// messages cannot be restored.
#[component]
fn RemoveNewcomersForm() -> impl IntoView {
    let chat = LiveChat::from_context();
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
            // It opens upwards, so that nothing moves, and a second click hits nothing.
            <div class="newcomers-panel">
                <p class="soft">"People who were here before, and said something then, stay."</p>
                <ActionForm
                    action=RemoveNewcomers::PATH
                    fields=vec![("seconds", NEWCOMERS_SECONDS.to_string())]
                    ask=ClientCommand::RemoveNewcomers {
                        chat: chat.chat_id(),
                        seconds: NEWCOMERS_SECONDS,
                    }
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
    let chat = LiveChat::from_context();
    let count = memo(move || known_count(chat));
    view! {
        <button type="button" class="quiet sheet-only" popovertarget=MEMBERS_ID>
            {icon::people()}
            <span aria-hidden="true">
                {optional_text(move || Some(count.get()).filter(|count| *count > 0).map(|count| count.to_string()))}
            </span>
            <span class="hidden" translate="no">
                {reactive_text(move || heading(count.get()))}
            </span>
        </button>
    }
}

/// The row of the reader, with a button to edit the nickname.
#[component]
fn SelfRow(me: UserId) -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let nickname = memo(move || live.me.with(|me| me.nickname.to_string()));
    let name = move || {
        view! {
            <span class="name" dir="auto" translate="no">
                {reactive_text(move || nickname.get())}
            </span>
        }
    };
    let avatar = reactive_view(move || {
        let User { id, nickname } = live.me.get();
        view! { <Avatar id nickname /> }.into_any()
    });
    let ask = Callback::new(|nickname| ClientCommand::SetNickname { nickname });
    let form = PlainForm { action: SetNickname::PATH, name: "nickname", chat: chat.chat_id() };
    view! {
        <li class="member me">
            {avatar} <EditInPlace button="Edit nickname" label="Nickname" text=nickname ask form>
                {name}
            </EditInPlace> {marks(me, Some("you"))}
        </li>
    }
    .into_any()
}

/// The row of another member, with actions. It stays when their nickname changes, so that it keeps the focus.
#[component]
fn MemberRow(member: RwSignal<User>, typing: Memo<Vec<UserId>>) -> impl IntoView {
    let chat = LiveChat::from_context();
    let id = member.with_untracked(|member| member.id);
    let name = move || member.with(|member| member.nickname.to_string());
    let who = move || {
        let User { id, nickname } = member.get();
        let name = nickname.to_string();
        view! {
            <Avatar id nickname />
            <span class="name" dir="auto" translate="no">
                {static_text(name)}
            </span>
        }
        .into_any()
    };
    let about = Callback::new(move |()| Some(About { person: member.get_untracked(), message: None }));
    // In a direct chat the button would lead to the same chat.
    let can_be_asked = chat.chat.with_untracked(|chat| chat.guest.is_none());
    let sheet = use_context::<Sheet>();
    let address = person_address(chat.chat_id(), id);
    let link = format!("a[href='{address}']");
    // One effect for the labels of all controls, since there are many rows.
    Effect::new(move |before: Option<String>| {
        let name = name();
        let sheet = sheet.filter(|_| before.is_some()).and_then(|Sheet(sheet)| sheet.get_untracked());
        let link = sheet.and_then(|sheet| sheet.query_selector(&link).ok().flatten());
        if let Some(row) = link.and_then(|link| link.parent_element()) {
            for (control, label) in [(".over", chat_label(&name)), (".about-link", about_label(&name))] {
                if let Ok(Some(control)) = row.query_selector(control) {
                    let _ = control.set_attribute("aria-label", &label);
                    let _ = control.set_attribute("title", &label);
                }
            }
        }
        name
    });
    let label = about_label(&member.with_untracked(|member| member.nickname.to_string()));
    // The button for a private chat covers the whole row.
    view! {
        <li class="member">
            {reactive_view(who)} {can_be_asked.then(|| view! { <ChatPrivatelyForm id member /> })} {marks(id, None)}
            <Show when=move || typing.with(|typing| typing.contains(&id))>
                <Dots />
            </Show> <AboutLink address label about />
        </li>
    }
    .into_any()
}

/// Returns the label of the button that starts a private chat.
fn chat_label(name: &str) -> String {
    format!("Chat privately with {name}")
}

/// Returns the label of the link to the details of a user.
fn about_label(name: &str) -> String {
    format!("About {name}")
}

/// The remarks after a member's name: you, owner, hidden.
fn marks(id: UserId, you: Option<&'static str>) -> impl IntoView {
    let chat = LiveChat::from_context();
    let marks = memo(move || {
        let owner = chat.chat.with(|chat| chat.owner == id).then_some("owner");
        let hidden = chat.live.hidden.with(|hidden| hidden.contains(&id)).then_some("hidden");
        [you, owner, hidden]
    });
    view! {
        <span class="marks soft">
            {reactive_view(move || {
                let marks = marks.get().into_iter().flatten();
                marks.map(|mark| view! { <span>{static_text(mark)}</span> }).collect_view().into_any()
            })}
        </span>
    }
}

/// A form that starts a direct chat in a new window. It is an ordinary form, which opens one with and without a script.
#[component]
fn ChatPrivatelyForm(id: UserId, member: RwSignal<User>) -> impl IntoView {
    let live = Live::from_context();
    let problem = RwSignal::new(None::<Problem>);
    let sheet = use_context::<Sheet>();
    let submit = move |event: SubmitEvent| {
        live.guard_navigation(&event, problem);
        // The direct chat opens elsewhere, so the sheet closes and this page shows its chat again.
        if let Some(Sheet(sheet)) = sheet.filter(|_| !event.default_prevented())
            && let Some(sheet) = sheet.get_untracked()
        {
            let _ = sheet.hide_popover();
        }
    };
    let label = chat_label(&member.with_untracked(|member| member.nickname.to_string()));
    view! {
        <form class="ask" method="post" action=ChatPrivately::PATH target="_blank" on:submit=submit>
            <input type="hidden" name="with" value=id.to_string() />
            <button class="over" aria-label=label.clone() title=label on:click=press_once></button>
            <ProblemLine problem />
        </form>
    }
    .into_any()
}

/// Three pulsing dots, read as "typing".
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

/// Returns the parts of the typing line: nicknames, each isolated for its text direction, and the words after them.
fn typing_text(names: &[String]) -> Vec<(String, &'static str)> {
    match names {
        [] => Vec::new(),
        [one] => vec![(one.clone(), " is typing")],
        [one, other] => vec![(one.clone(), " and "), (other.clone(), " are typing")],
        _ => vec![(people(names.len()), " are typing")],
    }
}

/// The line above the composer that says who is typing, for screens without the member list.
#[component]
pub fn TypingLine() -> impl IntoView {
    let chat = LiveChat::from_context();
    let names = memo(move || {
        let me = chat.live.me.with(|me| me.id);
        chat.roster.with(|roster| {
            let is_shown = |id| id != me && chat.live.hidden.with(|hidden| !hidden.contains(&id));
            let typing = roster.members.iter().filter(|member| member.typing && is_shown(member.id));
            typing.map(|member| member.nickname.to_string()).collect::<Vec<_>>()
        })
    });
    view! {
        <p class="typing-line soft">
            {reactive_view(move || {
                let parts = names.with(|names| typing_text(names));
                parts
                    .into_iter()
                    .map(|(who, did)| {
                        view! {
                            <bdi translate="no">{static_text(who)}</bdi>
                            <span>{static_text(did)}</span>
                        }
                    })
                    .collect_view()
                    .into_any()
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
        assert_eq!(people_here(1), "One person here");
        assert_eq!(people_here(12), "Twelve people here");
        assert_eq!(people_here(13), "13 people here");
        assert_eq!(people_here(0), "No one here");
    }

    #[test]
    fn typing_users_are_named_in_words() {
        let names = ["Ana", "Bea", "Cy"].map(str::to_owned);
        let text = |names| typing_text(names).into_iter().map(|(who, did)| who + did).collect::<String>();
        assert_eq!(text(&names[..0]), "");
        assert_eq!(text(&names[..1]), "Ana is typing");
        assert_eq!(text(&names[..2]), "Ana and Bea are typing");
        assert_eq!(text(&names), "Three people are typing");
    }
}
