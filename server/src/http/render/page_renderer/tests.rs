//! What visitors get from the cache, and what is rendered for each.

use std::io::Read;

use domain::{
    Body, ChatId, ClientId, Counts, Emoji, EmojiCount, Epoch, Event, EventKind, Invite, Lifetimes, Member,
    Message, MessageTally, Nickname, Seq, Span, Timestamp, Title, User, UserId, Visibility,
    id::ID_BYTES,
    page::{About, History},
};
use flate2::read::GzDecoder;

use super::*;
use crate::http::render::page_cache::MEMBERS_KEPT;

const HOUR: u64 = 60 * 60 * 1_000;

fn id(number: u8) -> UserId {
    UserId::from_bytes([number; ID_BYTES])
}

fn page(reader: u8, said: &str) -> ChatPage {
    let owner = User::new(id(1));
    let chat = ChatId::from_bytes([9; ID_BYTES]);
    let lifetimes =
        Lifetimes { chat: Span::seconds(1), user: Span::seconds(1), message: Span::seconds(86_400) };
    let (client_id, body) = (ClientId::from_bytes([4; ID_BYTES]), Body::parse(said).unwrap());
    let message = Message::plain(owner.id, owner.nickname.clone(), client_id, body);
    let kind = EventKind::Said(Box::new(message));
    let event = Event { chat, seq: Seq(7), prev: Seq(3), at: Timestamp(HOUR), kind };
    ChatPage {
        visit: Visit {
            me: User::new(id(reader)),
            now: Timestamp(2 * HOUR + u64::from(reader)),
            counts: Counts { people: usize::from(reader), chats: 1 },
            invites: Vec::new(),
            hidden: Vec::new(),
            takes_invites: true,
            lifetimes,
        },
        chat: Chat {
            id: chat,
            title: Title::parse("Tom & <Jerry>").unwrap(),
            owner: owner.id,
            visibility: Visibility::Public,
            started_at: Timestamp(0),
            seq: Seq(7),
            said_at: Some(Timestamp(HOUR)),
            guest: None,
            is_locked: false,
            removed: Vec::new(),
        },
        roster: Roster::new(3, 2, vec![Member::from(owner)]),
        history: History {
            epoch: Epoch::from_bytes([5; ID_BYTES]),
            seq: Seq(7),
            events: vec![event],
            earlier: false,
            reactions: Vec::new(),
            reacted: Seq::ZERO,
        },
        later: false,
        takes_pictures: false,
        about: None,
        place: None,
        answering: None,
        notice: None,
    }
}

fn renderer() -> PageRenderer {
    let file = |name: &str| format!("/pkg/{name}");
    let assets = Assets {
        boot: file("boot.js"),
        script: file("a.js"),
        wasm: file("a.wasm"),
        style: file("a.css"),
        later: String::new(),
        search_style: file("search.css"),
    };
    PageRenderer::new(assets, LeptosOptions::builder().output_name("qchat").build())
}

fn sheet_of(page: &ChatPage) -> PageKey {
    let before = page.later.then(|| page.history.seq.next());
    let message = page.about.as_ref().and_then(|about| about.message);
    PageKey { chat: page.chat.id, before, at: None, message }
}

fn read(filled: Filled) -> String {
    match filled {
        Filled::Html(html) => html,
        Filled::Gzip(file) => {
            let mut html = String::new();
            GzDecoder::new(&file[..]).read_to_string(&mut html).unwrap();
            html
        }
    }
}

/// Returns the page as served, as rendered for its reader alone, and whether it came from the cache.
fn made(renderer: &PageRenderer, page: &ChatPage) -> (String, String, bool) {
    let (ids, boxed) = (RequestIds::draw(), || Page::Chat(Box::new(page.clone())));
    let key = sheet_of(page);
    let again = |accepts| {
        let chat = (&page.chat, page.history.reacted);
        renderer.fill_cached(&page.visit, chat, &page.roster, key, (ids.clone(), accepts)).map(read)
    };
    let (html, decompressed) = (again(AcceptedEncoding::Identity), again(AcceptedEncoding::Gzip));
    assert_eq!(html, decompressed, "compressed it is the same");
    let was_made = html.is_some();
    let made = html.unwrap_or_else(|| renderer.html(boxed(), Some(key), ids.clone()));
    (made, render(boxed(), &ids, &renderer.assets, &renderer.options), was_made)
}

