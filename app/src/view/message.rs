//! One line of the timeline.

use domain::{
    Answer, Blank, Body, ClientId, Message, Nickname, Problem, RemovedBy, Seq, Timestamp, User, UserId,
    Visibility, What,
    frame::Ask,
    page::About,
    timeline::{Delivery, HiddenMessages, Pending, Row, RowContent, RowKey, Timeline, local},
};
use leptos::{prelude::*, server_fn::ServerFn};

use crate::{
    api::SetHidden,
    live::{Connection, Live, LiveChat},
    state::{Derived, State},
    view::{
        about::{AboutLink, Act, message_address, person_address},
        avatar::Avatar,
        body::body_view,
        composer::{self, ComposerField},
        follow::{Show, flag, text, words},
        members::people,
        problem_line::ProblemLine,
    },
};

/// What stands in the timeline, each in a line of its own.
#[derive(Clone)]
pub enum Line {
    /// A day begins.
    Day(Timestamp),
    /// What follows is new since the reader looked away.
    New,
    /// Something that was said or happened.
    Row(Row),
}

/// What makes a line the same as one before.
#[derive(PartialEq, Eq, Hash)]
pub enum LineKey {
    /// The line of a day, by the days since 1970 where the reader is.
    Day(u64),
    /// The line above what is new.
    New,
    /// A row, and whether it stands under its own name.
    Row(RowKey, bool),
}

