//! Pages that say one thing: what happened, what is safe, what to do. Their forms and links work as they come, so that
//! nothing of them is sent to a browser but what it shows.

use domain::{
    ChatId, Problem,
    page::{Notice, RefusedForm},
};
use leptos::{prelude::*, server_fn::ServerFn};

use crate::{
    api::{EditTitle, PostMessage, SetNickname},
    view::{ended::RemoveOwnForm, icon, start_form::StartForm, wordmark::Wordmark},
};

/// A page that says one thing.
#[component]
pub fn NoticePage(
    /// What.
    notice: Notice,
) -> impl IntoView {
    match notice {
        Notice::Refused { problem, form } => view! { <RefusedPage problem form /> }.into_any(),
        Notice::Problem(problem) => view! { <ProblemPage problem /> }.into_any(),
        Notice::Removed(chat) => view! { <RemovedPage chat /> }.into_any(),
        Notice::Missing => view! { <MissingPage /> }.into_any(),
    }
}

#[component]
fn Said(
    /// What happened, in a few words.
    heading: &'static str,
    /// What it means and what to do.
    sentence: String,
    /// Whether something that was asked for was not done.
    #[prop(optional)]
    is_refusal: bool,
    children: Children,
) -> impl IntoView {
    view! {
        <div class="home">
            <header class="home-header">
                <Wordmark />
            </header>
            <main>
                <section class="card">
                    <h1>{heading}</h1>
                    <p role="alert" class:problem=is_refusal>{sentence}</p>
                    {children()}
                </section>
            </main>
        </div>
    }
}

/// No page has this address.
#[component]
fn MissingPage() -> impl IntoView {
    view! {
        <Said
            heading="There is nothing here"
            sentence="No page has this address. The link may be incomplete.".to_owned()
        >
            <HomeLink />
        </Said>
    }
}

/// There is nothing to show but why.
#[component]
fn ProblemPage(
    /// Why.
    problem: Problem,
) -> impl IntoView {
    let heading = match problem {
        Problem::UnknownChat => "No chat here",
        Problem::NotAdmitted => "A private chat",
        _ => "That did not work",
    };
    view! {
        <Said heading sentence=problem.to_string()>
            <HomeLink />
        </Said>
    }
}

/// The owner of a chat has removed whoever looks: what they said there is still theirs to take back.
#[component]
fn RemovedPage(
    /// From which.
    chat: ChatId,
) -> impl IntoView {
    view! {
        <Said heading="Removed from this chat" sentence=Problem::Removed.to_string()>
            <RemoveOwnForm chat />
            <HomeLink />
        </Said>
    }
}

/// A form that was refused, with everything that was written in it, to be mended and sent again.
#[component]
fn RefusedPage(
    /// What is wrong.
    problem: Problem,
    /// What was written.
    form: RefusedForm,
) -> impl IntoView {
    match form {
        RefusedForm::StartChat { nickname, title, private, id } => view! {
            <Said heading="Not started" sentence=problem.to_string() is_refusal=true>
                <StartForm nickname title private id />
            </Said>
        }
        .into_any(),
        RefusedForm::PostMessage { chat, client_id, body } => view! {
            <Said heading="Not sent" sentence=problem.to_string() is_refusal=true>
                <form method="post" action=PostMessage::PATH class="stack">
                    <input type="hidden" name="chat" value=chat.clone() />
                    <input type="hidden" name="client_id" value=client_id />
                    <label class="field">
                        <span>"Message"</span>
                        <textarea name="body" rows="8" required>
                            // HTML drops a line break at the beginning
                            {format!("\n{body}")}
                        </textarea>
                    </label>
                    <div class="row">
                        <button class="primary">{icon::send()} "Send"</button>
                        <a href=format!("/chat/{chat}")>"Back to the chat"</a>
                    </div>
                </form>
            </Said>
        }
        .into_any(),
        RefusedForm::SetNickname { chat, nickname } => view! {
            <Said heading="Not changed" sentence=problem.to_string() is_refusal=true>
                <NameForm action=SetNickname::PATH chat label="Nickname" name="nickname" value=nickname />
            </Said>
        }
        .into_any(),
        RefusedForm::EditTitle { chat, title } => view! {
            <Said heading="Not changed" sentence=problem.to_string() is_refusal=true>
                <NameForm action=EditTitle::PATH chat label="Chat title" name="title" value=title />
            </Said>
        }
        .into_any(),
    }
}

#[component]
fn NameForm(
    action: &'static str,
    /// The chat to go back to.
    chat: String,
    label: &'static str,
    /// What the field is called in the form.
    name: &'static str,
    /// What was written.
    value: String,
) -> impl IntoView {
    let back = if chat.is_empty() { "/".to_owned() } else { format!("/chat/{chat}") };
    view! {
        <form method="post" action=action class="stack">
            <input type="hidden" name="chat" value=chat />
            <label class="field">
                <span>{label}</span>
                <input name=name value=value autocomplete="off" dir="auto" />
            </label>
            <div class="row">
                <button class="primary">"Save"</button>
                <a href=back>"Back"</a>
            </div>
        </form>
    }
    .into_any()
}

#[component]
fn HomeLink() -> impl IntoView {
    view! {
        <p>
            <a class="primary" href="/">
                "Go home"
            </a>
        </p>
    }
}
