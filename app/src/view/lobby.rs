//! The public chats: those with members first, then the newest.

use domain::{
    Listing, Timestamp, User,
    lobby::{FILTER_LIMIT, LISTINGS_LIMIT, LobbyQuery, PAGE_LISTINGS},
};
use leptos::{
    ev::{MouseEvent, SubmitEvent},
    html::Input,
    prelude::*,
    wasm_bindgen::JsCast,
    web_sys::{Event, InputEvent},
};

use crate::{
    live::{LiveLobby, address},
    reactive::{effect, memo},
    view::{
        avatar::Avatar,
        icon,
        list::list,
        list_item::ListItem,
        members::people_here,
        reactive_view::{Show, reactive_text, reactive_view, static_text},
    },
};

const HEADING_ID: &str = "lobby-heading";

/// The public chats, with a filter.
#[component]
pub fn LobbyView() -> impl IntoView {
    let lobby = LiveLobby::from_context();
    // The button for new chats is within the element as well: it does not move before a click either.
    let pause = lobby.list_pause;
    effect(move || {
        let heading = document().get_element_by_id(HEADING_ID);
        if let Some(Ok(Some(section))) = heading.map(|heading| heading.closest("section")) {
            pause.pause_for(&section);
        }
    });
    let rows = move || {
        lobby.lobby.with(|lobby| {
            lobby.listings.iter().map(|listing| ListItem::new(listing.id, listing.clone())).collect()
        })
    };
    let new_chats = move || match pause.waiting.get() {
        1 => "1 new chat".to_owned(),
        number => format!("{number} new chats"),
    };
    let (shown, matching) = (
        memo(move || lobby.lobby.with(|lobby| lobby.listings.len())),
        memo(move || lobby.lobby.with(|lobby| lobby.matching)),
    );
    let is_filtered = move || lobby.query.with(|query| !query.filter.trim().is_empty());
    let more = move |event: MouseEvent| {
        if lobby.show_more() {
            event.prevent_default();
        }
    };
    let more_link = move || {
        lobby.query.with(|query| {
            address(&LobbyQuery { limit: shown.get() + PAGE_LISTINGS, filter: query.filter.clone() })
        })
    };
    let count = move || match (matching.get(), is_filtered()) {
        (0, _) => String::new(),
        (all, _) if all > shown.get() => format!("{} of {all}", shown.get()),
        (all, _) => all.to_string(),
    };
    view! {
        <section class="lobby" aria-labelledby=HEADING_ID>
            <div class="lobby-head">
                <h2 id=HEADING_ID>"Public chats"</h2>
                <span class="soft">{reactive_text(count)}</span>
                <Show when=move || { pause.waiting.get() > 0 }>
                    <button type="button" class="new-rows" on:click=move |_| pause.update_once()>
                        {reactive_text(new_chats)}
                    </button>
                </Show>
                <FilterField />
            </div>
            <ul
                class="listings"
                class:in-doubt=move || lobby.live.is_stale.get()
                aria-label="Public chats"
                tabindex="-1"
                data-focus-home=""
            >
                {list(Some(pause), rows, move |listing| listing_view(lobby, listing))}
            </ul>
            <Show when=move || shown.get() == 0>
                <p class="empty soft">
                    {reactive_text(move || {
                        if is_filtered() {
                            "No public chat has this in its title."
                        } else {
                            "No public chats yet. The first one that is started is listed here, for everybody to join."
                        }
                    })}
                </p>
            </Show>
            <Show when=move || { shown.get() < matching.get() && shown.get() < LISTINGS_LIMIT }>
                <p class="more">
                    <a href=more_link on:click=more>
                        "More chats"
                    </a>
                </p>
            </Show>
            <Show when=move || { shown.get() < matching.get() && shown.get() >= LISTINGS_LIMIT }>
                <p class="soft more">"These are the first. Filter by title to find others."</p>
            </Show>
        </section>
    }
    .into_any()
}

/// The filter: an ordinary form, which a live page applies with each keystroke.
#[component]
fn FilterField() -> impl IntoView {
    let lobby = LiveLobby::from_context();
    let field = NodeRef::<Input>::new();
    let typed = move || field.get_untracked().map(|field| field.value()).unwrap_or_default();
    let filter = move || {
        if lobby.query.with_untracked(|query| query.filter != typed()) {
            lobby.filter(typed());
        }
    };
    // Text that is being composed is not used.
    let input = move |event: Event| {
        if !event.dyn_ref::<InputEvent>().is_some_and(InputEvent::is_composing) {
            filter();
        }
    };
    // Text that was typed before the page was hydrated is used as well.
    effect(move || {
        if lobby.live.is_hydrated.get() {
            filter();
        }
    });
    let submit = move |event: SubmitEvent| {
        if lobby.live.is_hydrated.get_untracked() {
            event.prevent_default();
        }
    };
    view! {
        <form class="filter" method="get" action="/" role="search" on:submit=submit>
            {icon::search()}
            <input
                name="filter"
                type="search"
                aria-label="Filter by title"
                placeholder="Filter by title"
                autocomplete="off"
                maxlength=FILTER_LIMIT.to_string()
                dir="auto"
                value=lobby.query.with_untracked(|query| query.filter.clone())
                node_ref=field
                on:input=input
                on:compositionend=move |_| filter()
            />
        </form>
    }
    .into_any()
}

/// A public chat. Its elements stay when the chat changes, so that they keep the focus.
fn listing_view(lobby: LiveLobby, listing: RwSignal<Listing>) -> AnyView {
    let id = listing.with_untracked(|listing| listing.id);
    let title = move || listing.with(|listing| listing.title.to_string());
    // One reactive view for all the rest of a row, instead of one for each text: there are many rows.
    let about = move || listing.with(|listing| about_view(listing, lobby.live.now.get()));
    view! {
        <li class="listing">
            <a
                href=format!("/chat/{id}")
                dir="auto"
                on:click=move |event| lobby.live.guard_navigation(&event, lobby.live.notice)
            >
                {title}
            </a>
            {reactive_view(about)}
        </li>
    }
    .into_any()
}

fn about_view(listing: &Listing, now: Timestamp) -> AnyView {
    let faces = listing.faces.iter().cloned();
    let faces = faces.map(|User { id, nickname }| view! { <Avatar id nickname /> }).collect_view();
    let count = if listing.members == 0 { "Nobody here".to_owned() } else { people_here(listing.members) };
    // Small screens show the time only. The word before it stays for assistive technology.
    let event = if listing.said_at.is_some() { "last message " } else { "started " };
    let ago = listing.said_at.unwrap_or(listing.started_at).ago(now);
    view! {
        <span class="soft">
            <span class="count" class:occupied=listing.members != 0 translate="no">
                {static_text(count)}
            </span>
            " · "
            <span class="wide-only">{static_text(event)}</span>
            <span>{static_text(ago)}</span>
        </span>
        <span class="faces" aria-hidden="true">
            {faces}
        </span>
    }
    .into_any()
}
