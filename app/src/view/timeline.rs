//! What was said, oldest first, with the newest in view.

use domain::{Chat, Seq, Timeline};
use leptos::{
    ev::{FocusEvent, KeyboardEvent, MouseEvent},
    html::Div,
    prelude::*,
    wasm_bindgen::JsCast,
    web_sys::{Event, HtmlDivElement, HtmlElement},
};

use crate::{
    live::{Connection, LiveChat},
    view::{
        about::ABOUT_LINK,
        anchor::Anchor,
        follow::{Show, maybe_words, words},
        icon,
        item::Item,
        list::list,
        message::{Line, line_view, lines},
    },
};

/// A reader this many pixels from the end is at the end.
const NEAR_THE_END: f64 = 120.0;

/// The line above what is new.
const NEW_LINE: &str = ".new-since";

/// What the tab of a chat is called, with so many messages in it that were not looked at.
pub fn tab_title(title: &str, missed: usize) -> String {
    if missed == 0 { format!("{title} · Qchat") } else { format!("({missed}) {title} · Qchat") }
}

/// The timeline. Its scroller counts from the bottom (`column-reverse` around a single list in reading order): it
/// opens at the newest and stays there while messages come, without any script. The place of a reader who has scrolled up
/// is kept by an [`Anchor`].
#[component]
pub fn TimelineView(
    /// Whether there is something newer than what the page arrived with. A page that is alive gets it by itself.
    later: bool,
) -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let id = chat.chat_id();
    let scroller = NodeRef::<Div>::new();
    let anchor = Anchor::new(scroller);
    let has_earlier = Memo::new(move |_| chat.timeline.with(Timeline::has_earlier));
    let has_later = Memo::new(move |_| chat.timeline.with(Timeline::has_later));
    let is_scrolled_up = RwSignal::new(false);
    let is_away = Memo::new(move |_| is_scrolled_up.get() || has_later.get());
    let has_unseen = Memo::new(move |_| is_away.get() && chat.timeline.with(Timeline::has_missed));
    let to_end = move || {
        anchor.lift();
        if let Some(scroller) = scroller.try_get_untracked().flatten() {
            scroller.set_scroll_top(0);
        }
    };
    // the newest may have been let go meanwhile: then a page with them comes first, once there is a connection
    let wants_newest = StoredValue::new(false);
    let to_newest = move || {
        let is_asked = chat.turn_to_newest();
        wants_newest.set_value(!is_asked && has_later.get_untracked());
        if !is_asked {
            to_end();
        }
    };
    Effect::new(move |_| {
        if live.connection.get() == Connection::Connected && wants_newest.get_value() {
            to_newest();
        }
    });
    // What is new since one looked away begins below a line. It stays until one says something, or until
    // more is new after one has looked away again.
    let line = RwSignal::new(None::<Seq>);
    let is_line_old = StoredValue::new(true);
    let first_new = Memo::new(move |_| {
        line.get().and_then(|line| chat.timeline.with(|timeline| timeline.first_after(line)))
    });
    let is_looking = Memo::new(move |_| live.is_visible.get() && !is_away.get());
    Effect::new(move |was_looking: Option<bool>| {
        let is_looking = is_looking.get();
        if was_looking == Some(true) && !is_looking {
            is_line_old.set_value(true);
        }
        chat.look(is_looking);
        is_looking
    });
    Effect::new(move |_| {
        let (has_missed, seen) = chat.timeline.with(|timeline| (timeline.has_missed(), timeline.seen()));
        if !is_looking.get() && has_missed && is_line_old.get_value() {
            is_line_old.set_value(false);
            line.set(Some(seen));
        }
    });
    let items = move || {
        anchor.rows_will_change();
        let (me, offset, first_new) = (live.me.with(|me| me.id), live.offset_minutes.get(), first_new.get());
        let lines = chat.timeline.with(|timeline| lines(timeline, offset, first_new));
        let mut last = Seq::ZERO;
        let place = |line: &Line| {
            last = line.seq().unwrap_or(last);
            last
        };
        anchor.rows_are(lines.iter().map(place).collect());
        lines.into_iter().map(|line| Item::new(line.key(me, offset), line)).collect()
    };
    // Where more is new than fits into the view, it begins above: a button leads there, until one has been there.
    let is_line_above = RwSignal::new(false);
    let line_element = move || {
        let line = scroller.try_get_untracked().flatten()?.query_selector(NEW_LINE).ok()??;
        line.dyn_into::<HtmlElement>().ok()
    };
    // so much may be new that it begins in an earlier page
    let page_of_line = move || {
        let line = line.get_untracked()?;
        chat.timeline.with_untracked(|timeline| timeline.begins_after(line)).then_some(line)
    };
    let line_is_above = move || {
        let scrolled = scroller.try_get_untracked().flatten().map_or(0, |scroller| scroller.scroll_top());
        page_of_line().is_some()
            || line_element().is_some_and(|line| line.offset_top() + line.offset_height() < scrolled)
    };
    let scroll_to_line = move || {
        if let Some(line) = line_element() {
            line.scroll_into_view();
        }
    };
    let to_line = move |_| match page_of_line() {
        Some(line) => drop(chat.turn_to_after(line)),
        None => scroll_to_line(),
    };
    Effect::new(move |_| {
        if line.get().is_some() && is_looking.get() {
            // the line is there with the next frame
            let _ = request_animation_frame(move || is_line_above.set(line_is_above()));
        } else {
            is_line_above.set(false);
        }
    });
    // Whoever asked for a page to read there is led to what they asked for, once it is shown.
    Effect::new(move |before: Option<usize>| {
        let turned = chat.turned.get();
        if before.is_some_and(|before| before != turned) {
            let _ =
                request_animation_frame(
                    move || {
                        if has_later.get_untracked() { scroll_to_line() } else { to_end() }
                    },
                );
        }
        turned
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
    let missed = Memo::new(move |_| chat.timeline.with(Timeline::missed));
    Effect::new(move |_| {
        let title = chat.chat.with(|chat| chat.title.to_string());
        document().set_title(&tab_title(&title, missed.get()));
    });
    // What is above and below comes before one has scrolled to it.
    let scrolled = move |_| {
        let Some(scroller) = scroller.get_untracked() else { return };
        let from_end = anchor.scrolled(has_later.get_untracked());
        let is_up = from_end > NEAR_THE_END;
        if is_scrolled_up.get_untracked() != is_up {
            is_scrolled_up.set(is_up);
        }
        if is_line_above.get_untracked() && !line_is_above() {
            is_line_above.set(false);
        }
        let height = f64::from(scroller.client_height());
        if f64::from(scroller.scroll_height()) - from_end < 2.0 * height {
            chat.load_earlier();
        } else if from_end < height {
            chat.load_later();
        }
    };
    // A page of lines that are told as one may not fill the view; then nobody could scroll to what came before or after.
    Effect::new(move |_| {
        let (has_earlier, has_later) = (has_earlier.get(), has_later.get());
        let is_idle = !chat.loading.get() && live.connection.get() == Connection::Connected;
        if !is_idle || !(has_earlier || has_later) {
            return;
        }
        let _ = request_animation_frame(move || {
            let fits = |scroller: HtmlDivElement| scroller.scroll_height() <= scroller.client_height();
            if scroller.try_get_untracked().flatten().is_some_and(fits) {
                if has_later {
                    chat.load_later()
                } else {
                    chat.load_earlier()
                };
            }
        });
    });
    // what one reads stays where it is, whatever comes, goes or changes
    anchor.watch();
    chat.show_by(move || anchor.in_view());
    // Every line has a link to more about it. Tab stops at one of them, that of the newest line at first, and the arrows
    // lead from there to the others (ARIA Authoring Practices, roving tabindex).
    let focused = move |event: FocusEvent| {
        let (Some(scroller), Some(element)) = (scroller.get_untracked(), element_of(&event)) else { return };
        if element.class_list().contains(ABOUT_LINK) {
            rove(&scroller, &element);
        } else if let Some(newest) = about_links(&scroller).last() {
            rove(&scroller, newest);
        }
    };
    Effect::new(move |_| {
        if live.is_hydrated.get()
            && let Some(scroller) = scroller.get()
            && let Some(newest) = about_links(&scroller).last()
        {
            rove(&scroller, newest);
        }
    });
    let key_down = move |event: KeyboardEvent| {
        let (Some(scroller), Some(element)) = (scroller.get_untracked(), element_of(&event)) else { return };
        let links = about_links(&scroller);
        let Some(place) = links.iter().position(|link| *link == element) else { return };
        let next = match event.key().as_str() {
            "ArrowUp" => place.checked_sub(1),
            "ArrowDown" => Some(place + 1),
            "Home" => Some(0),
            "End" => links.len().checked_sub(1),
            _ => return,
        };
        event.prevent_default();
        if let Some(link) = next.and_then(|next| links.get(next)) {
            let _ = link.focus();
        }
    };
    let earlier = move || chat.timeline.with(|timeline| timeline.oldest().filter(|_| timeline.has_earlier()));
    let load = move |event: MouseEvent| {
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
            on:scroll=scrolled
            on:focusin=focused
            on:keydown=key_down
        >
            {later
                .then(|| {
                    view! {
                        <p class="more without-life">
                            <a href=format!("/chat/{id}")>"Newest messages"</a>
                        </p>
                    }
                })}
            <Show when=move || has_later.get()>
                <p class="more">
                    <a href=format!("/chat/{id}") on:click=load_later>
                        "Later messages"
                    </a>
                </p>
            </Show>
            <Alone />
            <ol class="timeline">
                {list(None, items, line_view)}
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
        <Show when=move || is_line_above.get()>
            <button type="button" class="to-line" on:click=to_line>
                {icon::up()}
                "First new message"
            </button>
        </Show>
        <ToNewest
            has_unseen
            is_away
            go=Callback::new(move |()| to_newest())
        />
        </div>
    }
    .into_any()
}

fn element_of(event: &Event) -> Option<HtmlElement> {
    event.target()?.dyn_into().ok()
}

/// The links to more of all lines that have one to be seen, in their order.
fn about_links(scroller: &HtmlDivElement) -> Vec<HtmlElement> {
    let links = scroller.get_elements_by_class_name(ABOUT_LINK);
    let link = |place| links.item(place)?.dyn_into::<HtmlElement>().ok();
    (0..links.length()).filter_map(link).filter(|link| link.offset_parent().is_some()).collect()
}

/// Lets Tab stop at this link and at no other.
fn rove(scroller: &HtmlDivElement, link: &HtmlElement) {
    for other in about_links(scroller) {
        other.set_tab_index(if other == *link { 0 } else { -1 });
    }
}

/// What a chat says in which nobody has said anything yet, to whoever is alone in it.
#[component]
fn Alone() -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let said = Memo::new(move |_| {
        let is_alone = chat.roster.with(|roster| roster.count) <= 1;
        let is_quiet = chat.timeline.with(Timeline::is_quiet);
        if !is_alone || !is_quiet || live.ended.with(Option::is_some) {
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
        <Show when=move || said.get().is_some()>
            <p class="alone soft">{maybe_words(move || said.get())}</p>
        </Show>
    }
}

/// What there is to say to a reader who has scrolled up, and the way back to the end.
#[component]
fn ToNewest(has_unseen: Memo<bool>, is_away: Memo<bool>, go: Callback<()>) -> impl IntoView {
    let label = move || if has_unseen.get() { "New messages" } else { "Newest messages" };
    view! {
        <Show when=move || is_away.get()>
            <button type="button" class="to-newest" class:unseen=move || has_unseen.get() on:click=move |_| go.run(())>
                {icon::down()}
                <span>{words(label)}</span>
            </button>
        </Show>
    }
}
