//! One line of the timeline.

use domain::{
    ClientId, Message, Nickname, Problem, Seq, Timestamp, UserId, What,
    timeline::{Pending, Row, RowContent, local},
};
use leptos::prelude::*;

use crate::{
    live::{Connection, Live},
    view::avatar::Avatar,
};

/// A line of the timeline, below a line for its day where one begins.
#[component]
pub fn RowView(
    /// The line.
    row: Row,
    /// Who reads.
    me: UserId,
    /// The newest event of the page as it arrived: what came later may move a little.
    arrived_with: Seq,
) -> impl IntoView {
    let live = Live::here();
    let Row { content, starts_day, starts_group } = row;
    match content {
        RowContent::Stored(event) => {
            let at = event.at;
            let day = starts_day.then(|| view! { <DayLine at /> });
            match event.what.clone() {
                What::Started { owner, nickname, .. } => {
                    let who = if owner == me { "You".to_owned() } else { nickname.to_string() };
                    view! {
                        {day}
                        <li class="system">
                            <bdi>{who}</bdi>
                            " started this chat"
                        </li>
                    }
                    .into_any()
                }
                What::Posted(Message { author, nickname, body, .. }) => {
                    let is_new = event.seq > arrived_with && author != me;
                    let text = body.to_string();
                    view! {
                        {day}
                        <MessageView author nickname at text own=author == me starts_group is_new waits=None />
                    }
                    .into_any()
                }
            }
        }
        RowContent::Pending(Pending { client_id, body, at, problem }) => {
            let day = starts_day.then(|| view! { <DayLine at /> });
            let nickname = live.me.with_untracked(|me| me.nickname.clone());
            let (text, waits) = (body.to_string(), Some(Waits { client_id, problem }));
            view! {
                {day}
                <MessageView author=me nickname at text own=true starts_group is_new=true waits />
            }
            .into_any()
        }
    }
}

/// An own message that is not stored yet.
#[derive(Clone, Copy)]
struct Waits {
    client_id: ClientId,
    problem: Option<Problem>,
}

#[component]
fn MessageView(
    author: UserId,
    nickname: Nickname,
    at: Timestamp,
    text: String,
    own: bool,
    starts_group: bool,
    is_new: bool,
    waits: Option<Waits>,
) -> impl IntoView {
    let name = nickname.to_string();
    let head = if starts_group {
        view! {
            <Avatar id=author nickname />
            <p class="by">
                <strong dir="auto">{name}</strong>
                <Clock at />
            </p>
        }
        .into_any()
    } else {
        view! { <p class="by hidden">{name} " " <Clock at /></p> }.into_any()
    };
    view! {
        <li class="message" class:own=own class:first=starts_group class:new=is_new class:waiting=waits.is_some()>
            {head}
            <p class="body" dir="auto">
                {text}
            </p>
            {waits.map(|waits| view! { <Delivery waits /> })}
        </li>
    }
}

/// Whether an own message is on its way, and what to do if it is not.
#[component]
fn Delivery(waits: Waits) -> impl IntoView {
    let live = Live::here();
    let Waits { client_id, problem } = waits;
    let is_stuck = move || problem.is_some() || live.connection.get() == Connection::Offline;
    let said = move || match problem {
        Some(problem) => format!("Not sent. {problem}"),
        None if is_stuck() => "Not sent. You are offline; it goes out when you are back.".to_owned(),
        None => "Sending".to_owned(),
    };
    view! {
        <p class="delivery" class:stuck=is_stuck>
            <span>{said}</span>
            <Show when=is_stuck>
                <button type="button" class="quiet" on:click=move |_| live.retry(client_id)>
                    "Retry"
                </button>
            </Show>
        </p>
    }
}

/// The time of day where the reader is; UTC until the browser has taken over.
#[component]
fn Clock(at: Timestamp) -> impl IntoView {
    let live = Live::here();
    let there = move || local(at, live.offset_minutes.get());
    view! {
        <time datetime=at.to_string() title=move || format!("{}, {}", there().utc_date(), there().utc_clock())>
            {move || there().utc_clock()}
        </time>
    }
}

#[component]
fn DayLine(at: Timestamp) -> impl IntoView {
    let live = Live::here();
    view! { <li class="day">{move || local(at, live.offset_minutes.get()).utc_date()}</li> }
}
