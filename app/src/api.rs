//! The server functions: what an ordinary form can ask for. A page that is alive sends the same commands up its
//! socket instead. This is the one file that knows whether it is compiled for the server or for the browser.

#![expect(
    missing_docs,
    reason = "the server macro makes structs whose fields are the arguments described here"
)]

use domain::{ChatId, Problem};
use leptos::{
    prelude::{FromServerFnError, ServerFnErrorErr},
    server,
    server_fn::codec::JsonEncoding,
};
use serde::{Deserialize, Serialize};

#[cfg(feature = "ssr")]
pub use backend::{Backend, BackendContext, Promise};

/// A [`Problem`] as server functions want their errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Refusal(pub Problem);

impl FromServerFnError for Refusal {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(_: ServerFnErrorErr) -> Self {
        Self(Problem::BadForm)
    }
}

/// Starts a chat and leads to it. An empty nickname keeps the one there is, an empty title names the chat after its
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
) -> Result<ChatId, Refusal> {
    use domain::page::RefusedForm;
    let backend = backend::current()?;
    match backend::start_chat(&*backend, &nickname, &title, private, &id).await {
        Ok(chat) => {
            backend.go_to(format!("/chat/{chat}"));
            Ok(chat)
        }
        Err(problem) => {
            backend.refuse(problem, Some(RefusedForm::StartChat { nickname, title, private, id }));
            Err(Refusal(problem))
        }
    }
}

/// Posts a message and leads back to its chat.
///
/// # Errors
/// A [`Refusal`] when the text is wrong, the chat is not there or nothing can be stored.
#[server(prefix = "/api", endpoint = "post_message")]
pub async fn post_message(chat: String, client_id: String, body: String) -> Result<(), Refusal> {
    use domain::page::RefusedForm;
    let backend = backend::current()?;
    match backend::post_message(&*backend, &chat, &client_id, &body).await {
        Ok(chat) => {
            backend.go_to(format!("/chat/{chat}"));
            Ok(())
        }
        Err(problem) => {
            backend.refuse(problem, Some(RefusedForm::PostMessage { chat, client_id, body }));
            Err(Refusal(problem))
        }
    }
}

/// Calls oneself differently and leads back: to a chat, or home where `chat` is empty.
///
/// # Errors
/// A [`Refusal`] when the nickname is wrong or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_nickname")]
pub async fn set_nickname(#[server(default)] chat: String, nickname: String) -> Result<(), Refusal> {
    use domain::page::RefusedForm;
    let backend = backend::current()?;
    let done = backend::set_nickname(&*backend, &chat, &nickname).await;
    backend::lead(&*backend, done, Some(RefusedForm::SetNickname { chat, nickname }))
}

/// Calls a chat something else and leads back to it. For its owner alone.
///
/// # Errors
/// A [`Refusal`] when the title is wrong, the chat is not there or not one's own, or nothing can be stored.
#[server(prefix = "/api", endpoint = "edit_title")]
pub async fn edit_title(chat: String, title: String) -> Result<(), Refusal> {
    use domain::page::RefusedForm;
    let backend = backend::current()?;
    let done = backend::edit_title(&*backend, &chat, &title).await;
    backend::lead(&*backend, done, Some(RefusedForm::EditTitle { chat, title }))
}

/// Lets a chat be found by everybody (`public`) or by its link alone (`private`), and leads back to it. For its owner
/// alone.
///
/// # Errors
/// A [`Refusal`] when the chat is not there or not one's own, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_visibility")]
pub async fn set_visibility(chat: String, visibility: String) -> Result<(), Refusal> {
    let backend = backend::current()?;
    let done = backend::set_visibility(&*backend, &chat, &visibility).await;
    backend::lead(&*backend, done, None)
}

/// Leads to the chat of two with somebody, where there is one, and starts it where there is none. They are invited.
///
/// # Errors
/// A [`Refusal`] when it is oneself or somebody who is not here, or nothing can be stored.
#[server(prefix = "/api", endpoint = "chat_privately")]
pub async fn chat_privately(with: String) -> Result<ChatId, Refusal> {
    let backend = backend::current()?;
    match backend::chat_privately(&*backend, &with).await {
        Ok(chat) => {
            backend.go_to(format!("/chat/{chat}"));
            Ok(chat)
        }
        Err(problem) => {
            backend.refuse(problem, None);
            Err(Refusal(problem))
        }
    }
}

