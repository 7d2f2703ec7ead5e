//! A line of the timeline.

use std::sync::Arc;

use domain::{
    Answer, Body, ClientId, EventKind, Message, Nickname, Problem, RemovedBy, Seq, Timestamp, Tombstone,
    User, UserId, Visibility,
    frame::Ask,
    page::About,
    slash,
    timeline::{Delivery, HiddenMessages, Pending, Row, RowContent, RowKey, Timeline, local, said_by},
};
use leptos::{prelude::*, server_fn::ServerFn};

use crate::{
    api::SetHidden,
    live::{Connection, Live, LiveChat},
    view::{
        about::{AboutLink, ActionForm, message_address, person_address},
        avatar::Avatar,
        body::body_view,
        composer::{self, ComposerField},
        follow::{Show, fixed, part, words},
        members::people,
        problem_line::ProblemLine,
    },
};

/// A line of the timeline.
#[derive(Clone)]
pub enum Line {
    /// The beginning of a day.
    Day(Timestamp),
    /// The line above the messages that are new since the reader looked away.
    New,
    /// Events between the lines above and below are not loaded.
    Gap,
    /// A message, an event or an own message that waits.
    Row(Row),
}

/// Identifies a line across versions of the timeline.
#[derive(PartialEq, Eq, Hash)]
pub enum LineKey {
    /// A day, by its number of days since 1970 in the reader's time zone.
    Day(u64),
    /// The line above the new messages.
    New,
    /// The gap of events that are not loaded.
    Gap,
    /// A row.
    Row(RowKey),
}

/// Returns the lines of a timeline, in order.
pub fn lines(
    timeline: &Timeline,
    offset: impl Fn(Timestamp) -> i32 + Copy,
    first_new: Option<Seq>,
) -> Vec<Line> {
    let rows = timeline.rows(offset);
    let mut lines = Vec::with_capacity(rows.len() + 2);
    let mut has_gap = timeline.has_later();
    for row in rows {
        if has_gap && matches!(row.content, RowContent::Pending(_)) {
            has_gap = false;
            lines.push(Line::Gap);
        }
        let (at, seq) = match &row.content {
            RowContent::Stored(event) => (event.at, Some(event.seq)),
            RowContent::Pending(pending) => (pending.at, None),
            RowContent::Hidden(hidden) => {
                (timeline.event(hidden.first).map(|event| event.at).unwrap_or_default(), None)
            }
        };
        if row.starts_day {
            lines.push(Line::Day(at));
        }
        if seq.is_some() && seq == first_new {
            lines.push(Line::New);
        }
        lines.push(Line::Row(row));
    }
    lines
}

impl Line {
    /// Returns the key of the line. `offset` returns the reader's offset from UTC at a point in time, in minutes.
    pub fn key(&self, me: UserId, offset: impl Fn(Timestamp) -> i32) -> LineKey {
        match self {
            Self::Day(at) => LineKey::Day(local(*at, offset(*at)).utc_day()),
            Self::New => LineKey::New,
            Self::Gap => LineKey::Gap,
            Self::Row(row) => LineKey::Row(row.key(me)),
        }
    }

    /// Returns the position of the stored event that the line shows, the first of several. `None` for other lines.
    pub fn seq(&self) -> Option<Seq> {
        match self {
            Self::Row(Row { content: RowContent::Stored(event), .. }) => Some(event.seq),
            Self::Row(Row { content: RowContent::Hidden(hidden), .. }) => Some(hidden.first),
            _ => None,
        }
    }

    /// Returns the message that the line shows. `None` if it shows none.
    fn said(&self) -> Option<Said<'_>> {
        let Self::Row(row) = self else { return None };
        let said = |author, nickname, client_id, at, words, delivery| {
            Some(Said { author, nickname, client_id, at, words, delivery })
        };
        match &row.content {
            RowContent::Stored(event) => match &event.kind {
                EventKind::Posted(Message { author, nickname, client_id, body }) => {
                    let delivery = Delivery::Stored(event.seq);
                    said(Some(*author), Some(nickname), *client_id, event.at, Ok(body), delivery)
                }
                EventKind::Tombstone(Tombstone { author, nickname, client_id, by }) => {
                    let delivery = Delivery::Stored(event.seq);
                    said(Some(*author), Some(nickname), *client_id, event.at, Err(*by), delivery)
                }
                _ => None,
            },
            RowContent::Pending(Pending { client_id, body, at, problem, .. }) => {
                said(None, None, *client_id, *at, Ok(body), Delivery::Waits(*problem))
            }
            RowContent::Hidden(_) => None,
        }
    }
}

impl PartialEq for Line {
    /// Whether the line looks the same. Only meaningful for lines with the same key.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Row(one), Self::Row(other)) => {
                let is_same = match (&one.content, &other.content) {
                    (RowContent::Stored(one), RowContent::Stored(other)) => Arc::ptr_eq(one, other),
                    (RowContent::Pending(one), RowContent::Pending(other)) => one.problem == other.problem,
                    (RowContent::Hidden(one), RowContent::Hidden(other)) => one.count == other.count,
                    _ => false,
                };
                is_same && one.starts_group == other.starts_group
            }
            (Self::Day(one), Self::Day(other)) => one == other,
            _ => true,
        }
    }
}

