//! Static pages with a single notice: what happened, and what to do. They need no script: their forms and links are
//! ordinary ones.

use domain::{
    Body, ChatId, Problem, Seq,
    page::{Notice, RefusedForm},
};
use leptos::{prelude::*, server_fn::ServerFn};

use crate::{
    api::{EditTitle, PostMessage, SetNickname},
    view::{
        composer::PICTURE_KINDS, edit_form::EditForm, ended_notice::RemoveOwnForm, icon,
        react_form::ReactForms, start_form::StartForm, wordmark::Wordmark,
    },
};

/// A page with a single notice.
#[component]
pub fn NoticePage(
    /// The notice to show.
    notice: Notice,
) -> impl IntoView {
    match notice {
        Notice::Refused { problem, form } => view! { <RefusedPage problem form /> }.into_any(),
        Notice::Problem(problem) => view! { <ProblemPage problem /> }.into_any(),
        Notice::Removed(chat) => view! { <RemovedPage chat /> }.into_any(),
        Notice::React { chat, message } => view! { <ReactPage chat message /> }.into_any(),
        Notice::Edit { chat, message, body } => view! { <EditPage chat message body /> }.into_any(),
        Notice::Missing => view! { <MissingPage /> }.into_any(),
    }
}

/// The frame of a notice: the header of the site, and a card with the text.
#[component]
fn NoticeCard(
    /// What happened, in a few words.
    heading: &'static str,
    /// What it means and what to do.
    sentence: String,
    /// Whether a request of the user was refused.
    #[prop(optional)]
    is_refusal: bool,
    /// What the user can do, below the text.
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
                    <p role="alert" class:problem=is_refusal>
                        {sentence}
                    </p>
                    {children()}
                </section>
            </main>
        </div>
    }
}

/// The page for an unknown address.
#[component]
fn MissingPage() -> impl IntoView {
    view! {
        <NoticeCard
            heading="There is nothing here"
            sentence="No page has this address. The link may be incomplete.".to_owned()
        >
            <HomeLink />
        </NoticeCard>
    }
}

/// The page for a problem without anything else to show.
#[component]
fn ProblemPage(
    /// The problem to show.
    problem: Problem,
) -> impl IntoView {
    let heading = match problem {
        Problem::UnknownChat => "No chat here",
        Problem::NotAdmitted => "A private chat",
        _ => "That did not work",
    };
    view! {
        <NoticeCard heading sentence=problem.to_string()>
            <HomeLink />
        </NoticeCard>
    }
}

/// The page for a user who was removed from a chat by its owner. They can still remove their own messages there.
#[component]
fn RemovedPage(
    /// The chat from which the user was removed.
    chat: ChatId,
) -> impl IntoView {
    view! {
        <NoticeCard heading="Removed from this chat" sentence=Problem::Removed.to_string()>
            <RemoveOwnForm chat />
            <HomeLink />
        </NoticeCard>
    }
}

/// The page on which a reader without a script reacts to a message.
#[component]
fn ReactPage(
    /// The chat that the message is in.
    chat: ChatId,
    /// The sequence number of the message.
    message: Seq,
) -> impl IntoView {
    view! {
        <NoticeCard heading="React" sentence="Choose an emoji, or write another one.".to_owned()>
            <ReactForms chat=chat.to_string() message=message.0 />
        </NoticeCard>
    }
}

/// The page on which a reader without a script edits a message.
#[component]
fn EditPage(
    /// The chat that the message is in.
    chat: ChatId,
    /// The sequence number of the message.
    message: Seq,
    /// The text of the message.
    body: Body,
) -> impl IntoView {
    view! {
        <NoticeCard heading="Edit message" sentence="Others see that it was edited, and when.".to_owned()>
            <EditForm chat=chat.to_string() message=message.0 body=body.to_string() />
        </NoticeCard>
    }
}

