//! Times in the timeline: in the reader's time zone, or in UTC until the page is hydrated.

use domain::{Timestamp, timeline::local_time};
use leptos::prelude::*;

use crate::{
    live::{Live, LiveChat},
    view::{
        reactive_view::reactive_text,
        row_link::{ROW_LINK, TAB_STOP},
    },
};

const MILLIS_PER_DAY: u64 = 24 * 60 * 60 * 1_000;

/// Shows the time of day, with the date as tooltip and for assistive technology.
pub(super) fn clock(at: impl Fn() -> Timestamp + Send + 'static) -> impl IntoView {
    let live = Live::from_context();
    move || {
        let at = at();
        let there = local_time(at, live.offset_minutes.get()(at));
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

/// The mark of a message that was edited, with the time of that as tooltip and for assistive technology.
#[component]
pub fn Edited(
    /// When it was edited last.
    at: Timestamp,
) -> impl IntoView {
    let live = Live::from_context();
    let when = move || {
        let there = local_time(at, live.offset_minutes.get()(at));
        let zone = if live.transport().is_none() { " UTC" } else { "" };
        format!("{}, {}{zone}", there.utc_date(), there.utc_clock_with_seconds())
    };
    view! {
        <small class="edited" title=when>
            <span>"edited"</span>
            <time class="hidden" datetime=at.to_string()>
                {reactive_text(move || format!(", {}", when()))}
            </time>
        </small>
    }
    .into_any()
}

/// The line at the beginning of a day. It leads to the first message of that day: without a script, of the day in UTC.
#[component]
pub fn DayLine(
    /// The time of the first event of the day.
    at: Timestamp,
) -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let begins = at.utc_day() * MILLIS_PER_DAY;
    let there = move |at| local_time(at, live.offset_minutes.get()(at));
    view! {
        <li class="day">
            <a
                class=format!("{ROW_LINK} {TAB_STOP}")
                tabindex=live.is_hydrated.get_untracked().then_some("-1")
                href=format!("/chat/{}?since={begins}", chat.chat_id())
                data-call="go_to_day"
                data-seq=at.0.to_string()
            >
                <time datetime=at.to_string() title=move || there(at).utc_date()>
                    {reactive_text(move || there(at).utc_day_in_words(there(live.now.get())))}
                </time>
            </a>
        </li>
    }
}