/// A message, stored or waiting.
struct Said<'a> {
    /// The author. `None` if the message waits: then it is the reader's.
    author: Option<UserId>,
    /// The author's nickname, stored with the message. `None` if the message waits.
    nickname: Option<&'a Nickname>,
    client_id: ClientId,
    at: Timestamp,
    /// The text, or who removed it.
    words: Result<&'a Body, RemovedBy>,
    delivery: Delivery,
}

/// Shows a line and its changes.
pub fn line_view(line: RwSignal<Line>) -> AnyView {
    match line.get_untracked() {
        Line::Day(at) => view! { <DayLine at /> }.into_any(),
        Line::New => view! { <li class="new-since">"New"</li> }.into_any(),
        Line::Gap => view! { <li class="system">"Messages in between are not shown"</li> }.into_any(),
        Line::Row(Row { content: RowContent::Hidden(hidden), .. }) => {
            view! { <HiddenView line hidden /> }.into_any()
        }
        Line::Row(Row { content: RowContent::Stored(event), .. }) if said_by(&event).is_none() => {
            let me = Live::here().me.with_untracked(|me| me.id);
            view! { <SystemLine kind=event.kind.clone() me /> }.into_any()
        }
        Line::Row(_) => view! { <MessageView line /> }.into_any(),
    }
}

/// A line for an event other than a message.
#[component]
fn SystemLine(kind: EventKind, me: UserId) -> impl IntoView {
    let chat = LiveChat::here();
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
    let (who, did, name) = told(kind, me, owner);
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
fn told(kind: EventKind, me: UserId, owner: UserId) -> (String, &'static str, Option<String>) {
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
        EventKind::Posted(_)
        | EventKind::Tombstone(_)
        | EventKind::MessageRemoved { .. }
        | EventKind::OwnRemoved { .. } => (String::new(), "", None),
    }
}

/// A message. Its element stays for as long as the message is shown: while it is sent, once it is stored, when it
/// becomes the first of its group, and when it is removed.
#[component]
fn MessageView(line: RwSignal<Line>) -> AnyView {
    let chat = LiveChat::here();
    let me = chat.live.me;
    let first = line.get_untracked();
    let Some(first) = first.said() else { return ().into_any() };
    // The author and nickname of a stored message do not change.
    let author = first.author.unwrap_or_else(|| me.with_untracked(|me| me.id));
    let nickname = move || {
        let stored = line.with(|line| line.said()?.nickname.cloned());
        stored.unwrap_or_else(|| me.with(|me| me.nickname.clone()))
    };
    let (avatar, name) = match first.nickname.cloned() {
        Some(nickname) => {
            let name = nickname.to_string();
            (view! { <Avatar id=author nickname /> }.into_any(), fixed(name).into_any())
        }
        None => {
            let avatar = move || view! { <Avatar id=author nickname=nickname() /> }.into_any();
            (part(avatar).into_any(), words(move || nickname().to_string()).into_any())
        }
    };
    let is_own = me.with_untracked(|me| me.id == author);
    let starts_group = move || line.with(|line| matches!(line, Line::Row(row) if row.starts_group));
    let at = move || line.with(|line| line.said().map(|said| said.at).unwrap_or_default());
    let kind = move || {
        line.with(|line| match line.said()?.words {
            Ok(body) => Some(body_view(body)),
            Err(by) => {
                let said = match by {
                    RemovedBy::Author => "Message removed",
                    RemovedBy::Owner => "Message removed by the owner",
                };
                Some(view! { <p class="gone soft">{fixed(said)}</p> }.into_any())
            }
        })
        .into_any()
    };
    let client_id = first.client_id;
    // A stored message does not become pending again, so there is nothing to follow.
    let delivery = matches!(first.delivery, Delivery::Waits(_)).then(|| {
        let delivery = Memo::new(move |_| {
            line.with(|line| line.said().map_or(Delivery::Waits(None), |said| said.delivery))
        });
        view! { <DeliveryView client_id delivery /> }
    });
    let about = Callback::new(move |()| {
        line.with_untracked(|line| {
            let said = line.said()?;
            let Delivery::Stored(place) = said.delivery else { return None };
            let person = User { id: author, nickname: said.nickname?.clone() };
            Some(About { person, message: Some(place) })
        })
    });
    let address = match first.delivery {
        Delivery::Stored(place) => message_address(chat.chat_id(), place),
        Delivery::Waits(_) => String::new(),
    };
    view! {
        <li class="message" class:own=is_own class:first=starts_group>
            {avatar}
            // For assistive technology only, unless the message is the first of its group.
            <p class="by">
                <strong dir="auto" translate="no">
                    {name}
                </strong>
                " "
                {clock(at)}
            </p>
            {part(kind)}
            {delivery}
            <AboutLink address label="About this message" about one_of_many=true />
        </li>
    }
    .into_any()
}

