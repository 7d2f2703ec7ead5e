//! What was said, oldest first, with the newest in view.

use domain::timeline::Row;
use leptos::prelude::*;

use crate::{live::Live, view::message::RowView};

/// The timeline. Its scroller counts from the bottom (`column-reverse` around a single list in reading order): it
/// opens at the newest without any script, stays there while messages come, and keeps the place of a reader who has
/// scrolled up.
#[component]
pub fn TimelineView() -> impl IntoView {
    let live = Live::here();
    let me = move || live.me.with(|me| me.id);
    let rows = move || live.timeline.with(|timeline| timeline.rows(live.offset_minutes.get()));
    // An own message is the same row before and after it is stored, so that nothing blinks and focus stays.
    let key =
        move |row: &Row| (row.key(live.me.with_untracked(|me| me.id)), row.starts_day, row.starts_group);
    let arrived_with = live.cursor().seq;
    view! {
        <div class="scroller" role="log" aria-label="Messages" tabindex="0">
            <ol class="timeline">
                <For each=rows key=key let:row>
                    <RowView row me=me() arrived_with />
                </For>
            </ol>
        </div>
    }
    .into_any()
}
