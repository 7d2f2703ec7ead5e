//! A search in a chat: `/chat/{id}?search={words}`, and `?mentions` for what is meant for the reader. It is static, and works
//! without a script; a live page shows what is found in a dialog (`style/public/later/search.js`).

use domain::{
    ChatId, Seq, Timestamp,
    search::{self, Found, Hit, Neighbor, Part, Sought},
};
use leptos::prelude::*;

use crate::view::{avatar::Avatar, icon};

/// The id of the element with what was found, which a live page takes from this one.
const FOUND_ID: &str = "found";

/// The page with a search in a chat.
#[component]
pub fn SearchPage(
    /// What is shown.
    page: search::SearchPage,
) -> impl IntoView {
    let search::SearchPage { chat, now, sought, found } = page;
    let address = format!("/chat/{}", chat.id);
    let (typed, is_of_mentions) = match &sought {
        Sought::Words(typed) => (typed.clone(), false),
        Sought::Mentions => (String::new(), true),
    };
    let found = (!sought.is_nothing()).then(|| match found {
        Ok(found) => found_view(chat.id, now, &sought, found),
        Err(problem) => view! {
            <p class="problem" role="alert">
                {problem.to_string()}
            </p>
        }
        .into_any(),
    });
    view! {
        <div class="search-page">
            <header class="chat-header">
                <a class="quiet" href=address.clone()>
                    {icon::back()}
                    <span class="hidden">"Back to the chat"</span>
                </a>
                <div class="title">
                    <h1 dir="auto">{chat.title.to_string()}</h1>
                </div>
            </header>
            <main>
                <form class="search-form" method="get" action=address.clone() role="search">
                    <div class="filter">
                        {icon::search()}
                        <input
                            type="search"
                            name="search"
                            aria-label="Search this chat"
                            placeholder="Search this chat"
                            value=typed
                            autocomplete="off"
                            enterkeyhint="search"
                            dir="auto"
                        />
                    </div>
                    <button class="primary">"Search"</button>
                    <a class="quiet" href=format!("{address}?mentions") aria-current=is_of_mentions.then_some("page")>
                        "My mentions"
                    </a>
                </form>
                <div id=FOUND_ID>{found}</div>
            </main>
        </div>
    }
    .into_any()
}

/// Shows what was found, and a form to look further back.
fn found_view(chat: ChatId, now: Timestamp, sought: &Sought, found: Found) -> AnyView {
    let Found { hits, next, looked_to } = found;
    let count = match hits.len() {
        0 => "Nothing found".to_owned(),
        count => format!("{count} found"),
    };
    let looked_to = next.and(looked_to).map(|at| {
        view! {
            ", back to "
            {time_view(at, now)}
        }
    });
    let hits = hits.into_iter().map(|hit| hit_view(chat, now, hit)).collect_view();
    view! {
        <p class="found-count soft" role="status">
            {count}
            {looked_to}
        </p>
        <ol class="found" aria-label="Found">
            {hits}
        </ol>
        {next.map(|next| further_view(chat, sought, next))}
    }
    .into_any()
}

/// The form that looks further back.
fn further_view(chat: ChatId, sought: &Sought, next: Seq) -> AnyView {
    let (name, value) = match sought {
        Sought::Words(typed) => ("search", typed.clone()),
        Sought::Mentions => ("mentions", String::new()),
    };
    view! {
        <form class="more" method="get" action=format!("/chat/{chat}")>
            <input type="hidden" name=name value=value />
            <input type="hidden" name="before" value=next.to_string() />
            <button class="quiet">"Look further back"</button>
        </form>
    }
    .into_any()
}

/// A message that was found, which leads to its place in the chat, with those beside it.
fn hit_view(chat: ChatId, now: Timestamp, hit: Hit) -> AnyView {
    let Hit { event, excerpt, before, after } = hit;
    let Some(message) = event.kind.message() else { return ().into_any() };
    view! {
        <li>
            {before.map(neighbor_view)}
            <a class="found-message" href=format!("/chat/{chat}?at={}", event.seq) data-seq=event.seq.to_string()>
                <Avatar id=message.author nickname=message.nickname.clone() />
                <span class="found-by">
                    <strong dir="auto" translate="no">
                        {message.nickname.to_string()}
                    </strong>
                    " "
                    {time_view(event.at, now)}
                </span>
                <span class="found-text" dir="auto">
                    {excerpt.into_iter().map(part_view).collect_view()}
                </span>
            </a> {after.map(neighbor_view)}
        </li>
    }
    .into_any()
}