/// Says yes (`accept`) or no (`decline`) to an invite. Yes leads to the chat, no back to the page: that of the chat
/// `back`, or home where it is empty.
///
/// # Errors
/// A [`Refusal`] when the invite is no longer open or nothing can be stored.
#[server(prefix = "/api", endpoint = "answer_invite")]
pub async fn answer_invite(
    chat: String,
    answer: String,
    #[server(default)] back: String,
) -> Result<(), Refusal> {
    let backend = backend::current()?;
    let done = backend::answer_invite(&*backend, &chat, &answer, &back).await;
    backend::lead(&*backend, done, None)
}

/// Lets oneself be invited by others, or by nobody, and leads back to the page: that of the chat `back`, or home where it
/// is empty.
///
/// # Errors
/// A [`Refusal`] when nothing can be stored.
#[server(prefix = "/api", endpoint = "set_invites")]
pub async fn set_invites(are_taken: bool, #[server(default)] back: String) -> Result<(), Refusal> {
    use domain::Command;
    let backend = backend::current()?;
    let done = backend.execute(Command::SetInvites { are_taken }).await;
    backend::lead(&*backend, done.map(|()| backend::page_of(&back)), None)
}

/// Takes away a message and leads back to its chat. For whoever said it, or the owner of the chat.
///
/// # Errors
/// A [`Refusal`] when it is not there or not one's to take away, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_message")]
pub async fn remove_message(chat: String, message: u64) -> Result<(), Refusal> {
    use domain::{Command, Seq};
    let backend = backend::current()?;
    let done =
        backend::do_in(&*backend, &chat, |chat| Ok(Command::RemoveMessage { chat, message: Seq(message) }));
    backend::lead(&*backend, done.await, None)
}

/// Removes somebody from a chat, or lets them return, and leads back to it. For its owner alone.
///
/// # Errors
/// A [`Refusal`] when the chat is not there or not one's own, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_removed")]
pub async fn set_removed(chat: String, person: String, is_removed: bool) -> Result<(), Refusal> {
    use domain::Command;
    let backend = backend::current()?;
    let done = backend::do_in(&*backend, &chat, |chat| {
        Ok(Command::SetRemoved { chat, person: backend::parse_person(&person)?, is_removed })
    });
    backend::lead(&*backend, done.await, None)
}

/// Removes somebody from a chat with all they said in it, and leads back to it. For its owner alone.
///
/// # Errors
/// A [`Refusal`] when the chat is not there or not one's own, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_person")]
pub async fn remove_person(chat: String, person: String) -> Result<(), Refusal> {
    use domain::Command;
    let backend = backend::current()?;
    let done = backend::do_in(&*backend, &chat, |chat| {
        Ok(Command::RemovePerson { chat, person: backend::parse_person(&person)? })
    });
    backend::lead(&*backend, done.await, None)
}

/// Removes everybody from a chat who came within so many seconds, with all they said in it, and leads back to it. For its
/// owner alone.
///
/// # Errors
/// A [`Refusal`] when the chat is not there or not one's own, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_newcomers")]
pub async fn remove_newcomers(chat: String, seconds: u64) -> Result<(), Refusal> {
    use domain::Command;
    let backend = backend::current()?;
    let done = backend::do_in(&*backend, &chat, |chat| {
        Ok(Command::RemoveNewcomers { chat, seconds, people: Vec::new() })
    });
    backend::lead(&*backend, done.await, None)
}

/// Takes away all one said in a chat, whether one may still enter it or not, and leads home.
///
/// # Errors
/// A [`Refusal`] when the chat is not there, or nothing can be stored.
#[server(prefix = "/api", endpoint = "remove_own")]
pub async fn remove_own(chat: String) -> Result<(), Refusal> {
    use domain::Command;
    let backend = backend::current()?;
    let done = backend::do_in(&*backend, &chat, |chat| Ok(Command::RemoveOwn { chat })).await;
    backend::lead(&*backend, done.map(|_| "/".to_owned()), None)
}

