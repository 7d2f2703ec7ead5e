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
/// owner; `private` is what a ticked box sends.
///
/// # Errors
/// A [`Refusal`] when a text is wrong or nothing can be stored.
#[server(prefix = "/api", endpoint = "start_chat")]
pub async fn start_chat(
    nickname: String,
    title: String,
    #[server(default)] private: bool,
) -> Result<ChatId, Refusal> {
    use domain::page::RefusedForm;
    let backend = backend::current()?;
    match backend::start_chat(&*backend, &nickname, &title, private).await {
        Ok(chat) => {
            backend.go_to(format!("/chat/{chat}"));
            Ok(chat)
        }
        Err(problem) => {
            backend.refuse(problem, RefusedForm::StartChat { nickname, title, private });
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
            backend.refuse(problem, RefusedForm::PostMessage { chat, client_id, body });
            Err(Refusal(problem))
        }
    }
}

#[cfg(feature = "ssr")]
mod backend {
    use std::{future::Future, pin::Pin, sync::Arc};

    use domain::{
        ChatId, Command, Nickname, Problem, Title, Visibility,
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

        /// Has a command done, and waits until it is on disk.
        fn execute(&self, command: Command) -> Promise<'_, Result<(), Problem>>;

        /// Leads a form to a page.
        fn go_to(&self, path: String);

        /// Gives a form back with what was written and why it was refused.
        fn refuse(&self, problem: Problem, form: RefusedForm);
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
    ) -> Result<ChatId, Problem> {
        let nickname = (!nickname.trim().is_empty()).then(|| Nickname::parse(nickname)).transpose()?;
        let title = (!title.trim().is_empty()).then(|| Title::parse(title)).transpose()?;
        let visibility = if private { Visibility::Private } else { Visibility::Public };
        if let Some(nickname) = nickname {
            backend.execute(Command::SetNickname { nickname, chats: Vec::new() }).await?;
        }
        let chat = backend.fresh_chat_id()?;
        backend.execute(Command::StartChat { chat, title, visibility }).await?;
        Ok(chat)
    }

    pub(super) async fn post_message(
        backend: &dyn Backend,
        chat: &str,
        client_id: &str,
        body: &str,
    ) -> Result<ChatId, Problem> {
        let chat = chat.parse().map_err(|_| Problem::UnknownChat)?;
        let client_id = client_id.parse().map_err(|_| Problem::BadForm)?;
        let command = match slash::parse(body)? {
            Line::Post(body) => Command::Post { chat, client_id, body },
            Line::Nick(nickname) => Command::SetNickname { nickname, chats: vec![chat] },
        };
        backend.execute(command).await?;
        Ok(chat)
    }
}
