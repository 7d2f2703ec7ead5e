//! What the server functions share: the context that the server gives them, and how they read fields and redirect.

use std::sync::Arc;

use domain::{ChatId, Command, Problem, Title, UserId, Visibility};
use engine::{Caller, Engine, random};
use leptos::context::use_context;

/// The context of a server function: the engine, and who sent the form.
#[derive(Clone)]
pub struct FormContext {
    /// Executes the command.
    pub engine: Arc<Engine>,
    /// Who sent it, or why that is not known: then everything is refused, and what was written comes back.
    pub caller: Result<Caller, Problem>,
    /// Whether the form was longer than what is read of it: then it is refused for its length.
    pub is_cut: bool,
}

/// The context around a server function.
///
/// # Errors
/// [`Problem::NotStored`] where none was provided, which is a fault of the server.
fn form_context() -> Result<FormContext, Problem> {
    use_context().ok_or(Problem::NotStored)
}

/// Executes a command, and waits until what came of it is on disk.
///
/// # Errors
/// Why it was refused.
pub(super) async fn execute(command: Command) -> Result<(), Problem> {
    let FormContext { engine, caller, is_cut } = form_context()?;
    if is_cut {
        return Err(too_long(&command));
    }
    engine.execute(caller?, command).await.map(|_| ())
}

/// Why a command is refused whose form was too long to be read.
fn too_long(command: &Command) -> Problem {
    match command {
        Command::Post { .. } => Problem::MessageTooLong,
        Command::SetNickname { .. } => Problem::NicknameTooLong,
        Command::StartChat { .. } | Command::EditTitle { .. } => Problem::TitleTooLong,
        _ => Problem::BadForm,
    }
}

/// An id for a new chat.
///
/// # Errors
/// [`Problem::NotStored`] when none can be drawn.
pub(super) fn fresh_chat_id() -> Result<ChatId, Problem> {
    random::chat_id().map_err(|error| {
        tracing::error!(%error, "no chat id could be drawn");
        Problem::NotStored
    })
}

/// The id of the chat that a form starts: the same each time for the same form of the same person with the same in it, and
/// a fresh one where the form has no id.
///
/// # Errors
/// Why it is not known who sent it, or [`Problem::NotStored`] when no id can be drawn.
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

/// The chat of two with another person.
///
/// # Errors
/// [`Problem::UnknownChat`] when there is none, why it is not known who asks, or [`Problem::NotReadable`].
pub(super) fn chat_of_two(with: UserId) -> Result<ChatId, Problem> {
    let FormContext { engine, caller, .. } = form_context()?;
    Ok(engine.chat_of_two(caller?.user, with)?.ok_or(Problem::UnknownChat)?.id)
}

/// The chat that a field names.
///
/// # Errors
/// [`Problem::UnknownChat`] when it is no id.
pub(super) fn parse_chat(field: &str) -> Result<ChatId, Problem> {
    field.parse().map_err(|_| Problem::UnknownChat)
}

/// The person that a field names.
///
/// # Errors
/// [`Problem::BadForm`] when it is no id.
pub(super) fn parse_person(field: &str) -> Result<UserId, Problem> {
    field.parse().map_err(|_| Problem::BadForm)
}

/// The path of a chat.
pub(super) fn chat_page(chat: ChatId) -> String {
    format!("/chat/{chat}")
}

/// The path of the chat that a field names, or of the home page: never anything else that somebody wrote into a form.
pub(super) fn back_to(field: &str) -> String {
    parse_chat(field).map_or_else(|_| "/".to_owned(), chat_page)
}

/// Redirects a page without a script.
pub(super) fn redirect(path: &str) {
    leptos_axum::redirect(path, false);
}
