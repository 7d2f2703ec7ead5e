//! The composer. Enter sends, Shift+Enter inserts a line break. Without WASM it is an ordinary form.

use domain::{
    ClientId, Problem,
    frame::Ask,
    slash::{self, ComposerInput},
    text,
};
use leptos::{
    ev::{KeyboardEvent, SubmitEvent},
    html::Textarea,
    prelude::*,
    server_fn::ServerFn,
    web_sys::{Event, HtmlTextAreaElement},
};

use crate::{
    api::PostMessage,
    live::LiveChat,
    view::{follow::maybe_words, icon, keys::is_composing, problem_line::ProblemLine},
};

/// The counter is shown once fewer characters than this are left.
const COUNTER_FROM: usize = 200;

/// The field of the composer, for views that move the focus back to it. Provided by the page as a context.
#[derive(Clone, Copy)]
pub struct ComposerField(pub NodeRef<Textarea>);

/// An id for the message or chat that a form creates, so that a form submitted twice creates one. Provided as a
/// context, by the server for ordinary forms and by the browser for a hydrated page. `None` if there is no such id.
#[derive(Debug, Clone, Copy, Default)]
pub struct FreshClientId(pub Option<ClientId>);

/// Focuses the composer. If there is a `text`, it is inserted before what is in the field already.
pub fn write_on(field: NodeRef<Textarea>, text: Option<String>) {
    let Some(field) = field.get_untracked() else { return };
    if let Some(text) = text {
        let begun = field.value();
        field.set_value(&if begun.is_empty() { text } else { format!("{text}\n{begun}") });
        // Counts as typed.
        if let Ok(event) = Event::new("input") {
            let _ = field.dispatch_event(&event);
        }
    }
    let _ = field.focus();
}

/// The composer of a chat page.
#[component]
pub fn Composer() -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let ComposerField(field) = expect_context();
    let typed = RwSignal::new(String::new());
    let problem = RwSignal::new(None::<Problem>);
    let is_over = Memo::new(move |_| live.ended.with(Option::is_some));
    let silence = Memo::new(move |_| chat.post_block());
    let is_silent = move || is_over.get() || silence.get().is_some();
    // A message that was refused because of the lock can be posted once it is lifted.
    Effect::new(move |_| {
        if silence.get().is_none() && problem.get_untracked() == Some(Problem::ChatLocked) {
            problem.set(None);
        }
    });
    let client_id = use_context::<FreshClientId>().unwrap_or_default().0;

    let fill = move |field: &HtmlTextAreaElement, text: String| {
        field.set_value(&text);
        if let Some(transport) = live.transport() {
            transport.keep_draft(&text);
        }
        typed.set(text);
    };
    let input = move |_| {
        let text = field.get_untracked().map(|field| field.value()).unwrap_or_default();
        // Commands and an emptied field do not count as typing.
        if !text.is_empty() && (!text.starts_with('/') || text.starts_with("//")) {
            chat.typing();
        }
        if let Some(transport) = live.transport() {
            transport.keep_draft(&text);
        }
        typed.set(text);
        problem.set(None);
    };
    // Restores the draft from before a reload, unless something else was typed meanwhile. The focus moves to the
    // composer only if it is nowhere else, and if no on-screen keyboard would cover the page.
    Effect::new(move |_| {
        let (true, Some(field), Some(transport)) = (live.is_hydrated.get(), field.get(), live.transport())
        else {
            return;
        };
        let begun = field.value();
        if !begun.is_empty() {
            transport.keep_draft(&begun);
            typed.set(begun);
        } else if let Some(draft) = transport.draft() {
            fill(&field, draft);
        }
        if transport.has_keyboard() && transport.is_nowhere() {
            let _ = field.focus();
        }
    });
    let clear = move |field: &HtmlTextAreaElement| {
        fill(field, String::new());
        problem.set(None);
    };
    // Puts a refused text back, unless something else was typed meanwhile.
    let give_back = move |text: String, why: Option<Problem>| {
        if why.is_some() {
            problem.set(why);
            if let Some(field) = field.get_untracked().filter(|field| field.value().is_empty()) {
                fill(&field, text);
            }
        }
    };
    let post = move || {
        let Some(field) = field.get() else { return };
        let text = field.value();
        let asked = match slash::parse(&text) {
            Ok(ComposerInput::Post(body)) => silence.get_untracked().map_or_else(|| chat.post(body), Err),
            Ok(ComposerInput::Nick(nickname)) => {
                clear(&field);
                let ask = Ask::SetNickname { nickname: nickname.to_string() };
                return live.ask(ask, move |done| give_back(text, done.err()));
            }
            Err(problem) => Err(problem),
        };
        match asked {
            Ok(()) => clear(&field),
            // An empty message needs no error.
            Err(Problem::MessageEmpty) => problem.set(None),
            Err(why) => {
                // Text after the command is kept.
                if why == Problem::SlashHelp && text.trim() == "/help" {
                    clear(&field);
                }
                problem.set(Some(why));
            }
        }
        let _ = field.focus();
    };
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        post();
    };
    let key_down = move |event: KeyboardEvent| {
        if event.key() == "Enter" && !event.shift_key() && !is_composing(&event) {
            event.prevent_default();
            post();
        }
    };
    let left = move || {
        typed.with(|typed| {
            // Counting takes time in proportion to the length, so it begins near the limit.
            let is_near = typed.len() + COUNTER_FROM > text::BODY_LIMIT;
            match is_near.then(|| slash::room(typed)).flatten()? {
                Ok(left) => (left < COUNTER_FROM).then(|| format!("{left} left")),
                Err(too_many) => Some(format!("{too_many} too many")),
            }
        })
    };
    view! {
        <form
            class="composer"
            class:ending=move || is_over.get()
            class:silent=move || silence.get().is_some()
            method="post"
            action=PostMessage::PATH
            on:submit=submit
        >
            <ProblemLine problem />
            <p class="soft silence" role="status" aria-label="Lock">
                {maybe_words(move || silence.get().map(|_| "Locked: only the owner can write."))}
            </p>
            // In browsers without `field-sizing`, this text stretches the field.
            <div class="composer-field" data-text=move || typed.get()>
                <input type="hidden" name="chat" value=chat.chat_id().to_string() />
                <input type="hidden" name="client_id" value=client_id.map(|id| id.to_string()) />
                <textarea
                    name="body"
                    rows="1"
                    aria-label="Message"
                    placeholder=move || {
                        if silence.get().is_some() { "Only the owner can write" } else { "Write a message" }
                    }
                    enterkeyhint="send"
                    autocomplete="off"
                    dir="auto"
                    required
                    readonly=is_silent
                    node_ref=field
                    on:input=input
                    on:keydown=key_down
                ></textarea>
                <span class="counter soft" aria-live="polite">
                    {maybe_words(left)}
                </span>
                <button class="send">{icon::send()} <span class="hidden">"Send"</span></button>
            </div>
            <noscript>
                <p class="soft below">
                    "Without JavaScript, new messages appear when you load the page again. " <a href="">"Load again"</a>
                </p>
            </noscript>
        </form>
    }
    .into_any()
}
