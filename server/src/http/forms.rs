//! Ordinary forms, for pages without WASM: the server functions of `app`. An accepted form redirects to a page; a
//! refused one is shown again with what was typed and the reason.

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
    frame::{ClientCommand, FRAME_LIMIT, ServerFrame},
    page::{Notice, RefusedForm},
};
use engine::Caller;
use futures_util::StreamExt;
use leptos::context::provide_context;

use super::{
    client::Client,
    error,
    pictures::{self, RefusedPictures},
    render::{QueueKey, Requester},
    state::AppState,
    upload_body::{DROPPED, FORM_LIMIT},
};

/// The maximum size of a refusal as JSON, in bytes: escapes can take six bytes for one.
const REFUSAL_LIMIT: usize = 8 * FORM_LIMIT;

/// Handles `POST /api/{function}`.
pub async fn submit(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let is_page = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let head = head_of(&request);
    let Client { address, .. } = Client::of(&request);
    let session = state.user_of(&request);
    let is_here = session.is_ok_and(|user| state.presence.is_here(user));
    let requester = Requester { queue: QueueKey::of(address, session.ok()), is_here };
    let request = if pictures::is_with_files(&request) {
        match pictures::receive_form(&state, request).await {
            Ok(request) => request,
            Err(refused) => {
                let RefusedPictures { problem, form } = *refused;
                let notice = Notice::Refused { problem, form };
                return refuse(&state, is_page, head, requester, notice, problem).await;
            }
        }
    } else {
        request
    };
    let (mut request, is_cut) = match read(request).await {
        Ok(read) => read,
        Err(problem) => {
            return refuse(&state, is_page, head, requester, Notice::Problem(problem), problem).await;
        }
    };
    // with `text/html` as accepted, Leptos would redirect back to the page before; the response here depends on the
    // function alone
    request.headers_mut().remove(header::ACCEPT);
    let context = FormContext {
        engine: Arc::clone(&state.engine),
        caller: state.check_admission().and(session).map(|user| Caller { user, address }),
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
    refuse(&state, is_page, head, requester, notice, problem).await
}

/// Returns the error in the response of a server function, or [`Problem::BadForm`] if no function of that name ran.
async fn refusal_in(answer: Response) -> Refusal {
    let body = to_bytes(answer.into_body(), REFUSAL_LIMIT).await.unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_else(|_| Problem::BadForm.into())
}

/// Handles `POST /api/ask`: a command as JSON, from a page whose WebSocket does not get through. The response is the
/// frame that would be sent over the WebSocket. If the query has a `by` other than the session's user, the command is
/// refused with [`Problem::WrittenAsAnother`], since the cookie can change while a page is open.
pub async fn ask(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let Client { address, .. } = Client::of(&request);
    let by = request.uri().query().and_then(|query| query.strip_prefix("by=")).map(str::to_owned);
    let user = state.check_admission().and_then(|()| state.user_of(&request)).and_then(|user| match by {
        Some(by) if by != user.to_string() => Err(Problem::WrittenAsAnother),
        _ => Ok(user),
    });
    let Ok(body) = to_bytes(request.into_body(), FRAME_LIMIT).await else {
        return error::plain(Problem::FrameTooLarge);
    };
    let done = async {
        let ask: ClientCommand = serde_json::from_slice(&body).map_err(|_| Problem::BadFrame)?;
        state.engine.execute(Caller { user: user?, address }, ask.check()?).await
    };
    match done.await {
        Ok(seq) => Json(ServerFrame::Done { request: 0, seq }).into_response(),
        Err(problem) => error::plain(problem),
    }
}

/// Reads a form up to [`FORM_LIMIT`], and returns whether there was more of it.
///
/// # Errors
/// [`Problem::BadForm`] if the body cannot be read.
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

/// Returns the length of the longest prefix of a cut form with whole characters only: without a cut escape, and without
/// the escapes of a character whose last bytes are missing.
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

/// Fills in the user's nickname in a form to show again, if the field was left empty.
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

/// Handles `GET /api/{function}`, when the address of a form is reloaded or shared: redirects to the home page.
pub async fn redirect_home() -> Response {
    see_other(HeaderValue::from_static("/"))
}

fn see_other(path: HeaderValue) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

async fn refuse(
    state: &AppState,
    is_page: bool,
    head: Request,
    requester: Requester,
    notice: Notice,
    problem: Problem,
) -> Response {
    if !is_page {
        return error::plain(problem);
    }
    let client = Client::of(&head);
    // a refusal costs a page, and would be free of rate limits if the form is refused before it counts
    if let Err(problem) = state.engine.load(state.user_of(&head).ok(), client.address, NonZeroU32::MIN) {
        let mut response = state.renderer.respond_problem(Some(problem));
        error::mark(problem, &mut response);
        return response;
    }
    // if the session was missing, the form can be sent again with the one set here
    let session = state.sessions.find_or_start(head.headers(), state.engine.now(), client.is_secure);
    drop(head);
    let mut response = match notice {
        Notice::Refused { .. } => {
            let again = notice.clone();
            let queued =
                state.renderer.run_queued(requester, |renderer| Ok(renderer.answer_notice(again))).await;
            // what was typed is returned even if the server is busy
            queued.unwrap_or_else(|_| state.renderer.answer_notice(notice))
        }
        Notice::Removed(_)
        | Notice::Problem(_)
        | Notice::React { .. }
        | Notice::Edit { .. }
        | Notice::Missing => state.renderer.respond_problem(Some(problem)),
    };
    error::mark(problem, &mut response);
    if let Ok((_, Some(cookie))) = session {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Returns a request with the parts that are needed after the body has been read.
fn head_of(request: &Request) -> Request {
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
        // é, 字, 😀 and a letter, as forms encode them
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