/// A refused form with everything that was typed, to be corrected and submitted again.
#[component]
fn RefusedPage(
    /// Why the form was refused.
    problem: Problem,
    /// The form as submitted.
    form: RefusedForm,
) -> impl IntoView {
    match form {
        RefusedForm::StartChat { nickname, title, private, id } => view! {
            <NoticeCard heading="Not started" sentence=problem.to_string() is_refusal=true>
                <StartForm nickname title private id />
            </NoticeCard>
        }
        .into_any(),
        RefusedForm::PostMessage { chat, client_id, body, reply_to, had_pictures, alt } => view! {
            <NoticeCard heading="Not sent" sentence=problem.to_string() is_refusal=true>
                <MessageForm chat client_id body reply_to had_pictures alt problem />
            </NoticeCard>
        }
        .into_any(),
        RefusedForm::SetNickname { chat, nickname } => view! {
            <NoticeCard heading="Not changed" sentence=problem.to_string() is_refusal=true>
                <NameForm action=SetNickname::PATH chat label="Nickname" name="nickname" value=nickname />
            </NoticeCard>
        }
        .into_any(),
        RefusedForm::EditTitle { chat, title } => view! {
            <NoticeCard heading="Not changed" sentence=problem.to_string() is_refusal=true>
                <NameForm action=EditTitle::PATH chat label="Chat title" name="title" value=title />
            </NoticeCard>
        }
        .into_any(),
        RefusedForm::React { chat, message, emoji } => view! {
            <NoticeCard heading="Not done" sentence=problem.to_string() is_refusal=true>
                <ReactForms chat message emoji />
            </NoticeCard>
        }
        .into_any(),
        RefusedForm::EditMessage { chat, message, body } => view! {
            <NoticeCard heading="Not saved" sentence=problem.to_string() is_refusal=true>
                <EditForm chat message body />
            </NoticeCard>
        }
        .into_any(),
    }
}

/// A refused message, to be corrected.
#[component]
fn MessageForm(
    /// The id of the chat.
    chat: String,
    /// The id of the message.
    client_id: String,
    /// The text as typed.
    body: String,
    /// The sequence number of the message that it answers. Empty if it answers none.
    reply_to: String,
    /// Whether it was sent with pictures.
    had_pictures: bool,
    /// The description of the pictures as typed.
    alt: String,
    /// Why it was refused.
    problem: Problem,
) -> impl IntoView {
    let takes_pictures = (had_pictures || problem.is_of_pictures()) && problem != Problem::PicturesOff;
    view! {
        <form
            method="post"
            action=PostMessage::PATH
            enctype=takes_pictures.then_some("multipart/form-data")
            class="stack"
        >
            <input type="hidden" name="chat" value=chat.clone() />
            <input type="hidden" name="client_id" value=client_id />
            // What is gone cannot be answered: sent again, it is a message of its own.
            {(!reply_to.is_empty() && problem != Problem::ReplyGone)
                .then(|| view! { <input type="hidden" name="reply_to" value=reply_to /> })}
            <label class="field">
                <span>"Message"</span>
                <textarea name="body" rows="8" required=!takes_pictures>
                    // HTML drops a line break at the beginning of a textarea.
                    {format!("\n{body}")}
                </textarea>
            </label>
            // A browser does not keep the files.
            {takes_pictures
                .then(|| {
                    view! {
                        <label class="field">
                            <span>"Choose the pictures again"</span>
                            <input type="file" name="pictures" accept=PICTURE_KINDS multiple />
                        </label>
                        <label class="field">
                            <span>"Description of the pictures"</span>
                            <input name="alt" value=alt autocomplete="off" dir="auto" />
                        </label>
                    }
                })}
            <div class="row">
                <button class="primary">{icon::send()} "Send"</button>
                <a href=format!("/chat/{chat}")>"Back to the chat"</a>
            </div>
        </form>
    }
    .into_any()
}

/// A refused form with a single name, of a user or a chat, to be corrected.
#[component]
fn NameForm(
    /// The path that the form is posted to.
    action: &'static str,
    /// The id of the chat to return to. Empty for the home page.
    chat: String,
    /// The label of the field.
    label: &'static str,
    /// The name of the field in the form.
    name: &'static str,
    /// The text as typed.
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

/// The link to the home page.
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
