//! The server functions behind the ordinary forms. A hydrated page sends most of these commands over its socket
//! instead. Each function validates the fields, executes a command and redirects to a page. A refusal is an error that
//! carries the form, so that the server can show it again. This is the only file that depends on whether it is compiled
//! for the server or for the browser.

#![expect(
    missing_docs,
    reason = "the server macro makes structs whose fields are the arguments described here"
)]

use domain::{ChatId, Problem, page::RefusedForm};
use leptos::{
    prelude::{FromServerFnError, ServerFnErrorErr},
    server,
    server_fn::codec::JsonEncoding,
};
use serde::{Deserialize, Serialize};

#[cfg(feature = "ssr")]
mod context;

#[cfg(feature = "ssr")]
pub use context::FormContext;
#[cfg(feature = "ssr")]
use {
    context::{chat_page, execute, parse_chat, parse_person, redirect},
    domain::{
        Answer, Body, Command, Draft, Nickname, Seq, Title, Visibility,
        frame::ClientCommand,
        picture::PictureTicket,
        slash::{self, ComposerInput},
    },
};

/// The error of a server function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why the form was refused.
    pub problem: Problem,
    /// The form as submitted, to be shown again. `None` for forms without text fields.
    pub form: Option<RefusedForm>,
}

impl Refusal {
    #[cfg(feature = "ssr")]
    fn of(form: RefusedForm) -> impl FnOnce(Problem) -> Self {
        move |problem| Self { problem, form: Some(form) }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, form: None }
    }
}

impl FromServerFnError for Refusal {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(_: ServerFnErrorErr) -> Self {
        Problem::BadForm.into()
    }
}

/// Starts a chat and redirects to it. An empty nickname keeps the current one, and an empty title names the chat after
/// its owner. `private` is sent by a ticked checkbox. Submitting a form with the same `id` and contents again does not
/// start another chat; without an id, each submission starts one.
///
/// # Errors
/// A [`Refusal`] if a text is invalid or nothing can be stored.
#[server(prefix = "/api", endpoint = "start_chat")]
pub async fn start_chat(
    #[server(default)] nickname: String,
    #[server(default)] title: String,
    #[server(default)] private: bool,
    #[server(default)] id: String,
) -> Result<ChatId, Refusal> {
    let start = async {
        let written = |text: &str| !text.trim().is_empty();
        let new_nickname = written(&nickname).then(|| Nickname::parse(&nickname)).transpose()?;
        let new_title = written(&title).then(|| Title::parse(&title)).transpose()?;
        let visibility = if private { Visibility::Private } else { Visibility::Public };
        if let Some(nickname) = new_nickname {
            execute(Command::SetNickname { nickname, chats: Vec::new() }).await?;
        }
        let chat = context::new_chat_id(&id, new_title.as_ref(), visibility)?;
        execute(Command::StartChat { chat, title: new_title, visibility }).await?;
        Ok(chat)
    };
    let chat = start.await.map_err(Refusal::of(RefusedForm::StartChat { nickname, title, private, id }))?;
    redirect(&chat_page(chat));
    Ok(chat)
}

/// Posts a message and redirects to its chat. `pictures` are the tickets of its pictures, separated by spaces: the server
/// puts them into the place of the files that the form was sent with. `alt` describes them, all of them together. `reply_to` is the
/// message that it answers.
///
/// # Errors
/// A [`Refusal`] if the text is invalid, the chat does not exist or nothing can be stored.
#[server(prefix = "/api", endpoint = "post_message")]
pub async fn post_message(
    chat: String,
    client_id: String,
    body: String,
    #[server(default)] pictures: String,
    #[server(default)] reply_to: String,
    #[server(default)] alt: String,
) -> Result<(), Refusal> {
    let had_pictures = !pictures.is_empty();
    let post = async {
        let chat = parse_chat(&chat)?;
        let answered = match reply_to.as_str() {
            "" => None,
            seq => Some(Seq(seq.parse().map_err(|_| Problem::BadForm)?)),
        };
        let client_id = client_id.parse().map_err(|_| Problem::BadForm)?;
        let described = |ticket: &str| PictureTicket { ticket: ticket.to_owned(), alt: alt.clone() };
        let tickets: Vec<_> = pictures.split_whitespace().map(described).collect();
        let input = if tickets.is_empty() || !body.trim().is_empty() {
            slash::parse(&body)?
        } else {
            ComposerInput::Post(Body::empty())
        };
        let draft = match input {
            ComposerInput::Post(body) => Draft::post(chat, client_id, body),
            ComposerInput::Action(body) => Draft::action(chat, client_id, body),
            ComposerInput::Nick(nickname) => {
                execute(Command::SetNickname { nickname, chats: Vec::new() }).await?;
                if tickets.is_empty() {
                    return Ok(chat_page(chat));
                }
                // The pictures are a message of their own, under the new name.
                Draft::post(chat, client_id, Body::empty())
            }
        };
        execute(draft.with_pictures(tickets).with_reply_to(answered)).await?;
        Ok(chat_page(chat))
    };
    redirect(&post.await.map_err(Refusal::of(RefusedForm::PostMessage {
        chat,
        client_id,
        body,
        reply_to,
        had_pictures,
        alt,
    }))?);
    Ok(())
}

