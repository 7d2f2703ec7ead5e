//! Pictures over HTTP: uploads, by scripts and by the ordinary form of the composer, and the files of those that messages
//! have.

use std::sync::Arc;

use app::api::PostMessage;
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{
        Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{ChatId, PictureId, Problem, Seq, page::RefusedForm};
use engine::{Caller, pictures::PictureSize};
use futures_util::{Stream, StreamExt};
use leptos::server_fn::ServerFn;
use multer::{Field, Multipart, parse_boundary};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::{
    client::Client,
    error,
    render::QueueKey,
    state::AppState,
    upload_body::{DROPPED, FORM_LIMIT, Taking, UploadBody, UploadError},
};

/// What a browser may do with the file of a picture: show it. Nothing in it could run even if it were a page.
const PICTURE_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";
/// Looked up again each time, so that a picture that was removed is not shown from a cache.
const LOOK_AGAIN: &str = "private, no-cache";

/// The query of an upload.
#[derive(Deserialize)]
pub struct Upload {
    chat: ChatId,
    /// The user whom the page belongs to. `None` if the client is no page.
    by: Option<String>,
}

/// The response to an upload.
#[derive(Serialize)]
struct Uploaded {
    ticket: String,
    width: u16,
    height: u16,
}

/// Handles `POST /api/picture?chat={id}`: a picture, whose file is the body. The response has the ticket with which it can
/// be posted. If the query has a `by` other than the session's user, it is refused with [`Problem::WrittenAsAnother`],
/// since the cookie can change while a page is open.
pub async fn upload(
    State(state): State<Arc<AppState>>,
    query: Result<Query<Upload>, QueryRejection>,
    request: Request,
) -> Response {
    match take_upload(&state, query, request).await {
        Ok(uploaded) => Json(uploaded).into_response(),
        Err(problem) => error::plain(problem),
    }
}

async fn take_upload(
    state: &AppState,
    query: Result<Query<Upload>, QueryRejection>,
    request: Request,
) -> Result<Uploaded, Problem> {
    let Query(Upload { chat, by }) = query.map_err(|_| Problem::UnknownChat)?;
    let caller = caller_of(state, &request)?;
    if by.is_some_and(|by| by != caller.user.to_string()) {
        return Err(Problem::WrittenAsAnother);
    }
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    let body = UploadBody::new(request.into_body(), u64::MAX);
    let taking = body.taking();
    // How much comes is bounded by whoever receives it.
    let parts = body.inspect(|_| taking.note());
    take(state, caller, chat, parts, announced).await
}

/// Receives a picture, makes its files and stores them.
async fn take<E>(
    state: &AppState,
    caller: Caller,
    chat: ChatId,
    parts: impl Stream<Item = Result<Bytes, E>> + Unpin,
    announced: Option<u64>,
) -> Result<Uploaded, Problem> {
    let _guard = state.engine.check_upload(caller, chat)?;
    let workshop = &state.workshop;
    let incoming = workshop.folder().receive(parts, announced, workshop.limits().max_bytes).await?;
    let encoded = workshop.prepare(QueueKey::of(caller.address, Some(caller.user)), incoming).await?;
    let (picture, ticket) = state.engine.keep_picture(caller, chat, encoded).await?;
    Ok(Uploaded { ticket, width: picture.width, height: picture.height })
}

fn caller_of(state: &AppState, request: &Request) -> Result<Caller, Problem> {
    state.check_admission()?;
    let Client { address, .. } = Client::of(request);
    state.user_of(request).map(|user| Caller { user, address })
}

/// The path of a picture.
#[derive(Deserialize)]
pub struct PicturePath {
    chat: ChatId,
    message: u64,
    picture: PictureId,
}

/// Handles `/picture/{chat}/{message}/{picture}`.
pub async fn large(
    State(state): State<Arc<AppState>>,
    path: Result<Path<PicturePath>, PathRejection>,
    request: Request,
) -> Response {
    serve(&state, path, request, PictureSize::Large).await
}

/// Handles `/picture/{chat}/{message}/{picture}/small`.
pub async fn small(
    State(state): State<Arc<AppState>>,
    path: Result<Path<PicturePath>, PathRejection>,
    request: Request,
) -> Response {
    serve(&state, path, request, PictureSize::Small).await
}

/// Responds with a file of a picture. A message that is gone, a picture that it does not have and a chat that the user may
/// not enter are answered alike.
async fn serve(
    state: &AppState,
    path: Result<Path<PicturePath>, PathRejection>,
    request: Request,
    size: PictureSize,
) -> Response {
    let (Ok(Path(PicturePath { chat, message, picture })), Ok(user)) = (path, state.user_of(&request)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Client { address, .. } = Client::of(&request);
    let place = (chat, Seq(message), picture);
    // The file of an id never changes, so whether it may still be seen is all there is to find out.
    let tag = format!("\"{picture}\"");
    if is_known(request.headers(), &tag) {
        return match state.engine.may_still_see_picture(Caller { user, address }, place) {
            Ok(true) => (StatusCode::NOT_MODIFIED, common(&tag)).into_response(),
            Ok(false) => StatusCode::NOT_FOUND.into_response(),
            Err(problem) => error::plain(problem),
        };
    }
    match state.engine.picture(Caller { user, address }, place, size).await {
        Ok(Some(file)) => {
            let kind = [(header::CONTENT_TYPE, kind_of(&file))];
            (common(&tag), kind, Body::from(file)).into_response()
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(problem) => error::plain(problem),
    }
}

fn common(tag: &str) -> [(header::HeaderName, HeaderValue); 4] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static(LOOK_AGAIN)),
        (header::ETAG, HeaderValue::from_str(tag).unwrap_or(HeaderValue::from_static(""))),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PICTURE_POLICY)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("inline")),
    ]
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag))
}

