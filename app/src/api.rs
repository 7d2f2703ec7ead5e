//! The server functions: what an ordinary form can ask for. A page that is alive sends the same commands up its
//! socket instead. Each checks what was written, has a command executed, and redirects to a page; what is refused is an
//! error that carries the form, for the server to show it again. This is the one file that knows whether it is compiled for
//! the server or for the browser.

#![expect(
    missing_docs,
    reason = "the server macro makes structs whose fields are the arguments described here"
)]

use domain::{Problem, page::RefusedForm};
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
        Answer, Command, Nickname, Seq, Title, Visibility,
        slash::{self, ComposerInput},
    },
};

/// The error of a server function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why the form was refused.
    pub problem: Problem,
    /// The form as it came, to be shown again. `None` where nothing was written in it.
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

/// Starts a chat and redirects to it. An empty nickname keeps the one there is, an empty title names the chat after its
/// owner; `private` is what a ticked box sends. The same form with the same `id` starts one chat, however often it is
/// sent; without an id, one each time.
///
/// # Errors
/// A [`Refusal`] when a text is wrong or nothing can be stored.
#[server(prefix = "/api", endpoint = "start_chat")]
pub async fn start_chat(
    #[server(default)] nickname: String,
    #[server(default)] title: String,
    #[server(default)] private: bool,
    #[server(default)] id: String,
) -> Result<(), Refusal> {
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
        Ok(chat_page(chat))
    };
    redirect(&start.await.map_err(Refusal::of(RefusedForm::StartChat { nickname, title, private, id }))?);
    Ok(())
}

/// Posts a message and redirects to its chat.
///
/// # Errors
/// A [`Refusal`] when the text is wrong, the chat is not there or nothing can be stored.
#[server(prefix = "/api", endpoint = "post_message")]
pub async fn post_message(chat: String, client_id: String, body: String) -> Result<(), Refusal> {
    let post = async {
        let chat = parse_chat(&chat)?;
        let client_id = client_id.parse().map_err(|_| Problem::BadForm)?;
        let command = match slash::parse(&body)? {
            ComposerInput::Post(body) => Command::Post { chat, client_id, body, waited_millis: 0 },
            ComposerInput::Nick(nickname) => Command::SetNickname { nickname, chats: Vec::new() },
        };
        execute(command).await?;
        Ok(chat_page(chat))
    };
    redirect(&post.await.map_err(Refusal::of(RefusedForm::PostMessage { chat, client_id, body }))?);
    Ok(())
}

/// Changes one's nickname and redirects back: to a chat, or home where `chat` is empty.
///
/// # Errors
/// A [`Refusal`] when the nickname is wrong or nothing can be stored.
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

/// Changes the title of a chat and redirects to it. For its owner alone.
///
/// # Errors
/// A [`Refusal`] when the title is wrong, the chat is not there or not one's own, or nothing can be stored.
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

/// Lets a chat be found by everybody (`public`) or by its link alone (`private`), and redirects to it. For its owner
/// alone.
///
/// # Errors
/// A [`Refusal`] when the chat is not there or not one's own, or nothing can be stored.
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

/// Redirects to the chat of two with another person, which is started where there is none. They are invited.
///
/// # Errors
/// A [`Refusal`] when it is oneself or a person who is not here, or nothing can be stored.
#[server(prefix = "/api", endpoint = "chat_privately")]
pub async fn chat_privately(with: String) -> Result<(), Refusal> {
    let with = parse_person(&with)?;
    let chat = context::fresh_chat_id()?;
    execute(Command::ChatPrivately { with, chat, is_there: false, is_near: false }).await?;
    redirect(&chat_page(context::chat_of_two(with)?));
    Ok(())
}

/// Accepts (`accept`) or declines (`decline`) an invite. Accepting redirects to the chat, declining back to the page: that
/// of the chat `back`, or home where it is empty.
///
/// # Errors
/// A [`Refusal`] when the invite is no longer open or nothing can be stored.
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

/// Lets oneself be invited by others, or by nobody, and redirects back to the page: that of the chat `back`, or home where
/// it is empty.
///
/// # Errors
/// A [`Refusal`] when nothing can be stored.
#[server(prefix = "/api", endpoint = "set_invites")]
pub async fn set_invites(are_taken: bool, #[server(default)] back: String) -> Result<(), Refusal> {
    execute(Command::SetInvites { are_taken }).await?;
    redirect(&context::back_to(&back));
    Ok(())
}

/// Removes a message and redirects to its chat. For its author, or the owner of the chat.
///
/// # Errors
/// A [`Refusal`] when it is not there or not one's to remove, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_message")]
pub async fn remove_message(chat: String, message: u64) -> Result<(), Refusal> {
    let chat = parse_chat(&chat)?;
    execute(Command::RemoveMessage { chat, message: Seq(message) }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Removes a person from a chat, or lets them return, and redirects to it. For its owner alone.
///
/// # Errors
/// A [`Refusal`] when the chat is not there or not one's own, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_removed")]
pub async fn set_removed(chat: String, person: String, is_removed: bool) -> Result<(), Refusal> {
    let (chat, person) = (parse_chat(&chat)?, parse_person(&person)?);
    execute(Command::SetRemoved { chat, person, is_removed }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Removes a person from a chat with all they said in it, and redirects to it. For its owner alone.
///
/// # Errors
/// A [`Refusal`] when the chat is not there or not one's own, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_person")]
pub async fn remove_person(chat: String, person: String) -> Result<(), Refusal> {
    let (chat, person) = (parse_chat(&chat)?, parse_person(&person)?);
    execute(Command::RemovePerson { chat, person }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Removes everybody from a chat who came within so many seconds, with all they said in it, and redirects to it. For its
/// owner alone.
///
/// # Errors
/// A [`Refusal`] when the chat is not there or not one's own, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_newcomers")]
pub async fn remove_newcomers(chat: String, seconds: u64) -> Result<(), Refusal> {
    let chat = parse_chat(&chat)?;
    execute(Command::RemoveNewcomers { chat, seconds, people: Vec::new() }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Removes all one said in a chat, whether one may still enter it or not, and redirects home.
///
/// # Errors
/// A [`Refusal`] when the chat is not there, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_own")]
pub async fn remove_own(chat: String) -> Result<(), Refusal> {
    execute(Command::RemoveOwn { chat: parse_chat(&chat)? }).await?;
    redirect("/");
    Ok(())
}

/// Lets nobody else write in a chat, or everybody again, and redirects to it. For its owner alone.
///
/// # Errors
/// A [`Refusal`] when the chat is not there or not one's own, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_lock")]
pub async fn set_lock(chat: String, is_locked: bool) -> Result<(), Refusal> {
    let chat = parse_chat(&chat)?;
    execute(Command::SetLock { chat, is_locked }).await?;
    redirect(&chat_page(chat));
    Ok(())
}

/// Hides what a person says from oneself, or shows it again, and redirects to a chat.
///
/// # Errors
/// A [`Refusal`] when it is oneself, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_hidden")]
pub async fn set_hidden(chat: String, person: String, is_hidden: bool) -> Result<(), Refusal> {
    let (chat, person) = (parse_chat(&chat)?, parse_person(&person)?);
    execute(Command::SetHidden { person, is_hidden }).await?;
    redirect(&chat_page(chat));
    Ok(())
}