/// Counts the pages that came from the cache. Each has to equal what is rendered for its reader alone.
fn made_before(renderer: &PageRenderer, pages: &[ChatPage]) -> usize {
    let made_before = |page: &&ChatPage| {
        let (made, rendered, was_made) = made(renderer, page);
        assert!(made == rendered, "{made}\n{rendered}");
        was_made
    };
    pages.iter().filter(made_before).count()
}

#[test]
fn strangers_see_a_page_rendered_once_as_if_rendered_for_each() {
    let pages = [20, 21, 22, 200].map(|reader| page(reader, "Is 1 < 2 & \"2\" > 1? </script><!--"));
    assert_eq!(made_before(&renderer(), &pages), 3);
}

#[test]
fn other_pages_of_a_chat_are_kept_as_well_and_apart() {
    let (renderer, mut pages) = (renderer(), Vec::new());
    for reader in [20, 21] {
        let newest = page(reader, "hi");
        let mut earlier = newest.clone();
        (earlier.later, earlier.chat.seq) = (true, Seq(9));
        let mut about = newest.clone();
        about.about = Some(About { person: User::new(id(3)), message: Some(Seq(7)) });
        pages.extend([newest, earlier, about]);
    }
    assert_eq!(made_before(&renderer, &pages), 3);
    let mut own = page(3, "hi");
    own.about = pages[2].about.clone();
    assert_eq!(made_before(&renderer, &[own]), 0, "the user it is about sees their own");
}

#[test]
fn a_message_to_all_readers_is_rendered_once() {
    let renderer = renderer();
    for problem in [None, Some(Problem::Busy)] {
        let said = [renderer.respond_problem(problem), renderer.respond_problem(problem)];
        assert_eq!(lock(&renderer.notices).len(), 1 + usize::from(problem.is_some()));
        assert!(said.iter().all(|said| said.status() == axum::http::StatusCode::OK));
    }
}

#[test]
fn a_mentioned_reader_gets_a_page_of_their_own() {
    let renderer = renderer();
    assert_eq!(made_before(&renderer, &[page(1, "hi"), page(20, "hi"), page(1, "hi")]), 0);
    let mut odd = page(20, "hi");
    odd.visit.me.nickname = Nickname::parse("<b> \"&\"").unwrap();
    assert_eq!(made_before(&renderer, &[odd, page(21, "hi")]), 1, "and leaves that of others");
    let answers = |reader| {
        let mut page = page(reader, "hi");
        if let Some(EventKind::Said(message)) = page.history.events.first_mut().map(|event| &mut event.kind) {
            (message.reply_to, message.reply_author) = (Some(Seq(3)), Some(id(20)));
        }
        page
    };
    let made = made_before(&self::renderer(), &[answers(21), answers(20), answers(22)]);
    assert_eq!(made, 1, "whose message is answered is meant");
}

#[test]
fn what_only_one_reader_sees_is_rendered_for_that_reader() {
    let mut invited = page(20, "hi");
    let from = User::new(id(9));
    invited.visit.invites.push(Invite { chat: ChatId::from_bytes([8; ID_BYTES]), from });
    let mut hides = page(21, "hi");
    hides.visit.hidden.push(id(1));
    assert_eq!(made_before(&renderer(), &[page(22, "hi"), invited, hides, page(23, "hi")]), 1);
}