/// Returns the content type of a file that was encoded here: one of two.
fn kind_of(file: &[u8]) -> HeaderValue {
    let kind = if file.starts_with(b"\x89PNG") { "image/png" } else { "image/jpeg" };
    HeaderValue::from_static(kind)
}

/// A form with files that was refused, as far as it was read.
pub(super) struct RefusedPictures {
    /// Why it was refused.
    pub(super) problem: Problem,
    /// The form, without its files.
    pub(super) form: RefusedForm,
}

/// The maximum number of fields of a form with files, the pictures among them.
const FIELDS: usize = 32;

/// Whether a request is the form of the composer, with files.
pub(super) fn is_with_files(request: &Request) -> bool {
    if request.method() != Method::POST || request.uri().path() != PostMessage::PATH {
        return false;
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("multipart/form-data"))
}

/// The fields of the composer's form, as they arrive.
#[derive(Default)]
struct Composed {
    fields: Vec<(String, String)>,
    /// The size of the fields, in bytes.
    bytes: usize,
    tickets: Vec<String>,
    refused: Option<Problem>,
    /// Whether there were pictures, taken or not.
    had_pictures: bool,
    /// The number of fields, pictures included.
    count: usize,
}

impl Composed {
    fn get(&self, name: &str) -> String {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

/// Receives the form of the composer with its pictures, and returns it as an ordinary form, in which there are the tickets
/// of the pictures. All of it is read even if a picture was refused, since a browser does not read the response while it
/// still sends; and if one was refused, nothing is posted. Its texts have [`FORM_LIMIT`] bytes at most.
///
/// # Errors
/// [`RefusedPictures`] with the first problem.
pub(super) async fn receive_form(
    state: &AppState,
    request: Request,
) -> Result<Request, Box<RefusedPictures>> {
    let caller = caller_of(state, &request);
    let (mut head, body) = request.into_parts();
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    // Without a session, or where no pictures are taken, no more comes than in any other form.
    let pictures = match caller {
        Ok(_) if state.engine.takes_pictures() => {
            state.engine.pictures().max_in_message() as u64 * state.workshop.limits().max_bytes
        }
        _ => 0,
    };
    let mut composed = Composed { refused: caller.err(), ..Composed::default() };
    match kind.and_then(|kind| parse_boundary(kind).ok()) {
        Some(boundary) => {
            let body = UploadBody::new(body, pictures + (FORM_LIMIT + DROPPED) as u64);
            let taking = body.taking();
            let mut parts = Multipart::new(body, boundary);
            loop {
                match parts.next_field().await {
                    Ok(Some(field)) if composed.count < FIELDS => {
                        taking.note();
                        composed.count += 1;
                        receive_field(state, caller, field, &taking, &mut composed).await;
                    }
                    Ok(None) => break,
                    Ok(Some(_)) => {
                        composed.refused.get_or_insert(Problem::BadForm);
                        break;
                    }
                    Err(error) => {
                        composed.refused.get_or_insert(problem_of(&error));
                        break;
                    }
                }
            }
        }
        None => composed.refused = Some(Problem::BadForm),
    }
    if let Some(problem) = composed.refused {
        let [chat, client_id, body, reply_to, alt] =
            ["chat", "client_id", "body", "reply_to", "alt"].map(|name| composed.get(name));
        let had_pictures = composed.had_pictures;
        let form = RefusedForm::PostMessage { chat, client_id, body, reply_to, had_pictures, alt };
        return Err(Box::new(RefusedPictures { problem, form }));
    }
    composed.fields.push(("pictures".to_owned(), composed.tickets.join(" ")));
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<_> =
        composed.fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Request::from_parts(head, Body::from(pairs.join("&"))))
}

/// Returns why a form with files ends early: since its body does, or is none.
fn problem_of(error: &multer::Error) -> Problem {
    let multer::Error::StreamReadFailed(error) = error else { return Problem::BadForm };
    match error.downcast_ref() {
        Some(UploadError::Broken | UploadError::TooSlow) => Problem::PictureDamaged,
        // What is too large has more pictures or text than a message has, which is refused by then.
        Some(UploadError::TooLarge | UploadError::Endless) | None => Problem::BadForm,
    }
}

/// Receives a field of the composer's form: a text, or a picture.
async fn receive_field(
    state: &AppState,
    caller: Result<Caller, Problem>,
    mut field: Field<'_>,
    taking: &Taking,
    composed: &mut Composed,
) {
    let name = field.name().unwrap_or_default().to_owned();
    if name != "pictures" {
        let mut value = Vec::new();
        loop {
            match field.chunk().await {
                Ok(Some(part)) if composed.bytes + part.len() <= FORM_LIMIT => {
                    composed.bytes += part.len();
                    value.extend_from_slice(&part);
                }
                Ok(Some(_)) => {
                    composed.refused.get_or_insert(Problem::MessageTooLong);
                }
                Ok(None) => break,
                // What came of the text is returned.
                Err(error) => {
                    composed.refused.get_or_insert(problem_of(&error));
                    break;
                }
            }
            taking.note();
        }
        composed.bytes += name.len();
        if composed.bytes <= FORM_LIMIT {
            composed.fields.push((name, String::from_utf8_lossy(&value).into_owned()));
        }
        return;
    }
    // Browsers send a file without a name and without content if none was chosen.
    let is_chosen = field.file_name().is_some_and(|name| !name.is_empty());
    composed.had_pictures |= is_chosen;
    if !is_chosen || composed.refused.is_some() {
        return drop_rest(field, taking).await;
    }
    let taken = async {
        if composed.tickets.len() >= state.engine.pictures().max_in_message() {
            return Err(Problem::TooManyPictures);
        }
        let chat = composed.get("chat").parse().map_err(|_| Problem::UnknownChat)?;
        let parts = (&mut field).inspect(|_| taking.note());
        take(state, caller?, chat, parts, None).await
    }
    .await;
    match taken {
        Ok(uploaded) => composed.tickets.push(uploaded.ticket),
        Err(problem) => {
            composed.refused = Some(problem);
            drop_rest(field, taking).await;
        }
    }
}

/// Reads what is left of a field, as far as the bounds of the body allow.
async fn drop_rest(mut field: Field<'_>, taking: &Taking) {
    while let Ok(Some(_)) = field.chunk().await {
        taking.note();
    }
}