/// Lets nobody else write in a chat, or everybody again, and leads back to it. For its owner alone.
///
/// # Errors
/// A [`Refusal`] when the chat is not there or not one's own, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_lock")]
pub async fn set_lock(chat: String, is_locked: bool) -> Result<(), Refusal> {
    use domain::Command;
    let backend = backend::current()?;
    let done = backend::do_in(&*backend, &chat, |chat| Ok(Command::SetLock { chat, is_locked }));
    backend::lead(&*backend, done.await, None)
}

/// Hides what somebody says from oneself, or shows it again, and leads back to a chat.
///
/// # Errors
/// A [`Refusal`] when it is oneself, or nothing can be stored.
#[server(prefix = "/api", endpoint = "set_hidden")]
pub async fn set_hidden(chat: String, person: String, is_hidden: bool) -> Result<(), Refusal> {
    use domain::Command;
    let backend = backend::current()?;
    let done = backend::do_in(&*backend, &chat, |_| {
        Ok(Command::SetHidden { person: backend::parse_person(&person)?, is_hidden })
    });
    backend::lead(&*backend, done.await, None)
}

#[cfg(feature = "ssr")]
mod backend {
    use std::{future::Future, pin::Pin, sync::Arc};

    use domain::{
        Answer, ChatId, ClientId, Command, Nickname, Problem, Title, UserId, Visibility,
        page::RefusedForm,
        slash::{self, Line},
    };
    use leptos::context::use_context;

    use super::Refusal;

    /// A future that can be kept behind a trait.
    pub type Promise<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

    /// What the server functions need of the server, for the user whose form it is.
    pub trait Backend: Send + Sync {
        /// An id for a new chat.
        ///
        /// # Errors
        /// [`Problem::NotStored`] when none can be drawn.
        fn fresh_chat_id(&self) -> Result<ChatId, Problem>;

        /// The id of the chat that a form starts: the same for the same form of this user with the same in it.
        ///
        /// # Errors
        /// [`Problem::NoSession`] and the like when it is nobody's.
        fn chat_id_of(&self, form: ClientId, title: &str, private: bool) -> Result<ChatId, Problem>;

        /// The chat of two of this user with another.
        ///
        /// # Errors
        /// [`Problem::UnknownChat`] when there is none, [`Problem::NoSession`] or [`Problem::NotReadable`].
        fn chat_of_two(&self, with: UserId) -> Result<ChatId, Problem>;

        /// Has a command done, and waits until it is on disk.
        fn execute(&self, command: Command) -> Promise<'_, Result<(), Problem>>;

        /// Leads a form to a page.
        fn go_to(&self, path: String);

        /// Says why a form was refused, and gives it back with what was written where something was.
        fn refuse(&self, problem: Problem, form: Option<RefusedForm>);
    }

    /// How the server hands itself to the server functions.
    #[derive(Clone)]
    pub struct BackendContext(pub Arc<dyn Backend>);

    pub(super) fn current() -> Result<Arc<dyn Backend>, Refusal> {
        use_context::<BackendContext>().map(|context| context.0).ok_or(Refusal(Problem::NotStored))
    }

    pub(super) async fn start_chat(
        backend: &dyn Backend,
        nickname: &str,
        title: &str,
        private: bool,
        form: &str,
    ) -> Result<ChatId, Problem> {
        let nickname = (!nickname.trim().is_empty()).then(|| Nickname::parse(nickname)).transpose()?;
        let title = (!title.trim().is_empty()).then(|| Title::parse(title)).transpose()?;
        let visibility = if private { Visibility::Private } else { Visibility::Public };
        if let Some(nickname) = nickname {
            backend.execute(Command::SetNickname { nickname, chats: Vec::new() }).await?;
        }
        let chat = match form.parse() {
            Ok(form) => backend.chat_id_of(form, title.as_ref().map_or("", Title::as_str), private)?,
            Err(_) => backend.fresh_chat_id()?,
        };
        backend.execute(Command::StartChat { chat, title, visibility }).await?;
        Ok(chat)
    }

