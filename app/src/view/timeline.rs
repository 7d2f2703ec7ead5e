//! The timeline of a chat, oldest event first, scrolled to the newest.

mod next_mention;
mod paging;
mod roving_tabindex;
mod unread;

use domain::{Chat, Seq, Timeline};
use leptos::{
    ev::{FocusEvent, KeyboardEvent, MouseEvent},
    html::Div,
    prelude::*,
    wasm_bindgen::JsCast,
    web_sys::HtmlElement,
};

use self::{next_mention::NextMention, paging::Paging, unread::UnreadLine};
use crate::{
    live::{LedTo, LiveChat},
    reactive::{effect, memo},
    view::{
        icon,
        list::list,
        list_item::ListItem,
        message::{
            line::{Line, lines},
            line_view,
        },
        reactive_view::{Show, optional_text, reactive_text},
        row_link::TAB_STOP,
        scroll_anchor::ScrollAnchor,
    },
};

/// Returns the title of the tab of a chat, with the number of messages that the reader has not seen: first of those that are meant
/// for the reader, then of the others.
pub fn tab_title(title: &str, unread_count: usize, mention_count: usize) -> String {
    match (mention_count, unread_count.saturating_sub(mention_count)) {
        (0, 0) => format!("{title} · Qchat"),
        (0, others) => format!("({others}) {title} · Qchat"),
        (mentions, 0) => format!("(@{mentions}) {title} · Qchat"),
        (mentions, others) => format!("(@{mentions} {others}) {title} · Qchat"),
    }
}

/// The timeline. Its scroller counts from the bottom (`column-reverse` around a single list in reading order): it opens
/// at the newest event and stays there while messages come, without a script. The place of a reader who has scrolled up
/// is kept by a [`ScrollAnchor`].
#[component]
pub fn TimelineView(
    /// Whether there are events after those the page was rendered with. A hydrated page loads them itself.
    later: bool,
) -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let id = chat.chat_id();
    let scroller = NodeRef::<Div>::new();
    let anchor = ScrollAnchor::new(scroller);
    let paging = Paging::new(chat, scroller, anchor);
    let is_away = memo(move || paging.is_away());
    let has_unseen = memo(move || is_away.get() && chat.timeline.with(Timeline::has_unseen));
    let unread = UnreadLine::new(chat, scroller, is_away);
    let mentions = NextMention::new(chat, anchor, is_away);
    let items = move || {
        anchor.before_rows_change();
        let (me, offset) = (live.me.with(|me| me.id), live.offset_minutes.get());
        let first_new = unread.first_new.get();
        let lines = chat.timeline.with(|timeline| lines(timeline, offset, first_new));
        let mut last = Seq::ZERO;
        let seq = |line: &Line| {
            last = line.seq().unwrap_or(last);
            last
        };
        anchor.set_rows(lines.iter().map(seq).collect());
        lines.into_iter().map(|line| ListItem::new(line.key(me, offset), line)).collect()
    };
    // When a requested part of the history has replaced the timeline, scrolls to what was requested.
    Effect::new(move |before: Option<usize>| {
        let count = chat.replacement_count.get();
        if before.is_some_and(|before| before != count) {
            let _ = request_animation_frame(move || {
                if paging.has_later.get_untracked() { unread.scroll() } else { paging.scroll_to_end() }
            });
        }
        count
    });
    // When the reader is led to a message, scrolls to it.
    effect(move || {
        if let Some(to) = chat.led_to.get() {
            let _ = request_animation_frame(move || lead_to(anchor, chat, to));
        }
    });
    // When the reader posts a message, scrolls to it.
    Effect::new(move |before: Option<usize>| {
        let count = chat.posted_count.get();
        if before.is_some_and(|before| before != count) {
            unread.clear();
            paging.go_to_newest();
        }
        count
    });
    // The title of the tab has the current title of the chat and the number of messages not seen.
    let counts =
        memo(move || chat.timeline.with(|timeline| (timeline.unread_count(), timeline.mentions().count())));
    effect(move || {
        let title = chat.chat.with(|chat| chat.title.to_string());
        let (unread, mentions) = counts.get();
        document().set_title(&tab_title(&title, unread, mentions));
    });
    let handle_scroll = move |_| {
        paging.handle_scroll();
        unread.handle_scroll();
        mentions.drop_seen();
    };
    // What is read stays in place, whatever is added, removed or changed.
    anchor.observe_resizes();
    chat.set_in_view(move || anchor.in_view());
    roving_tabindex::start(live, scroller);
    let handle_focus = move |event: FocusEvent| {
        if let Some(scroller) = scroller.get_untracked() {
            roving_tabindex::handle_focus(&scroller, &event);
        }
    };
    let handle_key = move |event: KeyboardEvent| {
        if let Some(scroller) = scroller.get_untracked() {
            roving_tabindex::handle_key(&scroller, &event);
        }
    };
    let earlier = move || chat.timeline.with(|timeline| timeline.oldest().filter(|_| timeline.has_earlier()));
    let load_earlier = move |event: MouseEvent| {
        if chat.load_earlier() {
            event.prevent_default();
        }
    };
    let load_later = move |event: MouseEvent| {
        if chat.load_later() {
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
                data-focus-home=""
                node_ref=scroller
                on:scroll=handle_scroll
                on:focusin=handle_focus
                on:keydown=handle_key
            >
                {later
                    .then(|| {
                        view! {
                            <p class="more without-hydration">
                                <a href=format!("/chat/{id}")>"Newest messages"</a>
                            </p>
                        }
                    })}
                <Show when=move || paging.has_later.get()>
                    <p class="more">
                        <a href=format!("/chat/{id}") on:click=load_later>
                            "Later messages"
                        </a>
                    </p>
                </Show>
                <Alone />
                <ol class="timeline">{list(None, items, line_view)}</ol>
                <Show when=move || earlier().is_some()>
                    <p class="more">
                        <a
                            href=move || earlier().map(|oldest| format!("/chat/{id}?before={oldest}"))
                            on:click=load_earlier
                        >
                            "Earlier messages"
                        </a>
                    </p>
                </Show>
            </div>
            <Show when=move || unread.is_above.get()>
                <button type="button" class="to-line" on:click=move |_| unread.go()>
                    {icon::up()}
                    "First new message"
                </button>
            </Show>
            {mentions.view()}
            <ToNewest has_unseen is_away go=Callback::new(move |()| paging.go_to_newest()) />
        </div>
    }
    .into_any()
}

