//! Pages: data from the service, HTML from `app`, a session for whoever has none.

mod press;
mod render;
mod template;

use std::sync::Arc;

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
    lobby::{FILTER_BYTES, LISTINGS_LIMIT, PAGE_LISTINGS, Wanted},
    page::{Notice, Page},
};
pub use press::Press;
use serde::Deserialize;

use crate::{
    client::Client,
    problem,
    router::Parts,
    service::{Glance, Subject},
    site,
};

/// Tells search engines what they may do with an answer.
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// Which part of the lobby is wanted.
#[derive(Deserialize)]
pub struct PartOfLobby {
    filter: Option<String>,
    limit: Option<usize>,
}

/// `/`, and `/?filter={text}&limit={number}` for some of the public chats
pub async fn home(
    State(parts): State<Arc<Parts>>,
    part: Result<Query<PartOfLobby>, QueryRejection>,
    request: Request,
) -> Response {
    let part = part.map_or(PartOfLobby { filter: None, limit: None }, |Query(part)| part);
    let mut filter = part.filter.unwrap_or_default();
    filter.truncate(filter.floor_char_boundary(FILTER_BYTES));
    let limit = part.limit.unwrap_or(PAGE_LISTINGS).clamp(1, LISTINGS_LIMIT);
    let wanted = Wanted { filter, limit };
    visit(&parts, &request, |user| {
        let page = parts.service.home_page(user, wanted)?;
        Ok(parts.press.answer(Page::Home(Box::new(page))))
    })
}

/// Which part of a chat's history is wanted, and about what of it more.
#[derive(Deserialize)]
pub struct Part {
    before: Option<Seq>,
    message: Option<Seq>,
    person: Option<UserId>,
}

/// `/chat/{id}`; `/chat/{id}?before={seq}` for what was said before an event, `?message={seq}` and `?person={id}` for what
/// can be done about a message or somebody
pub async fn chat(
    State(parts): State<Arc<Parts>>,
    id: Result<Path<String>, PathRejection>,
    part: Result<Query<Part>, QueryRejection>,
    request: Request,
) -> Response {
    let Ok(Path(id)) = id else {
        return visit(&parts, &request, |_| Err(Problem::UnknownChat));
    };
    // Links are read aloud, typed and cut out of sentences: case and what hangs on behind are forgiven.
    let meant = id.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
    if meant != id && meant.parse::<ChatId>().is_ok() {
        return Redirect::permanent(&format!("/chat/{meant}")).into_response();
    }
    visit(&parts, &request, |user| {
        let chat: ChatId = id.parse().map_err(|_| Problem::UnknownChat)?;
        // a part that is none shows the newest
        let part = part.map_or(Part { before: None, message: None, person: None }, |Query(part)| part);
        let about = match part {
            Part { message: Some(message), .. } => Some(Subject::Message(message)),
            Part { person, .. } => person.map(Subject::Person),
        };
        let glance = match parts.service.glance(chat, user) {
            Err(Problem::Removed) => {
                let mut answer = parts.press.answer_notice(Notice::Removed(chat));
                problem::mark(Problem::Removed, &mut answer);
                return Ok(answer);
            }
            glance => glance?,
        };
        let is_newest = part.before.is_none() && about.is_none();
        let robots = robots(&glance, is_newest);
        let again = is_newest.then(|| parts.press.answer_again(&glance));
        let mut answer = match again.flatten() {
            Some(answer) => answer,
            None => {
                let page = parts.service.chat_page(glance, part.before, about)?;
                parts.press.answer(Page::Chat(Box::new(page)))
            }
        };
        answer.headers_mut().extend(robots.map(|robots| (ROBOTS, robots)));
        Ok(answer)
    })
}

/// What search engines may do with the page of a chat. One that everybody is shown may be found as well, by its title, for as
/// long as it is sure to be there; nothing of what is said in it is to be seen elsewhere. Of others they know nothing, nor of
/// pages about what was said earlier, or about somebody.
fn robots(Glance { chat, visit, .. }: &Glance, is_newest: bool) -> Option<HeaderValue> {
    if chat.visibility == Visibility::Private || !is_newest {
        return Some(HeaderValue::from_static("noindex, nofollow"));
    }
    let until = Timestamp(visit.now.0 + visit.lifetimes.chat.millis());
    format!("nofollow, nosnippet, noarchive, unavailable_after: {until}").parse().ok()
}

/// Everything else: a file of the site, or the page that says there is none.
pub async fn elsewhere(State(parts): State<Arc<Parts>>, uri: Uri, request: Request) -> Response {
    let file = site::serve(uri.path().trim_start_matches('/'), None, request.headers());
    if file.status() != StatusCode::NOT_FOUND {
        return file;
    }
    let mut response = parts.press.answer_notice(Notice::Missing);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn visit(
    parts: &Parts,
    request: &Request,
    answer: impl FnOnce(UserId) -> Result<Response, Problem>,
) -> Response {
    let is_secure = Client::of(request).is_secure;
    let session = parts.sessions.find_or_start(request.headers(), parts.service.now(), is_secure);
    let (answered, cookie) = match session {
        Ok((session, cookie)) => (answer(session.user()), cookie),
        Err(problem) => (Err(problem), None),
    };
    let mut response = answered.unwrap_or_else(|problem| {
        let mut response = parts.press.answer_notice(Notice::Problem(problem));
        problem::mark(problem, &mut response);
        response
    });
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