/// A message beside one that was found.
fn neighbor_view(Neighbor { nickname, line, .. }: Neighbor) -> AnyView {
    view! {
        <p class="found-beside soft">
            <bdi translate="no">{nickname.to_string()}</bdi>
            ": "
            <bdi>{line.to_string()}</bdi>
        </p>
    }
    .into_any()
}

fn part_view(Part { text, is_found }: Part) -> AnyView {
    if is_found { view! { <mark>{text}</mark> }.into_any() } else { text.into_any() }
}

/// Shows when something was, by the clock in UTC and, if it was not today, with the day. A live page shows it in the time
/// zone of its reader.
fn time_view(at: Timestamp, now: Timestamp) -> impl IntoView {
    let (day, clock) = (at.utc_day_in_words(now), at.utc_clock());
    let words = if at.utc_day() == now.utc_day() { clock } else { format!("{day}, {clock}") };
    view! {
        <time translate="no" datetime=at.to_string()>
            {words}
        </time>
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        Body, Chat, ClientId, Event, EventKind, Line, Message, Nickname, Problem, Title, UserId, Visibility,
        id::ID_BYTES,
    };

    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1_000;

    fn chat() -> Chat {
        Chat {
            id: ChatId::from_bytes([7; ID_BYTES]),
            title: Title::parse("Tea & cake").unwrap(),
            owner: UserId::from_bytes([1; ID_BYTES]),
            visibility: Visibility::Public,
            started_at: Timestamp(0),
            seq: Seq(9),
            said_at: None,
            guest: None,
            is_locked: false,
            removed: Vec::new(),
        }
    }

    fn hit() -> Hit {
        let (author, client_id) = (UserId::from_bytes([2; ID_BYTES]), ClientId::from_bytes([3; ID_BYTES]));
        let nickname = Nickname::parse("Ana").unwrap();
        let said = Message::plain(author, nickname.clone(), client_id, Body::parse("<b> tea").unwrap());
        let kind = EventKind::Said(Box::new(said));
        let part = |text: &str, is_found| Part { text: text.to_owned(), is_found };
        let beside =
            Neighbor { seq: Seq(4), author, nickname, at: Timestamp(0), line: Line::beginning("Hm?") };
        Hit {
            event: Event { chat: chat().id, seq: Seq(5), prev: Seq(4), at: Timestamp(5 * DAY), kind },
            excerpt: vec![part("<b> ", false), part("tea", true)],
            before: Some(beside),
            after: None,
        }
    }

    /// Returns the page as HTML, without the comments for hydration.
    fn html(sought: Sought, found: Result<Found, Problem>) -> String {
        let page = search::SearchPage { chat: chat(), now: Timestamp(6 * DAY), sought, found };
        Owner::new().with(|| view! { <SearchPage page /> }.to_html()).replace("<!>", "")
    }

    #[test]
    fn a_page_has_what_was_found_with_what_is_beside_it_and_the_way_on() {
        let found = Found { hits: vec![hit()], next: Some(Seq(5)), looked_to: Some(Timestamp(4 * DAY)) };
        let html = html(Sought::Words("\"tea\"".to_owned()), Ok(found));
        for expected in [
            "Tea &amp; cake",
            "value=\"&quot;tea&quot;\"",
            "1 found, back to ",
            "&lt;b&gt; <mark>tea</mark>",
            "/chat/0w3ge1r70w3ge1r7?at=5",
            "Yesterday, 00:00",
            "Hm?",
            "name=\"before\" value=\"5\"",
            "Look further back",
        ] {
            assert!(html.contains(expected), "{expected} is not in {html}");
        }
        assert!(!html.contains("<b>"));
    }

    #[test]
    fn a_page_says_that_nothing_was_found_or_why_nothing_was_looked_for() {
        let nothing = html(Sought::Mentions, Ok(Found::default()));
        assert!(nothing.contains("Nothing found") && nothing.contains("aria-current=\"page\""), "{nothing}");
        let refused = html(Sought::Words("tea".to_owned()), Err(Problem::SearchTooLong));
        assert!(refused.contains(&Problem::SearchTooLong.to_string()), "{refused}");
        let empty = html(Sought::Words(String::new()), Ok(Found::default()));
        assert!(!empty.contains("Nothing found") && empty.contains("Search this chat"), "{empty}");
    }
}