/// A page with a reaction to its message by a user, as another reader sees it who has reacted or not.
fn reacted(reader: u8, by: u8, is_mine: bool) -> ChatPage {
    let mut page = page(reader, "hi");
    let emoji = Emoji::try_from("👍".to_owned()).unwrap();
    let count = EmojiCount { emoji, count: 1, people: vec![User::new(id(by))], is_mine };
    page.history.reactions = vec![MessageTally { message: Seq(7), changed: Seq(8), of: vec![count] }];
    page.history.reacted = Seq(8);
    page
}

#[test]
fn a_reaction_is_seen_at_once_and_whoever_reacts_gets_a_page_of_their_own() {
    let pages = [page(20, "hi"), reacted(21, 2, false), reacted(2, 2, true), reacted(22, 2, false)];
    let renderer = renderer();
    assert_eq!(made_before(&renderer, &pages[..2]), 0, "it is another page with the reaction");
    let own =
        renderer.html(Page::Chat(Box::new(pages[2].clone())), Some(sheet_of(&pages[2])), RequestIds::draw());
    assert!(own.contains("aria-pressed=\"true\""), "{own}");
    assert_eq!(made_before(&renderer, &pages[3..]), 1, "and that of the others is kept");
}

#[tokio::test(start_paused = true)]
async fn the_members_of_a_large_room_may_be_those_of_a_moment_ago_and_nothing_else() {
    let large = |reader, version| {
        let mut page = page(reader, "hi");
        (page.roster.version, page.roster.count) = (version, 400);
        page
    };
    let renderer = renderer();
    assert_eq!(made_before(&renderer, &[large(20, 7)]), 0);
    let again = |page: &ChatPage| {
        let how = (RequestIds::draw(), AcceptedEncoding::Identity);
        let chat = (&page.chat, page.history.reacted);
        renderer.fill_cached(&page.visit, chat, &page.roster, sheet_of(page), how)
    };
    assert!(again(&large(21, 8)).is_some());
    let mut said = large(21, 8);
    said.chat.seq = Seq(8);
    assert!(again(&said).is_none());
    tokio::time::advance(MEMBERS_KEPT).await;
    assert!(again(&large(21, 8)).is_none() && again(&large(21, 7)).is_some());
    tokio::time::advance(KEPT).await;
    assert!(again(&large(21, 7)).is_none());
    let mut cache = lock(&renderer.newest);
    cache.forget();
    assert_eq!((cache.bytes, cache.pages.len()), (0, 0));
}

#[test]
fn what_is_new_is_rendered_anew() {
    let mut said = page(20, "ho");
    said.chat.seq = Seq(8);
    let mut preview = page(21, "hi");
    preview.roster.count = 3;
    let mut tomorrow = page(22, "hi");
    tomorrow.visit.now = Timestamp(25 * HOUR);
    let mut expired = page(23, "hi");
    expired.visit.lifetimes.message = Span::seconds(60);
    assert_eq!(made_before(&renderer(), &[page(20, "hi"), said, preview, tomorrow, expired]), 0);
}

#[test]
fn no_content_is_taken_for_a_placeholder() {
    // a visitor's letters and colour may equal those of a member
    let mut pages = Vec::new();
    for reader in 20..60 {
        let mut page = page(reader, "7 people online");
        page.roster.members.extend((100..250).map(|number| Member::from(User::new(id(number)))));
        pages.push(page);
    }
    made_before(&renderer(), &pages);
}

#[test]
fn what_is_kept_is_bounded() {
    let renderer = renderer();
    let long = "x".repeat(3_000);
    for number in 0..2_000_u64 {
        let mut page = page(20, &long);
        let mut id = [0; ID_BYTES];
        id[..8].copy_from_slice(&number.to_be_bytes());
        page.chat.id = ChatId::from_bytes(id);
        renderer.render_for_cache(&page, sheet_of(&page)).unwrap();
    }
    let cache = lock(&renderer.newest);
    assert!(cache.bytes <= KEPT_BYTES && cache.bytes > KEPT_BYTES / 2, "{}", cache.bytes);
    assert_eq!(cache.bytes, cache.pages.iter().map(|(_, kept)| kept.bytes()).sum::<usize>());
}