/// The lines of a timeline, in their order.
pub fn lines(
    timeline: &Timeline,
    offset: impl Fn(Timestamp) -> i32 + Copy,
    first_new: Option<Seq>,
) -> Vec<Line> {
    let rows = timeline.rows(offset);
    let mut lines = Vec::with_capacity(rows.len() + 2);
    for row in rows {
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
    /// What makes it the same line as one before, to somebody whose clocks are so far east of UTC.
    pub fn key(&self, me: UserId, offset: impl Fn(Timestamp) -> i32) -> LineKey {
        match self {
            Self::Day(at) => LineKey::Day(local(*at, offset(*at)).utc_day()),
            Self::New => LineKey::New,
            Self::Row(row) => LineKey::Row(row.key(me), row.starts_group),
        }
    }

    /// Shows it to somebody whose page arrived with this event as its newest: what came later may move a little.
    pub fn view(self, me: UserId, arrived_with: Seq) -> AnyView {
        match self {
            Self::Day(at) => view! { <DayLine at /> }.into_any(),
            Self::New => view! { <li class="new-since">"New"</li> }.into_any(),
            Self::Row(row) => row_view(row, me, arrived_with),
        }
    }
}

fn row_view(row: Row, me: UserId, arrived_with: Seq) -> AnyView {
    let chat = LiveChat::here();
    let Row { content, starts_group, .. } = row;
    match content {
        RowContent::Stored(event) => match event.what.clone() {
            What::Posted(message) => {
                let is_new = event.seq > arrived_with && message.author != me;
                let own = message.author == me;
                view! { <MessageView message place=Some(event.seq) at=event.at own starts_group is_new /> }
                    .into_any()
            }
            What::Blank(blank) => view! { <BlankView blank at=event.at me starts_group /> }.into_any(),
            what => view! { <SystemLine what me /> }.into_any(),
        },
        RowContent::Pending(Pending { client_id, body, at, .. }) => {
            let nickname = chat.live.me.with_untracked(|me| me.nickname.clone());
            let message = Message { author: me, nickname, client_id, body };
            view! { <MessageView message place=None at own=true starts_group is_new=true /> }.into_any()
        }
        RowContent::Hidden(hidden) => view! { <HiddenView hidden /> }.into_any(),
    }
}

/// What happened besides messages.
#[component]
fn SystemLine(what: What, me: UserId) -> impl IntoView {
    let chat = LiveChat::here();
    let owner = chat.chat.with_untracked(|chat| chat.owner);
    // whoever was removed is not in the list of those who are here: this is where their return begins
    let about = match &what {
        What::PersonRemoved { person, .. } if owner == me => Some(person.clone()),
        What::PeopleRemoved { first, others, .. } if owner == me && others.is_empty() => Some(first.clone()),
        _ => None,
    };
    let about = about.map(|person| {
        let label = format!("About {}", person.nickname);
        let address = person_address(chat.chat_id(), person.id);
        let about = Callback::new(move |()| Some(About { person: person.clone(), message: None }));
        view! { <AboutLink address label about one_of_many=true /> }
    });
    let and_all = matches!(what, What::PeopleRemoved { .. }).then_some(" and all their messages");
    let (who, did, name) = told(what, me, owner);
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

/// What happened in words for a reader: who, what they did, and what or whom it was about.
fn told(what: What, me: UserId, owner: UserId) -> (String, &'static str, Option<String>) {
    let you = |id: UserId, nickname: Nickname| if id == me { "You".to_owned() } else { nickname.to_string() };
    let whom = |user: User| if user.id == me { "you".to_owned() } else { user.nickname.to_string() };
    match what {
        What::Started { owner, nickname, guest: Some(guest), .. } => {
            (you(owner, nickname), " started this private chat with ", Some(whom(guest)))
        }
        What::Started { owner, nickname, .. } => (you(owner, nickname), " started this chat", None),
        What::Renamed { user, from, to } => {
            let did = if user == me { " are now called " } else { " is now called " };
            (you(user, from), did, Some(to.to_string()))
        }
        What::TitleEdited { nickname, title } => {
            (you(owner, nickname), " changed the title to ", Some(title.to_string()))
        }
        What::VisibilitySet { nickname, visibility } => {
            let did = match visibility {
                Visibility::Public => " made this chat public",
                Visibility::Private => " made this chat private",
            };
            (you(owner, nickname), did, None)
        }
        What::Invited { by, to } => (you(by.id, by.nickname), " invited ", Some(whom(to))),
        What::InviteAnswered { by, answer } => {
            let did = match answer {
                Answer::Accept => " accepted the invite",
                Answer::Decline => " declined the invite",
            };
            (you(by.id, by.nickname), did, None)
        }
        What::InviteWithdrawn { by, .. } => {
            (you(by.id, by.nickname), " left before the invite was answered", None)
        }
        What::PersonRemoved { nickname, person } => (you(owner, nickname), " removed ", Some(whom(person))),
        What::PersonAdmitted { nickname, person } => {
            (you(owner, nickname), " readmitted ", Some(whom(person)))
        }
        What::PeopleRemoved { nickname, first, others } if others.is_empty() => {
            (you(owner, nickname), " removed ", Some(whom(first)))
        }
        What::PeopleRemoved { nickname, others, .. } => {
            let people = people(others.len() + 1).to_lowercase();
            (you(owner, nickname), " removed ", Some(people))
        }
        What::LockSet { nickname, is_locked } => {
            let did = if is_locked { " locked this chat" } else { " unlocked this chat" };
            (you(owner, nickname), did, None)
        }
        // these have lines of another kind, or none
        What::Posted(_) | What::Blank(_) | What::MessageRemoved { .. } | What::OwnRemoved { .. } => {
            (String::new(), "", None)
        }
    }
}

#[component]
fn MessageView(
    message: Message,
    /// Its place, where it was stored when this line was made.
    place: Option<Seq>,
    at: Timestamp,
    own: bool,
    starts_group: bool,
    is_new: bool,
) -> impl IntoView {
    let chat = LiveChat::here();
    let Message { author, nickname, client_id, body } = message;
    // What is stored stays stored, and is not followed.
    let delivery = place.is_none().then(|| {
        Derived::new(move |before: Option<&Delivery>| match before {
            Some(stored @ Delivery::Stored(_)) => *stored,
            _ => chat.timeline.with(|timeline| timeline.delivery(client_id)).unwrap_or(Delivery::Stored(at)),
        })
    });
    let at = move || match delivery.map(Derived::get) {
        Some(Delivery::Stored(at)) => at,
        Some(Delivery::Waits(_)) | None => at,
    };
    let person = User { id: author, nickname: nickname.clone() };
    let about = Callback::new(move |()| {
        let place =
            place.or_else(|| chat.timeline.with_untracked(|timeline| timeline.place(author, client_id)));
        place.map(|place| About { person: person.clone(), message: Some(place) })
    });
    let address = place.map(|place| message_address(chat.chat_id(), place)).unwrap_or_default();
    view! {
        <li class="message" class:own=own class:first=starts_group class:new=is_new>
            {head(author, nickname, at, starts_group)}
            {body_view(&body)}
            {delivery.map(|delivery| view! { <DeliveryView client_id delivery /> })}
            <AboutLink address label="About this message" about one_of_many=true />
        </li>
    }
}

/// Who said something and when; for assistive technology alone where that stands above already.
fn head(
    author: UserId,
    nickname: Nickname,
    at: impl Fn() -> Timestamp + Copy + Send + 'static,
    starts_group: bool,
) -> AnyView {
    let name = nickname.to_string();
    if starts_group {
        view! {
            <Avatar id=author nickname />
            <p class="by">
                <strong dir="auto" translate="no">{name}</strong>
                {clock(at)}
            </p>
        }
        .into_any()
    } else {
        view! { <p class="by hidden"><span translate="no">{name}</span> " " {clock(at)}</p> }.into_any()
    }
}

/// What is left of a message that was removed.
#[component]
fn BlankView(blank: Blank, at: Timestamp, me: UserId, starts_group: bool) -> impl IntoView {
    let Blank { author, nickname, by, .. } = blank;
    let said = match by {
        RemovedBy::Author => "Message removed",
        RemovedBy::Owner => "Message removed by the owner",
    };
    view! {
        <li class="message" class:own=author == me class:first=starts_group>
            {head(author, nickname, move || at, starts_group)}
            <p class="gone soft">{said}</p>
        </li>
    }
}

/// That somebody said something whom the reader has hidden, and the way to see it after all.
#[component]
fn HiddenView(hidden: HiddenMessages) -> impl IntoView {
    let HiddenMessages { person: User { id, nickname }, count, .. } = hidden;
    let problem = State::new(None::<Problem>);
    let name = nickname.to_string();
    let said = if count == 1 { "A message from ".to_owned() } else { format!("{count} messages from ") };
    view! {
        <li class="system hidden-messages">
            {said}
            <bdi translate="no">{name.clone()}</bdi>
            ", whom you have hidden"
            <Act
                action=SetHidden::PATH
                fields=vec![("person", id.to_string()), ("is_hidden", false.to_string())]
                ask=Ask::SetHidden { person: id, is_hidden: false }
                problem
                done=Callback::new(|()| ())
            >
                "Show"
                <span class="hidden">" " <bdi translate="no">{name}</bdi> " again"</span>
            </Act>
            <ProblemLine problem />
        </li>
    }
}

/// Whether an own message is on its way, and what to do if it is not; nothing once it is stored.
#[component]
fn DeliveryView(client_id: ClientId, delivery: Derived<Delivery>) -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let problem = move || match delivery.get() {
        Delivery::Waits(problem) => problem,
        Delivery::Stored(_) => None,
    };
    let is_stuck = move || problem().is_some() || live.connection.get() == Connection::Offline;
    // what waits for a connection can be taken back
    let can_be_dropped = move || is_stuck() || live.is_in_doubt.get();
    let is_over = move || live.ended.with(Option::is_some);
    // what is true of several is said once, with the last of them
    let is_last = Derived::new(move |_| {
        chat.timeline
            .with(|timeline| timeline.on_their_way().last().is_none_or(|last| last.client_id == client_id))
    });
    let said = move || match problem() {
        _ if is_over() => "Not sent".to_owned(),
        // it says what is so now
        Some(Problem::ChatLocked) if chat.keeps_silent().is_none() => {
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
    // the buttons go, and the focus with them, to where one writes on
    let write_on = move |text: Option<Body>| {
        if let Some(ComposerField(field)) = composer {
            composer::write_on(field, text);
        }
    };
    let retry = move |_| {
        chat.retry(client_id);
        write_on(None);
    };
    let edit = move |_| write_on(chat.discard(client_id));
    let discard = move |_| {
        chat.discard(client_id);
        write_on(None);
    };
    view! {
        <Show when=move || matches!(delivery.get(), Delivery::Waits(_))>
            <p class="delivery" class:stuck=flag(is_stuck)>
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

/// The time of day where the reader is; UTC until the browser has taken over.
fn clock(at: impl Fn() -> Timestamp + Send + 'static) -> impl IntoView {
    let live = Live::here();
    move || {
        let at = at();
        let there = local(at, live.offset_minutes.get()(at));
        let date = there.utc_date();
        // style/timeline.css says so beside it
        let zone = if live.courier().is_none() { " UTC" } else { "" };
        view! {
            <time translate="no" datetime=at.to_string() title=format!("{date}, {}{zone}", there.utc_clock_with_seconds())>
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
            <time datetime=at.to_string() title=text(move || there(at).utc_date())>
                {words(move || there(at).utc_day_in_words(there(live.now.get())))}
            </time>
        </li>
    }
}
