//! Pages: data from the service, HTML from `app`, a session for whoever has none.

use std::{env, sync::Arc};

use app::shell::{Assets, FreshClientId, Shell};
use axum::{
    body::Body,
    extract::{
        Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use domain::{
    ChatId, Problem, Seq, UserId,
    lobby::{FILTER_BYTES, LISTINGS_LIMIT, PAGE_LISTINGS, Wanted},
    page::Page,
};
use leptos::{
    config::LeptosOptions,
    context::{provide_context, use_context},
    nonce::use_nonce,
    view,
};
use leptos_axum::ResponseOptions;
use serde::Deserialize;

use crate::{client::Client, headers, problem, random, router::Parts, service::Subject, site};

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
    visit(&parts, request, |user| Ok(Page::Home(Box::new(parts.service.home_page(user, wanted)?)))).await
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
        return visit(&parts, request, |_| Err(Problem::UnknownChat)).await;
    };
    // Links are read aloud, typed and cut out of sentences: case and what hangs on behind are forgiven.
    let meant = id.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
    if meant != id && meant.parse::<ChatId>().is_ok() {
        return Redirect::permanent(&format!("/chat/{meant}")).into_response();
    }
    visit(&parts, request, |user| {
        let chat: ChatId = id.parse().map_err(|_| Problem::UnknownChat)?;
        // a part that is none shows the newest
        let part = part.map_or(Part { before: None, message: None, person: None }, |Query(part)| part);
        let about = match part {
            Part { message: Some(message), .. } => Some(Subject::Message(message)),
            Part { person, .. } => person.map(Subject::Person),
        };
        Ok(Page::Chat(Box::new(parts.service.chat_page(chat, user, part.before, about)?)))
    })
    .await
}

/// Everything else: a file of the site, or the page that says there is none.
pub async fn elsewhere(State(parts): State<Arc<Parts>>, uri: Uri, request: Request) -> Response {
    let file = site::serve(uri.path().trim_start_matches('/'), None, request.headers());
    if file.status() != StatusCode::NOT_FOUND {
        return file;
    }
    let mut response = render(&parts.assets, &parts.leptos, Page::Missing, request).await;
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

async fn visit(
    parts: &Parts,
    request: Request,
    page: impl FnOnce(UserId) -> Result<Page, Problem>,
) -> Response {
    let is_secure = Client::of(&request).is_secure;
    let session = parts.sessions.find_or_start(request.headers(), parts.service.now(), is_secure);
    let (found, cookie) = match session {
        Ok((session, cookie)) => (page(session.user()), cookie),
        Err(error) => {
            tracing::error!(%error, "no session could be started");
            (Err(Problem::NotReadable), None)
        }
    };
    let (page, problem) = match found {
        Ok(page) => (page, None),
        Err(problem) => (Page::Problem(problem), Some(problem)),
    };
    let mut response = render(&parts.assets, &parts.leptos, page, request).await;
    if let Some(problem) = problem {
        problem::mark(problem, &mut response);
    }
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Renders a page. It is for this reader and this moment, so nobody keeps it.
pub async fn render(assets: &Assets, leptos: &LeptosOptions, page: Page, request: Request<Body>) -> Response {
    let (assets, leptos) = (assets.clone(), leptos.clone());
    let client_id = random::client_id().ok();
    // cargo-leptos says so to the server it runs, and the page then asks for new builds (`AutoReload`)
    let is_watched = env::var_os("LEPTOS_WATCH").is_some();
    let context = move || {
        provide_context(page.clone());
        provide_context(assets.clone());
        provide_context(leptos.clone());
        provide_context(FreshClientId(client_id));
        // leptos draws the nonce of an answer before it asks for this
        let policy = use_nonce().and_then(|nonce| headers::page_policy(&nonce, is_watched).parse().ok());
        if let (Some(policy), Some(response)) = (policy, use_context::<ResponseOptions>()) {
            response.insert_header(header::CONTENT_SECURITY_POLICY, policy);
        }
    };
    let render = leptos_axum::render_app_to_stream_in_order_with_context(context, || view! { <Shell /> });
    let mut response = render(request).await.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