/// Scrolls to the message that the reader is led to. With a keyboard the focus goes there as well, so that it goes on from
/// there.
fn lead_to(anchor: ScrollAnchor, chat: LiveChat, LedTo { seq, takes_focus }: LedTo) {
    let has_more = chat.timeline.with_untracked(Timeline::has_later);
    let Some(row) = anchor.lead_to(seq, has_more) else { return };
    let has_keyboard = chat.live.transport().is_some_and(|transport| transport.has_keyboard());
    let stop = row.query_selector(&format!(".{TAB_STOP}")).ok().flatten();
    if let Some(stop) = stop.and_then(|stop| stop.dyn_into::<HtmlElement>().ok())
        && takes_focus
        && has_keyboard
    {
        let _ = stop.focus();
    }
}

/// A hint in a chat without messages, for a reader who is alone in it.
#[component]
fn Alone() -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let hint = memo(move || {
        let is_alone = chat.roster.with(|roster| roster.count) <= 1;
        let has_no_messages = chat.timeline.with(Timeline::has_no_messages);
        if !is_alone || !has_no_messages || live.ended.with(Option::is_some) {
            return None;
        }
        let peer = chat.chat.with(|chat| chat.peer(live.me.with(|me| me.id)));
        Some(match (peer, chat.chat.with(Chat::invited)) {
            (None, _) => "Nobody else is here yet. Share the link: whoever opens it is in.",
            (Some(peer), Some(invited)) if peer == invited => {
                "The invite is on its way. You can write already: they will see it when they come."
            }
            (Some(_), _) => "They are not here just now. They will see what you write when they come.",
        })
    });
    view! {
        <Show when=move || hint.get().is_some()>
            <p class="alone soft">{optional_text(move || hint.get())}</p>
        </Show>
    }
}

/// The button that leads a reader who has scrolled up back to the newest event.
#[component]
fn ToNewest(has_unseen: Memo<bool>, is_away: Memo<bool>, go: Callback<()>) -> impl IntoView {
    let label = move || if has_unseen.get() { "New messages" } else { "Newest messages" };
    view! {
        <Show when=move || is_away.get()>
            <button type="button" class="to-newest" class:unseen=move || has_unseen.get() on:click=move |_| go.run(())>
                {icon::down()}
                <span>{reactive_text(label)}</span>
            </button>
        </Show>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_counts_what_is_meant_for_the_reader_apart() {
        for (unread, mentions, expected) in [
            (0, 0, "Tea · Qchat"),
            (5, 0, "(5) Tea · Qchat"),
            (7, 2, "(@2 5) Tea · Qchat"),
            (2, 2, "(@2) Tea · Qchat"),
            (1, 2, "(@2) Tea · Qchat"),
        ] {
            assert_eq!(tab_title("Tea", unread, mentions), expected);
        }
    }
}