    pub(super) async fn post_message(
        backend: &dyn Backend,
        chat: &str,
        client_id: &str,
        body: &str,
    ) -> Result<ChatId, Problem> {
        let chat = parse_chat(chat)?;
        let client_id = client_id.parse().map_err(|_| Problem::BadForm)?;
        let command = match slash::parse(body)? {
            Line::Post(body) => Command::Post { chat, client_id, body, waited_millis: 0 },
            Line::Nick(nickname) => Command::SetNickname { nickname, chats: Vec::new() },
        };
        backend.execute(command).await?;
        Ok(chat)
    }

    /// Leads a form that was accepted to its page, and says why one was refused, with what was written where something was.
    pub(super) fn lead(
        backend: &dyn Backend,
        done: Result<String, Problem>,
        form: Option<RefusedForm>,
    ) -> Result<(), Refusal> {
        match done {
            Ok(path) => {
                backend.go_to(path);
                Ok(())
            }
            Err(problem) => {
                backend.refuse(problem, form);
                Err(Refusal(problem))
            }
        }
    }

    fn parse_chat(chat: &str) -> Result<ChatId, Problem> {
        chat.parse().map_err(|_| Problem::UnknownChat)
    }

    pub(super) fn parse_person(person: &str) -> Result<UserId, Problem> {
        person.parse().map_err(|_| Problem::BadForm)
    }

    /// Has something done about a chat, and gives the page of that.
    pub(super) async fn do_in(
        backend: &dyn Backend,
        chat: &str,
        command: impl FnOnce(ChatId) -> Result<Command, Problem>,
    ) -> Result<String, Problem> {
        backend.execute(command(parse_chat(chat)?)?).await?;
        Ok(page_of(chat))
    }

    /// The page of a chat, or home: never anything that somebody else wrote into a form.
    pub(super) fn page_of(chat: &str) -> String {
        chat.parse::<ChatId>().map_or_else(|_| "/".to_owned(), |chat| format!("/chat/{chat}"))
    }

    pub(super) async fn set_nickname(
        backend: &dyn Backend,
        chat: &str,
        nickname: &str,
    ) -> Result<String, Problem> {
        let nickname = Nickname::parse(nickname)?;
        backend.execute(Command::SetNickname { nickname, chats: Vec::new() }).await?;
        Ok(page_of(chat))
    }

    pub(super) async fn edit_title(
        backend: &dyn Backend,
        chat: &str,
        title: &str,
    ) -> Result<String, Problem> {
        let (id, title) = (parse_chat(chat)?, Title::parse(title)?);
        backend.execute(Command::EditTitle { chat: id, title }).await?;
        Ok(page_of(chat))
    }

    pub(super) async fn set_visibility(
        backend: &dyn Backend,
        chat: &str,
        visibility: &str,
    ) -> Result<String, Problem> {
        let visibility = match visibility {
            "public" => Visibility::Public,
            "private" => Visibility::Private,
            _ => return Err(Problem::BadForm),
        };
        backend.execute(Command::SetVisibility { chat: parse_chat(chat)?, visibility }).await?;
        Ok(page_of(chat))
    }

    pub(super) async fn chat_privately(backend: &dyn Backend, with: &str) -> Result<ChatId, Problem> {
        let with = parse_person(with)?;
        let chat = backend.fresh_chat_id()?;
        backend.execute(Command::ChatPrivately { with, chat, is_there: false, is_near: false }).await?;
        backend.chat_of_two(with)
    }

    pub(super) async fn answer_invite(
        backend: &dyn Backend,
        chat: &str,
        answer: &str,
        back: &str,
    ) -> Result<String, Problem> {
        let (answer, page) = match answer {
            "accept" => (Answer::Accept, page_of(chat)),
            "decline" => (Answer::Decline, page_of(back)),
            _ => return Err(Problem::BadForm),
        };
        let chat = chat.parse().map_err(|_| Problem::InviteGone)?;
        backend.execute(Command::AnswerInvite { chat, answer }).await?;
        Ok(page)
    }
}