/// A line for messages of a user hidden by the reader, with a button to show them.
#[component]
fn HiddenView(
    line: RwSignal<Line>,
    /// The messages at first.
    hidden: HiddenMessages,
) -> impl IntoView {
    let HiddenMessages { person: User { id, nickname }, count: first_count, .. } = hidden;
    let problem = RwSignal::new(None::<Problem>);
    let name = nickname.to_string();
    let count = move || {
        line.with(|line| match line {
            Line::Row(Row { content: RowContent::Hidden(hidden), .. }) => hidden.count,
            _ => first_count,
        })
    };
    let said = move || match count() {
        1 => "A message from ".to_owned(),
        count => format!("{count} messages from "),
    };
    view! {
        <li class="system hidden-messages">
            <span>{words(said)}</span>
            <bdi translate="no">{name.clone()}</bdi>
            ", whom you have hidden"
            <ActionForm
                action=SetHidden::PATH
                fields=vec![("person", id.to_string()), ("is_hidden", false.to_string())]
                ask=Ask::SetHidden {
                    person: id,
                    is_hidden: false,
                }
                problem
                done=Callback::new(|()| ())
            >
                "Show"
                <span class="hidden">" " <bdi translate="no">{name}</bdi> " again"</span>
            </ActionForm>
            <ProblemLine problem />
        </li>
    }
}

/// The delivery state of an own message, with actions if it is stuck. Empty once the message is stored.
#[component]
fn DeliveryView(client_id: ClientId, delivery: Memo<Delivery>) -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let problem = move || match delivery.get() {
        Delivery::Waits(problem) => problem,
        Delivery::Stored(_) => None,
    };
    let is_stuck = move || problem().is_some() || live.connection.get() == Connection::Offline;
    // A message that waits for a connection can be edited or discarded.
    let can_be_dropped = move || is_stuck() || live.is_in_doubt.get();
    let is_over = move || live.ended.with(Option::is_some);
    // A text that applies to several messages is shown with the last one only.
    let is_last = Memo::new(move |_| {
        chat.timeline
            .with(|timeline| timeline.on_their_way().last().is_none_or(|last| last.client_id == client_id))
    });
    let said = move || match problem() {
        _ if is_over() => "Not sent".to_owned(),
        // The lock has been lifted since.
        Some(Problem::ChatLocked) if chat.post_block().is_none() => {
            "Not sent: this chat was locked. You can send it now.".to_owned()
        }
        Some(problem) => format!("Not sent. {problem}"),
        None if is_stuck() && !is_last.get() => "Not sent".to_owned(),
        None if is_stuck() => "Not sent. You are offline; it goes out when you are back.".to_owned(),
        None if chat.is_held.get() && is_last.get() => {
            "Sending in a moment, since that was much at once".to_owned()
        }
        None => "Sending".to_owned(),
    };
    let retry_words = move || match problem() {
        Some(Problem::WrittenAsAnother) => format!("Send as {}", live.me.with(|me| me.nickname.to_string())),
        _ => "Retry".to_owned(),
    };
    let composer = use_context::<ComposerField>();
    // The buttons are removed, so the focus moves to the composer.
    let write_on = move |text: Option<String>| {
        if let Some(ComposerField(field)) = composer {
            composer::write_on(field, text);
        }
    };
    let retry = move |_| {
        chat.retry(client_id);
        write_on(None);
    };
    let edit = move |_| write_on(chat.discard(client_id).map(|body| slash::typed(&body)));
    let discard = move |_| {
        chat.discard(client_id);
        write_on(None);
    };
    view! {
        <Show when=move || matches!(delivery.get(), Delivery::Waits(_))>
            <p class="delivery" class:stuck=is_stuck>
                <span>{words(said)}</span>
                <Show when=move || is_stuck() && !is_over()>
                    <button type="button" class="quiet" on:click=retry>
                        {words(retry_words)}
                    </button>
                </Show>
                <Show when=can_be_dropped>
                    <button type="button" class="quiet" on:click=edit>
                        "Edit"
                    </button>
                    <button type="button" class="quiet" on:click=discard>
                        "Discard"
                    </button>
                </Show>
            </p>
        </Show>
    }
}

/// The time of day in the reader's time zone, or in UTC until the page is hydrated.
fn clock(at: impl Fn() -> Timestamp + Send + 'static) -> impl IntoView {
    let live = Live::here();
    move || {
        let at = at();
        let there = local(at, live.offset_minutes.get()(at));
        let date = there.utc_date();
        // `style/timeline.css` shows the same beside the time.
        let zone = if live.transport().is_none() { " UTC" } else { "" };
        view! {
            <time
                translate="no"
                datetime=at.to_string()
                title=format!("{date}, {}{zone}", there.utc_clock_with_seconds())
            >
                {there.utc_clock()}
                <span class="hidden">{format!(", {date}")}</span>
            </time>
        }
    }
}

#[component]
fn DayLine(at: Timestamp) -> impl IntoView {
    let live = Live::here();
    let there = move |at| local(at, live.offset_minutes.get()(at));
    view! {
        <li class="day">
            <time datetime=at.to_string() title=move || there(at).utc_date()>
                {words(move || there(at).utc_day_in_words(there(live.now.get())))}
            </time>
        </li>
    }
}
