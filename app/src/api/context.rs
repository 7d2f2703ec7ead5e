//! What the server functions share: the context that the server provides, and how fields are parsed and pages
//! addressed.

use std::sync::Arc;

use domain::{ChatId, Command, Draft, Problem, Title, UserId, Visibility};
use engine::{Caller, Engine, random};
use leptos::context::use_context;

/// The context of a server function.
#[derive(Clone)]
pub struct FormContext {
    /// The engine that executes the command.
    pub engine: Arc<Engine>,
    /// The user who sent the form, or why it is unknown. In that case everything is refused, and the form is shown
    /// again.
    pub caller: Result<Caller, Problem>,
    /// Whether the form was longer than the server reads. In that case it is refused as too long.
    pub is_cut: bool,
}

/// Returns the context that the server provides.
///
/// # Errors
/// [`Problem::NotStored`] if there is none, which is a bug in the server.
fn form_context() -> Result<FormContext, Problem> {
    use_context().ok_or(Problem::NotStored)
}

/// Executes a command and waits until its result is durable.
///
/// # Errors
/// The problem with which the command was refused.
pub(super) async fn execute(asked_for: impl Into<Draft>) -> Result<(), Problem> {
    let FormContext { engine, caller, is_cut } = form_context()?;
    let draft = asked_for.into();
    if is_cut {
        return Err(too_long(&draft));
    }
    engine.execute(caller?, draft).await.map(|_| ())
}

/// Returns the problem of a command whose form was too long to be read.
fn too_long(draft: &Draft) -> Problem {
    match draft {
        Draft::Say { .. } | Draft::EditMessage { .. } => Problem::MessageTooLong,
        Draft::Command(Command::SetNickname { .. }) => Problem::NicknameTooLong,
        Draft::Command(Command::StartChat { .. } | Command::EditTitle { .. }) => Problem::TitleTooLong,
        _ => Problem::BadForm,
    }
}

/// Returns a random id for a new chat.
///
/// # Errors
/// [`Problem::NotStored`] if the system has no randomness.
pub(super) fn fresh_chat_id() -> Result<ChatId, Problem> {
    random::chat_id().map_err(|error| {
        tracing::error!(%error, "no chat id could be drawn");
        Problem::NotStored
    })
}

/// Returns the id of the chat that a form starts: always the same for the same user, form id and contents, or a random
/// one if the form has no id.
///
/// # Errors
/// The problem of the [caller](FormContext::caller) if the user is unknown, or [`Problem::NotStored`] if the system has
/// no randomness.
pub(super) fn new_chat_id(
    form: &str,
    title: Option<&Title>,
    visibility: Visibility,
) -> Result<ChatId, Problem> {
    match form.parse() {
        Ok(form) => {
            let user = form_context()?.caller?.user;
            Ok(Engine::chat_id_of_form(user, form, title, visibility))
        }
        Err(_) => fresh_chat_id(),
    }
}

/// Returns the id of the user's direct chat with another user.
///
/// # Errors
/// [`Problem::UnknownChat`] if there is none, [`Problem::NotReadable`] if the database cannot be read, or the problem
/// of the [caller](FormContext::caller) if the user is unknown.
pub(super) fn direct_chat_with(with: UserId) -> Result<ChatId, Problem> {
    let FormContext { engine, caller, .. } = form_context()?;
    Ok(engine.direct_chat_with(caller?.user, with)?.ok_or(Problem::UnknownChat)?.id)
}

/// Parses a chat id.
///
/// # Errors
/// [`Problem::UnknownChat`] if it is not an id.
pub(super) fn parse_chat(field: &str) -> Result<ChatId, Problem> {
    field.parse().map_err(|_| Problem::UnknownChat)
}

/// Parses a user id.
///
/// # Errors
/// [`Problem::BadForm`] if it is not an id.
pub(super) fn parse_person(field: &str) -> Result<UserId, Problem> {
    field.parse().map_err(|_| Problem::BadForm)
}

/// Returns the path of a chat.
pub(super) fn chat_page(chat: ChatId) -> String {
    format!("/chat/{chat}")
}

/// Returns the path of the chat that a field names, or `/` if it is not a chat id. The field itself never becomes the
/// path, so that a forged form cannot redirect elsewhere.
pub(super) fn back_to(field: &str) -> String {
    parse_chat(field).map_or_else(|_| "/".to_owned(), chat_page)
}

/// Redirects the browser to a path of this server.
pub(super) fn redirect(path: &str) {
    leptos_axum::redirect(path, false);
}