/// Changes the user's nickname and redirects back: to a chat, or to the home page if `chat` is empty.
///
/// # Errors
/// A [`Refusal`] if the nickname is invalid or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_nickname")]
pub async fn set_nickname(#[server(default)] chat: String, nickname: String) -> Result<(), Refusal> {
    let rename = async {
        let nickname = Nickname::parse(&nickname)?;
        execute(Command::SetNickname { nickname, chats: Vec::new() }).await?;
        Ok(context::back_to(&chat))
    };
    redirect(&rename.await.map_err(Refusal::of(RefusedForm::SetNickname { chat, nickname }))?);
    Ok(())
}

/// Changes the title of a chat and redirects to it. Owner only.
///
/// # Errors
/// A [`Refusal`] if the title is invalid, the chat does not exist, the user is not its owner, or nothing can be stored.
#[server(prefix = "/api", endpoint = "edit_title")]
pub async fn edit_title(chat: String, title: String) -> Result<(), Refusal> {
    let edit = async {
        let (chat, title) = (parse_chat(&chat)?, Title::parse(&title)?);
        execute(Command::EditTitle { chat, title }).await?;
        Ok(chat_page(chat))
    };
    redirect(&edit.await.map_err(Refusal::of(RefusedForm::EditTitle { chat, title }))?);
    Ok(())
}

