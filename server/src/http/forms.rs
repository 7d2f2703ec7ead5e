//! Ordinary forms, for pages without WASM: the server functions of `app`, answered as people expect of a form. What
//! is accepted leads on to a page; what is refused comes back with its text and a sentence.

use std::{num::NonZeroU32, sync::Arc};

use app::api::{FormContext, Refusal};
use axum::{
    Json,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{
    Problem, UserId,
    frame::{Ask, FRAME_LIMIT, ServerFrame},
    page::{Notice, RefusedForm},
};
use engine::Caller;
use futures_util::StreamExt;
use leptos::context::provide_context;

use super::{
    client::Client,
    error,
    render::{Asker, Line},
    state::AppState,
};

/// A form has so many bytes at most. It holds a message; every character of it may take three bytes in a form, and there
/// are other fields.
pub const FORM_LIMIT: usize = 4 * FRAME_LIMIT;

/// So many bytes of a longer form are read and dropped, since a browser that still sends does not read an answer.
const DROPPED: usize = 64 * FORM_LIMIT;

/// The JSON of a refusal has so many bytes at most: escapes in it are six for one.
const REFUSAL_LIMIT: usize = 8 * FORM_LIMIT;

/// `POST /api/{function}`
pub async fn submit(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let is_page = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let head = blank_like(&request);
    let Client { address, .. } = Client::of(&request);
    let session = user_of(&state, &request);
    let is_here = session.is_ok_and(|user| state.presence.is_here(user));
    let asker = Asker { line: Line::of(address, session.ok()), is_here };
    let (mut request, is_cut) = match read(request).await {
        Ok(read) => read,
        Err(problem) => {
            return refuse(&state, is_page, head, asker, Notice::Problem(problem), problem).await;
        }
    };
    // the answer is for this function, whoever reads it in the end: with what is accepted as a page Leptos would lead back to
    // the page before
    request.headers_mut().remove(header::ACCEPT);
    let context = FormContext {
        engine: Arc::clone(&state.engine),
        caller: session.map(|user| Caller { user, address }),
        is_cut,
    };
    let answer =
        leptos_axum::handle_server_fns_with_context(move || provide_context(context.clone()), request);
    let answer = answer.await.into_response();
    let refusal = match answer.headers().get(header::LOCATION) {
        Some(path) if is_page => return see_other(path.clone()),
        Some(_) => return answer,
        None => refusal_in(answer).await,
    };
    let problem = refusal.problem;
    let notice = match refusal.form {
        Some(form) => Notice::Refused { problem, form: filled_in(&state, session.ok(), form) },
        None => Notice::Problem(problem),
    };
    refuse(&state, is_page, head, asker, notice, problem).await
}

/// The error in the answer of a server function: [`Problem::BadForm`] where none of that name was run.
async fn refusal_in(answer: Response) -> Refusal {
    let body = to_bytes(answer.into_body(), REFUSAL_LIMIT).await.unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_else(|_| Problem::BadForm.into())
}

/// Whose session came along.
fn user_of(state: &AppState, request: &Request) -> Result<UserId, Problem> {
    let session = state.sessions.find(request.headers(), state.engine.now())?;
    session.map(|session| session.user()).ok_or(Problem::NoSession)
}

/// `POST /api/ask`: what a page asks for whose socket does not come through, as JSON. Answered by the frame that would come
/// down the socket. Whose `by` is another than the session is not asked for by who believes to ask: a cookie can be exchanged
/// while a page is open.
pub async fn ask(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let Client { address, .. } = Client::of(&request);
    let by = request.uri().query().and_then(|query| query.strip_prefix("by=")).map(str::to_owned);
    let user = user_of(&state, &request).and_then(|user| match by {
        Some(by) if by != user.to_string() => Err(Problem::WrittenAsAnother),
        _ => Ok(user),
    });
    let Ok(body) = to_bytes(request.into_body(), FRAME_LIMIT).await else {
        return error::plain(Problem::FrameTooLarge);
    };
    let done = async {
        let ask: Ask = serde_json::from_slice(&body).map_err(|_| Problem::BadFrame)?;
        state.engine.execute(Caller { user: user?, address }, ask.check()?).await
    };
    match done.await {
        Ok(seq) => Json(ServerFrame::Done { request: 0, seq }).into_response(),
        Err(problem) => error::plain(problem),
    }
}

/// Reads a form, as far as [`FORM_LIMIT`], and says whether there was more of it.
///
/// # Errors
/// [`Problem::BadForm`] where it does not arrive.
async fn read(request: Request) -> Result<(Request, bool), Problem> {
    let (head, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let (mut form, mut dropped) = (Vec::new(), 0);
    while let Some(bytes) = body.next().await
        && dropped < DROPPED
    {
        let bytes = bytes.map_err(|_| Problem::BadForm)?;
        let (kept, rest) = bytes.split_at(bytes.len().min(FORM_LIMIT - form.len()));
        form.extend_from_slice(kept);
        dropped += rest.len();
    }
    let is_cut = dropped > 0;
    if is_cut {
        form.truncate(whole_characters(&form));
    }
    Ok((Request::from_parts(head, Body::from(Bytes::from(form))), is_cut))
}

/// How far a form that was cut has only whole characters: without an escape that was cut, and without the escapes before it
/// of a character that lacks some.
fn whole_characters(form: &[u8]) -> usize {
    let cut = form.iter().rev().take(2).position(|byte| *byte == b'%');
    let end = form.len() - cut.map_or(0, |after| after + 1);
    let escaped = |end: usize| {
        let [b'%', high, low] = *form[..end].last_chunk()? else { return None };
        u8::from_str_radix(str::from_utf8(&[high, low]).ok()?, 16).ok()
    };
    let (mut at, mut following) = (end, 0);
    while let Some(0x80..0xc0) = escaped(at) {
        at -= 3;
        following += 1;
    }
    let expected = match escaped(at) {
        Some(0xc0..0xe0) => 1,
        Some(0xe0..0xf0) => 2,
        Some(0xf0..) => 3,
        _ => return end,
    };
    if following < expected { at - 3 } else { end }
}

/// A form that is given back, with what somebody is called where the field for that was left alone.
fn filled_in(state: &AppState, user: Option<UserId>, form: RefusedForm) -> RefusedForm {
    match form {
        RefusedForm::StartChat { nickname, title, private, id } if nickname.is_empty() => {
            let known = user.and_then(|user| state.engine.user(user).ok());
            let nickname = known.map(|known| known.nickname.to_string()).unwrap_or_default();
            RefusedForm::StartChat { nickname, title, private, id }
        }
        form => form,
    }
}

/// `GET /api/{function}`: somebody reloads or shares the address of a form. There is nothing to see; home is near.
pub async fn look() -> Response {
    see_other(HeaderValue::from_static("/"))
}

fn see_other(path: HeaderValue) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

async fn refuse(
    state: &AppState,
    is_page: bool,
    head: Request,
    asker: Asker,
    notice: Notice,
    problem: Problem,
) -> Response {
    if !is_page {
        return error::plain(problem);
    }
    let client = Client::of(&head);
    // to say no costs a page: a form that is refused before anything else counts it would cost nothing
    if let Err(problem) = state.engine.load(user_of(state, &head).ok(), client.address, NonZeroU32::MIN) {
        let mut response = state.renderer.say(Some(problem));
        error::mark(problem, &mut response);
        return response;
    }
    // where it was the session that is missing, sending the form again works with the one that comes now
    let session = state.sessions.find_or_start(head.headers(), state.engine.now(), client.is_secure);
    drop(head);
    let mut response = match notice {
        Notice::Refused { .. } => {
            let again = notice.clone();
            let made = state.renderer.make(asker, |renderer| Ok(renderer.answer_notice(again))).await;
            // what they wrote comes back however busy it is
            made.unwrap_or_else(|_| state.renderer.answer_notice(notice))
        }
        Notice::Removed(_) | Notice::Problem(_) | Notice::Missing => state.renderer.say(Some(problem)),
    };
    error::mark(problem, &mut response);
    if let Ok((_, Some(cookie))) = session {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// The head of a request: what is needed of it after its body was read.
fn blank_like(request: &Request) -> Request {
    let mut head = Request::default();
    *head.uri_mut() = request.uri().clone();
    *head.headers_mut() = request.headers().clone();
    head.extensions_mut().insert(Client::of(request));
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_cut_between_characters() {
        // é, 字, 😀 and a letter, as forms have them
        let form = "body=%C3%A9%E5%AD%97%F0%9F%98%80x";
        let ends = ["body=".len(), 11, 20, 32, 33];
        for cut in ends[0]..=form.len() {
            let expected = ends.into_iter().rev().find(|end| *end <= cut).unwrap();
            assert_eq!(whole_characters(&form.as_bytes()[..cut]), expected, "{cut}");
        }
        assert_eq!(whole_characters(b"%2"), 0);
        assert_eq!(whole_characters(b"a%20"), 4);
    }
}
