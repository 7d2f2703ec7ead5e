//! Pages: data from the engine, HTML from `app`, and a session for clients without one.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc};

use axum::{
    extract::{
        Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use domain::{
    ChatId, Problem, Seq, Timestamp, UserId, Visibility,
    lobby::{LISTINGS_LIMIT, LobbyQuery, PAGE_LISTINGS},
    page::{Notice, Page},
    place::Place,
    search::Sought,
};
use engine::{Caller, ChatView, Focus, HistoryPart};
use serde::Deserialize;

use super::{
    assets,
    client::Client,
    error,
    render::{AcceptedEncoding, PageKey, PageRenderer, QueueKey, Requester},
    state::AppState,
};

/// The header that tells search engines what they may do with a page.
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// The directives for search engines about pages that they may not list.
const NOINDEX: HeaderValue = HeaderValue::from_static("noindex, nofollow");
/// What a search in a chat costs, in plain pages.
const SEARCH_COST: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// The query of the home page: the part of the lobby to show.
#[derive(Deserialize)]
pub struct PartOfLobby {
    filter: Option<String>,
    limit: Option<usize>,
}

/// Handles `/`, and `/?filter={text}&limit={number}` for some of the public chats.
pub async fn home(
    State(state): State<Arc<AppState>>,
    part: Result<Query<PartOfLobby>, QueryRejection>,
    request: Request,
) -> Response {
    let part = part.map_or(PartOfLobby { filter: None, limit: None }, |Query(part)| part);
    let filter = part.filter.unwrap_or_default();
    let limit = part.limit.unwrap_or(PAGE_LISTINGS).clamp(1, LISTINGS_LIMIT);
    let wanted = LobbyQuery { filter, limit };
    // a long list costs as much as that many short ones
    let cost = u32::try_from(limit.div_ceil(PAGE_LISTINGS)).ok().and_then(NonZeroU32::new);
    let visitor = match Visitor::come(&state, &request, cost.unwrap_or(NonZeroU32::MIN)) {
        Ok(visitor) => visitor,
        Err(problem) => return refuse(&state, &request, problem),
    };
    let answer = async {
        let page = Page::Home(Box::new(state.engine.home_page(visitor.user, wanted).await?));
        if visitor.wants_data {
            return Ok(PageRenderer::answer_data(&page));
        }
        state.renderer.run_queued(visitor.requester, |renderer| Ok(renderer.answer(page, None))).await
    };
    let answer = answer.await;
    visitor.answer(&state, answer)
}

/// The query of a chat's page: the part of its history to show, the message or user to show details of, and the message to
/// answer, to react to or to edit; or what is looked for in it.
#[derive(Deserialize, Default)]
pub struct Part {
    before: Option<Seq>,
    at: Option<Seq>,
    since: Option<Timestamp>,
    message: Option<Seq>,
    person: Option<UserId>,
    reply: Option<Seq>,
    react: Option<Seq>,
    edit: Option<Seq>,
    search: Option<String>,
    mentions: Option<String>,
}

impl Part {
    /// Returns what is looked for. `None` if the chat itself is asked for.
    fn sought(&self) -> Option<Sought> {
        let words = self.search.clone().map(Sought::Words);
        words.or_else(|| self.mentions.is_some().then_some(Sought::Mentions))
    }
}

/// Handles `/chat/{id}`: with `?before={seq}` for events before a position, with `?at={seq}` or `?since={milliseconds}` for
/// those around a place, with `?reply={seq}` to answer a message, with `?message={seq}` or `?person={id}` for
/// details and actions about a message or a user, with `?react={seq}` or `?edit={seq}` for a form to react to a message or to edit it, with `?search={words}` or `?mentions` for a search, which `before`
/// continues.
pub async fn chat(
    State(state): State<Arc<AppState>>,
    id: Result<Path<String>, PathRejection>,
    part: Result<Query<Part>, QueryRejection>,
    request: Request,
) -> Response {
    let id = id.map_or_else(|_| String::new(), |Path(id)| id);
    // Links are read aloud, typed and cut out of sentences: case and trailing punctuation are ignored.
    let meant = id.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
    if meant != id && meant.parse::<ChatId>().is_ok() {
        return Redirect::permanent(&format!("/chat/{meant}")).into_response();
    }
    // an invalid query shows the newest page
    let part = part.map_or_else(|_| Part::default(), |Query(part)| part);
    let sought = part.sought();
    let cost = match &sought {
        Some(sought) if !sought.is_nothing() => SEARCH_COST,
        _ => NonZeroU32::MIN,
    };
    let visitor = match Visitor::come(&state, &request, cost) {
        Ok(visitor) => visitor,
        Err(problem) => return refuse(&state, &request, problem),
    };
    let answer = match (id.parse::<ChatId>(), sought) {
        (Ok(chat), Some(sought)) => search(&state, &visitor, chat, sought, part.before).await,
        (Ok(chat), None) => show(&state, &visitor, chat, part).await,
        (Err(_), _) => Err(Problem::UnknownChat),
    };
    visitor.answer(&state, answer)
}

/// Responds with a page of a chat, from the cache or newly rendered.
async fn show(
    state: &Arc<AppState>,
    visitor: &Visitor,
    chat: ChatId,
    Part { before, at, since, message, person, reply, react, edit, .. }: Part,
) -> Result<Response, Problem> {
    let about = message.map(Focus::Message).or(person.map(Focus::Person)).or(reply.map(Focus::Reply));
    let chat_view = match state.engine.chat_view(chat, visitor.user) {
        Err(Problem::Removed) if !visitor.wants_data => return Ok(answer_removed(state, chat)),
        chat_view => chat_view?,
    };
    if visitor.wants_data {
        let page = state.engine.chat_page(chat_view, part_of(before, Place::of(at, since)), about)?;
        return Ok(PageRenderer::answer_data(&Page::Chat(Box::new(page))));
    }
    if let Some(message) = react {
        drop(chat_view);
        state.engine.check_reaction(chat, visitor.user, message)?;
        let mut answer = state.renderer.answer_notice(Notice::React { chat, message });
        answer.headers_mut().insert(ROBOTS, HeaderValue::from_static("noindex, nofollow"));
        return Ok(answer);
    }
    if let Some(message) = edit {
        drop(chat_view);
        let body = state.engine.text_to_edit(chat, visitor.user, message)?;
        let mut answer = state.renderer.answer_notice(Notice::Edit { chat, message, body });
        answer.headers_mut().insert(ROBOTS, NOINDEX);
        return Ok(answer);
    }
    let place = Place::of(at, since);
    let robots = robots(&chat_view, before.is_none() && place.is_none() && about.is_none());
    // a position after the newest event gives the newest page, whatever its number
    let before = before.filter(|before| *before <= chat_view.chat.seq);
    let part = part_of(before, place);
    // the details of a user are not cached, since their nickname can change without an event of the chat; nor is what few
    // others will ask for
    let is_cached = since.is_none() && (message.is_some() || (person.is_none() && reply.is_none()));
    let key = is_cached.then_some(PageKey { chat, before, at, message });
    let mut answer = match state.renderer.answer_from_cache(&chat_view, key, visitor.accepts) {
        Some(answer) => answer,
        None => {
            // checked again when it is this request's turn: another one may have rendered the page meanwhile
            drop(chat_view);
            let (engine, user, accepts) = (Arc::clone(&state.engine), visitor.user, visitor.accepts);
            let work = move |renderer: &PageRenderer| {
                let chat_view = engine.chat_view(chat, user)?;
                if let Some(answer) = renderer.answer_from_cache(&chat_view, key, accepts) {
                    return Ok(answer);
                }
                let page = engine.chat_page(chat_view, part, about)?;
                Ok(renderer.answer(Page::Chat(Box::new(page)), key))
            };
            state.renderer.run_queued(visitor.requester, work).await?
        }
    };
    answer.headers_mut().extend(robots.map(|robots| (ROBOTS, robots)));
    Ok(answer)
}

/// Returns the part of the history that an address means.
fn part_of(before: Option<Seq>, place: Option<Place>) -> HistoryPart {
    match (place, before) {
        (Some(place), _) => HistoryPart::Around(place),
        (None, Some(before)) => HistoryPart::Before(before),
        (None, None) => HistoryPart::Newest,
    }
}

/// Responds with the page of a search in a chat.
async fn search(
    state: &Arc<AppState>,
    visitor: &Visitor,
    chat: ChatId,
    sought: Sought,
    before: Option<Seq>,
) -> Result<Response, Problem> {
    let by = Caller { user: visitor.user, address: visitor.address };
    let page = match state.engine.search_page(by, chat, sought, before).await {
        Err(Problem::Removed) if !visitor.wants_data => return Ok(answer_removed(state, chat)),
        page => page?,
    };
    if visitor.wants_data {
        return page.found.map(|found| PageRenderer::answer_found(&found));
    }
    let problem = page.found.as_ref().err().copied();
    let work = move |renderer: &PageRenderer| Ok(renderer.answer_search(page));
    let mut answer = state.renderer.run_queued(visitor.requester, work).await?;
    if let Some(problem) = problem {
        error::mark(problem, &mut answer);
    }
    answer.headers_mut().insert(ROBOTS, NOINDEX);
    Ok(answer)
}

/// Responds to a user who was removed from a chat by its owner.
fn answer_removed(state: &AppState, chat: ChatId) -> Response {
    let mut answer = state.renderer.answer_notice(Notice::Removed(chat));
    error::mark(Problem::Removed, &mut answer);
    answer
}

/// Returns the directives for search engines about a chat's page. A public chat may be found by its title, for as long
/// as it is sure to exist, without its messages being shown elsewhere. Private chats, earlier pages and details are not indexed.
fn robots(ChatView { chat, visit, .. }: &ChatView, is_newest: bool) -> Option<HeaderValue> {
    if chat.visibility == Visibility::Private || !is_newest {
        return Some(NOINDEX);
    }
    let until = Timestamp(visit.now.0 + visit.lifetimes.chat.millis());
    format!("nofollow, nosnippet, noarchive, unavailable_after: {until}").parse().ok()
}

/// Handles all other addresses: a file of the site, or a page that says there is none.
pub async fn elsewhere(State(state): State<Arc<AppState>>, uri: Uri, request: Request) -> Response {
    let version = uri.query().and_then(|query| query.strip_prefix("v="));
    let file = assets::serve(uri.path().trim_start_matches('/'), version, request.headers());
    if file.status() != StatusCode::NOT_FOUND {
        return file;
    }
    let mut response = state.renderer.respond_problem(None);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Whether the request asks for the page's data as JSON instead of HTML.
fn wants_data(request: &Request) -> bool {
    request.headers().get(header::ACCEPT).is_some_and(|accept| accept == "application/json")
}

/// Responds to a request for a page that was refused by a limit or for its session.
fn refuse(state: &AppState, request: &Request, problem: Problem) -> Response {
    if wants_data(request) { error::plain(problem) } else { say(state, problem) }
}

/// The visitor who loads a page.
struct Visitor {
    user: UserId,
    address: IpAddr,
    requester: Requester,
    /// Whether the page's data is requested instead of HTML.
    wants_data: bool,
    accepts: AcceptedEncoding,
    /// The cookie to set, if the session is new or renewed.
    cookie: Option<HeaderValue>,
}

impl Visitor {
    /// Admits a request for a page that costs as much as `cost` short ones.
    fn come(state: &AppState, request: &Request, cost: NonZeroU32) -> Result<Self, Problem> {
        let Client { address, is_secure } = Client::of(request);
        let (headers, now) = (request.headers(), state.engine.now());
        let known = state.sessions.find(headers, now)?.map(|session| session.user());
        state.engine.load(known, address, cost)?;
        let (session, cookie) = state.sessions.find_or_start(headers, now, is_secure)?;
        let is_here = known.is_some_and(|user| state.presence.is_here(user));
        let requester = Requester { queue: QueueKey::of(address, known), is_here };
        let accepts = if assets::accepts(headers, "gzip") {
            AcceptedEncoding::Gzip
        } else {
            AcceptedEncoding::Identity
        };
        Ok(Self {
            user: session.user(),
            address,
            requester,
            wants_data: wants_data(request),
            accepts,
            cookie,
        })
    }

    /// Completes the response to the visitor.
    fn answer(self, state: &AppState, answered: Result<Response, Problem>) -> Response {
        let mut response = answered.unwrap_or_else(|problem| match self.wants_data {
            true => error::plain(problem),
            false => say(state, problem),
        });
        if let Some(cookie) = self.cookie {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// Responds with a page that shows a problem.
fn say(state: &AppState, problem: Problem) -> Response {
    let mut response = state.renderer.respond_problem(Some(problem));
    error::mark(problem, &mut response);
    response
}