/// Lists a chat publicly (`public`) or makes it reachable by its link only (`private`), and redirects to it. Owner
/// only.
///
/// # Errors
/// A [`Refusal`] if the chat does not exist, the user is not its owner, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_visibility")]
pub async fn set_visibility(chat: String, visibility: String) -> Result<(), Refusal> {
    let visibility = match &*visibility {
        "public" => Visibility::Public,
        "private" => Visibility::Private,
        _ => return Err(Problem::BadForm.into()),
    };
    let chat = parse_chat(&chat)?;
    execute(Command::SetVisibility { chat, visibility }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Redirects to the direct chat with another user, starting it if there is none. The other user is invited.
///
/// # Errors
/// A [`Refusal`] if the other user is the user themselves, is offline or cannot be invited, or nothing can be stored.
#[server(prefix = "/api", endpoint = "chat_privately")]
pub async fn chat_privately(with: String) -> Result<ChatId, Refusal> {
    let with = parse_person(&with)?;
    let chat = context::fresh_chat_id()?;
    execute(Command::ChatPrivately { with, chat, is_there: false, is_near: false }).await?;
    let chat = context::direct_chat_with(with)?;
    redirect(&chat_page(chat));
    Ok(chat)
}

/// Accepts (`accept`) or declines (`decline`) an invite. Accepting redirects to the chat; declining redirects back, to
/// the chat `back`, or to the home page if it is empty.
///
/// # Errors
/// A [`Refusal`] if the invite is no longer open or nothing can be stored.
#[server(prefix = "/api", endpoint = "answer_invite")]
pub async fn answer_invite(
    chat: String,
    answer: String,
    #[server(default)] back: String,
) -> Result<(), Refusal> {
    let (answer, page) = match &*answer {
        "accept" => (Answer::Accept, context::back_to(&chat)),
        "decline" => (Answer::Decline, context::back_to(&back)),
        _ => return Err(Problem::BadForm.into()),
    };
    let chat = chat.parse().map_err(|_| Problem::InviteGone)?;
    execute(Command::AnswerInvite { chat, answer }).await?;
    redirect(&page);
    Ok(())
}

/// Sets whether other users can invite the user, and redirects back, to the chat `back`, or to the home page if it is
/// empty.
///
/// # Errors
/// A [`Refusal`] if nothing can be stored.
#[server(prefix = "/api", endpoint = "set_invites")]
pub async fn set_invites(are_taken: bool, #[server(default)] back: String) -> Result<(), Refusal> {
    execute(Command::SetInvites { are_taken }).await?;
    redirect(&context::back_to(&back));
    Ok(())
}

/// Removes a message and redirects to its chat. For its author and the owner of the chat.
///
/// # Errors
/// A [`Refusal`] if the message does not exist, the user may not remove it, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_message")]
pub async fn remove_message(chat: String, message: u64) -> Result<(), Refusal> {
    let chat = parse_chat(&chat)?;
    execute(Command::RemoveMessage { chat, message: Seq(message) }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Removes a user from a chat, or lets them return, and redirects to the chat. Owner only.
///
/// # Errors
/// A [`Refusal`] if the chat does not exist, the user is not its owner, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_removed")]
pub async fn set_removed(chat: String, person: String, is_removed: bool) -> Result<(), Refusal> {
    let (chat, person) = (parse_chat(&chat)?, parse_person(&person)?);
    execute(Command::SetRemoved { chat, person, is_removed }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Removes a user from a chat with all their messages there, and redirects to the chat. Owner only.
///
/// # Errors
/// A [`Refusal`] if the chat does not exist, the user is not its owner, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_person")]
pub async fn remove_person(chat: String, person: String) -> Result<(), Refusal> {
    let (chat, person) = (parse_chat(&chat)?, parse_person(&person)?);
    execute(Command::RemovePerson { chat, person }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Removes all users who came to a chat within the last `seconds` seconds, with all their messages there, and redirects
/// to the chat. Owner only.
///
/// # Errors
/// A [`Refusal`] if the chat does not exist, the user is not its owner, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_newcomers")]
pub async fn remove_newcomers(chat: String, seconds: u64) -> Result<(), Refusal> {
    let chat = parse_chat(&chat)?;
    execute(Command::RemoveNewcomers { chat, seconds, people: Vec::new() }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Removes all messages of the user from a chat, even if the user may not enter it any more, and redirects to the home
/// page.
///
/// # Errors
/// A [`Refusal`] if the chat does not exist or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_own")]
pub async fn remove_own(chat: String) -> Result<(), Refusal> {
    execute(Command::RemoveOwn { chat: parse_chat(&chat)? }).await?;
    redirect("/");
    Ok(())
}

/// Locks a chat, so that only its owner can write, or unlocks it, and redirects to it. Owner only.
///
/// # Errors
/// A [`Refusal`] if the chat does not exist, the user is not its owner, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_lock")]
pub async fn set_lock(chat: String, is_locked: bool) -> Result<(), Refusal> {
    let chat = parse_chat(&chat)?;
    execute(Command::SetLock { chat, is_locked }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Reacts to a message with the emoji `on`, or takes the reaction with the emoji `off` back, and redirects to the message.
///
/// # Errors
/// A [`Refusal`] if the text is no emoji, the message does not exist, the user may not react to it, or nothing can be stored.
#[server(prefix = "/api", endpoint = "react")]
pub async fn react(
    chat: String,
    message: u64,
    #[server(default)] on: Option<String>,
    #[server(default)] off: Option<String>,
) -> Result<(), Refusal> {
    let (emoji, is_on) = match (on, off) {
        (_, Some(off)) if !off.is_empty() => (off, false),
        (Some(on), _) => (on, true),
        (None, _) => return Err(Problem::BadForm.into()),
    };
    let react = async {
        let chat = parse_chat(&chat)?;
        let (message, emoji) = (Seq(message), emoji.trim().to_owned());
        execute(Draft::React { chat, message, emoji, is_on }).await?;
        Ok(format!("{}?at={message}", chat_page(chat)))
    };
    redirect(&react.await.map_err(Refusal::of(RefusedForm::React { chat, message, emoji }))?);
    Ok(())
}

/// Gives a message of the user's own another text, and redirects to it.
///
/// # Errors
/// A [`Refusal`] if the text is invalid, the message does not exist or is another user's, the user may not write in the chat, or
/// nothing can be stored.
#[server(prefix = "/api", endpoint = "edit_message")]
pub async fn edit_message(
    chat: String,
    message: u64,
    #[server(default)] body: String,
) -> Result<(), Refusal> {
    let edit = async {
        let parsed = parse_chat(&chat)?;
        let ask = ClientCommand::EditMessage {
            chat: parsed,
            message: Seq(message),
            body: body.clone(),
            mentions: None,
        };
        execute(ask.check()?).await?;
        Ok(format!("{}?at={message}", chat_page(parsed)))
    };
    redirect(&edit.await.map_err(Refusal::of(RefusedForm::EditMessage { chat, message, body }))?);
    Ok(())
}

/// Hides the messages of another user from the user, or shows them again, and redirects to a chat.
///
/// # Errors
/// A [`Refusal`] if the other user is the user themselves, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_hidden")]
pub async fn set_hidden(chat: String, person: String, is_hidden: bool) -> Result<(), Refusal> {
    let (chat, person) = (parse_chat(&chat)?, parse_person(&person)?);
    execute(Command::SetHidden { person, is_hidden }).await?;
    redirect(&chat_page(chat));
    Ok(())
}
