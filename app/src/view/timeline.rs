//! What was said, oldest first, with the newest in view.

use domain::timeline::{Row, RowContent};
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
    // A row is made anew only when it looks different: an own message when it is stored or fails.
    let key = move |row: &Row| {
        let waits = match &row.content {
            RowContent::Stored(_) => None,
            RowContent::Pending(pending) => Some(pending.problem),
        };
        (row.key(live.me.with_untracked(|me| me.id)), row.starts_day, row.starts_group, waits)
    };
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
