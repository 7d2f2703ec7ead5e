//! What was said, oldest first, with the newest in view.

use domain::{Seq, Timeline, timeline::Row};
use leptos::{ev::MouseEvent, html::Div, prelude::*, web_sys::HtmlDivElement};

use crate::{
    live::{Connection, LiveChat},
    shell,
    view::{icon, message::RowView},
};

/// A reader this many pixels from the end is at the end.
const NEAR_THE_END: i32 = 120;

/// The timeline. Its scroller counts from the bottom (`column-reverse` around a single list in reading order): it
/// opens at the newest without any script, stays there while messages come, and keeps the place of a reader who has
/// scrolled up.
#[component]
pub fn TimelineView(
    /// Whether there is something newer than what the page arrived with. A page that is alive gets it by itself.
    later: bool,
) -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let id = chat.chat_id();
    let arrived_with = chat.cursor().seq;
    let me = move || live.me.with(|me| me.id);
    let rows = move || chat.timeline.with(|timeline| timeline.rows(live.offset_minutes.get()));
    // An own message is the same row before and after it is stored, so that nothing blinks and focus stays.
    let key =
        move |row: &Row| (row.key(live.me.with_untracked(|me| me.id)), row.starts_day, row.starts_group);
    let scroller = NodeRef::<Div>::new();
    let (seen, set_seen) = signal(arrived_with);
    let (is_away, set_is_away) = signal(false);
    let newest = move || chat.timeline.with(|timeline| timeline.cursor().seq);
    let has_unseen = move || is_away.get() && newest() > seen.get();
    let to_newest = move || {
        if let Some(scroller) = scroller.get_untracked() {
            scroller.set_scroll_top(0);
        }
    };
    // What is new since one looked away begins below a line. It stays until one says something, or looks away again.
    let line = RwSignal::new(None::<Seq>);
    let first_new = Memo::new(move |_| {
        line.get().and_then(|seq| chat.timeline.with(|timeline| timeline.first_after(seq)))
    });
    let is_looking = Memo::new(move |_| live.is_visible.get() && !is_away.get());
    Effect::new(move |was_looking: Option<bool>| {
        let is_looking = is_looking.get();
        if was_looking == Some(true) && !is_looking {
            line.set(None);
        }
        is_looking
    });
    Effect::new(move || {
        let newest = newest();
        if is_looking.get() {
            set_seen.set(newest);
        } else if newest > seen.get_untracked() && line.get_untracked().is_none() {
            line.set(Some(seen.get_untracked()));
        }
    });
    // Whoever says something wants to see it said.
    Effect::new(move |before: Option<usize>| {
        let posted = chat.posted.get();
        if before.is_some_and(|before| before != posted) {
            line.set(None);
            to_newest();
        }
        posted
    });
    // The tab says what the chat is called now, and how much one has missed.
    let missed = Memo::new(move |_| chat.timeline.with(|timeline| timeline.said_after(seen.get())));
    Effect::new(move || {
        let title = chat.chat.with(|chat| chat.title.to_string());
        document().set_title(&shell::chat_title(&title, missed.get()));
    });
    // What is above comes before one has scrolled to it. The place stays, since the scroller counts from the bottom.
    let scrolled = move |_| {
        let Some(scroller) = scroller.get_untracked() else { return };
        set_is_away.set(-scroller.scroll_top() > NEAR_THE_END);
        let above = scroller.scroll_height() - scroller.client_height() + scroller.scroll_top();
        if above < scroller.client_height() {
            chat.load_earlier();
        }
    };
    // A page of lines that are told as one may not fill the view; then nobody could scroll to what came before.
    Effect::new(move || {
        let has_earlier = chat.timeline.with(Timeline::has_earlier);
        if !has_earlier || chat.loading.get() || live.connection.get() != Connection::Connected {
            return;
        }
        let _ = request_animation_frame(move || {
            let fits = |scroller: HtmlDivElement| scroller.scroll_height() <= scroller.client_height();
            if scroller.try_get_untracked().flatten().is_some_and(fits) {
                chat.load_earlier();
            }
        });
    });
    let earlier = move || chat.timeline.with(|timeline| timeline.oldest().filter(|_| timeline.has_earlier()));
    let load = move |event: MouseEvent| {
        if chat.load_earlier() {
            event.prevent_default();
        }
    };
    view! {
        <div class="scroller-frame">
        <div
            class="scroller"
            role="log"
            aria-label="Messages"
            aria-busy=move || chat.loading.get().then_some("true")
            tabindex="0"
            node_ref=scroller
            on:scroll=scrolled
        >
            {later
                .then(|| {
                    view! {
                        <p class="more without-life">
                            <a href=format!("/chat/{id}")>"Newest messages"</a>
                        </p>
                    }
                })}
            <ol class="timeline">
                <For each=rows key=key let:row>
                    <RowView row me=me() arrived_with first_new />
                </For>
            </ol>
            <Show when=move || earlier().is_some()>
                <p class="more">
                    <a
                        href=move || earlier().map(|oldest| format!("/chat/{id}?before={oldest}"))
                        on:click=load
                    >
                        "Earlier messages"
                    </a>
                </p>
            </Show>
        </div>
        <ToNewest
            has_unseen=Signal::derive(has_unseen)
            is_away
            go=Callback::new(move |()| to_newest())
        />
        </div>
    }
    .into_any()
}

/// What there is to say to a reader who has scrolled up, and the way back to the end.
#[component]
fn ToNewest(
    #[prop(into)] has_unseen: Signal<bool>,
    #[prop(into)] is_away: Signal<bool>,
    go: Callback<()>,
) -> impl IntoView {
    let label = move || if has_unseen.get() { "New messages" } else { "Newest messages" };
    view! {
        <Show when=move || is_away.get()>
            <button type="button" class="to-newest" class:unseen=has_unseen on:click=move |_| go.run(())>
                {icon::down()}
                {label}
            </button>
        </Show>
    }
}
