//! Where one writes. Enter sends, Shift and Enter begins a new line; without WASM it is an ordinary form.

use domain::{
    ClientId, Problem,
    frame::Ask,
    slash::{self, Line},
    text, unicode,
};
use leptos::{
    ev::{KeyboardEvent, SubmitEvent},
    html::Textarea,
    prelude::*,
    server_fn::ServerFn,
    web_sys::HtmlTextAreaElement,
};

use crate::{
    api::PostMessage,
    live::LiveChat,
    state::{Derived, State, effect},
    view::{
        follow::{flag, maybe, text},
        icon,
        problem_line::ProblemLine,
    },
};

/// The counter shows when this few characters are left.
const COUNTER_FROM: usize = 200;
/// The `keyCode` of every key while text is composed (UI Events, section 7.3.1).
const KEY_OF_COMPOSITION: u32 = 229;

/// Where one writes, for views that lead the focus back to it. Provided by the page.
#[derive(Clone, Copy)]
pub struct ComposerField(pub NodeRef<Textarea>);

/// An id for the message that a page without WASM may post, or for the chat it may start. Handed in by the server, as a
/// context.
#[derive(Debug, Clone, Copy, Default)]
pub struct FreshClientId(pub Option<ClientId>);

/// The composer.
#[component]
pub fn Composer() -> impl IntoView {
    let chat = LiveChat::here();
    let live = chat.live;
    let ComposerField(field) = expect_context();
    let length = State::new(0_usize);
    let problem = State::new(None::<Problem>);
    let is_over = Derived::new(move |_| live.ended.with(Option::is_some));
    let silence = Derived::new(move |_| chat.keeps_silent());
    let is_silent = move || is_over.get() || silence.get().is_some();
    // what was refused for the lock can be said when it is lifted
    effect(move || {
        if silence.get().is_none() && problem.get_untracked() == Some(Problem::ChatLocked) {
            problem.set(None);
        }
    });
    let client_id = use_context::<FreshClientId>().unwrap_or_default().0;

    let measure = move |typed: &str| {
        // counting costs as much as the text is long, so it starts where it may matter
        let near = typed.len() + COUNTER_FROM > text::BODY_LIMIT;
        length.set(if near { unicode::characters(typed) } else { 0 });
    };
    let input = move |_| {
        let typed = field.get_untracked().map(|field| field.value()).unwrap_or_default();
        // a command is nobody's business, and neither is a field that was emptied
        if !typed.is_empty() && (!typed.starts_with('/') || typed.starts_with("//")) {
            chat.typing();
        }
        if let Some(courier) = live.courier() {
            courier.keep_draft(&typed);
        }
        measure(&typed);
        problem.set(None);
    };
    // What was begun before the page was loaded anew is there again, unless something else was begun meanwhile.
    effect(move || {
        let (true, Some(field), Some(courier)) = (live.is_alive.get(), field.get(), live.courier()) else {
            return;
        };
        if let Some(draft) = courier.draft().filter(|_| field.value().is_empty()) {
            field.set_value(&draft);
            measure(&draft);
        }
        if courier.has_keyboard() {
            let _ = field.focus();
        }
    });
    let clear = move |field: &HtmlTextAreaElement| {
        if let Some(courier) = live.courier() {
            courier.keep_draft("");
        }
        field.set_value("");
        length.set(0);
        problem.set(None);
    };
    // What was refused after all comes back, unless something else was begun meanwhile.
    let give_back = move |typed: String, why: Option<Problem>| {
        if why.is_some() {
            problem.set(why);
            if let Some(field) = field.get_untracked().filter(|field| field.value().is_empty()) {
                field.set_value(&typed);
            }
        }
    };
    let post = move || {
        let Some(field) = field.get() else { return };
        let typed = field.value();
        let asked = match slash::parse(&typed) {
            Ok(Line::Post(body)) => silence.get_untracked().map_or_else(|| chat.post(body), Err),
            Ok(Line::Nick(nickname)) => {
                clear(&field);
                let ask = Ask::SetNickname { nickname: nickname.to_string() };
                return live.ask(ask, move |done| give_back(typed, done.err()));
            }
            Err(problem) => Err(problem),
        };
        match asked {
            Ok(()) => clear(&field),
            // an empty message is not worth a word
            Err(Problem::MessageEmpty) => problem.set(None),
            Err(why) => {
                problem.set(Some(why));
                if why == Problem::SlashHelp {
                    field.set_value("");
                }
            }
        }
        let _ = field.focus();
    };
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        post();
    };
    let key_down = move |event: KeyboardEvent| {
        // Safari ends a composition before the Enter that confirms it, and marks that key by its old code alone.
        let is_composing = event.is_composing() || event.key_code() == KEY_OF_COMPOSITION;
        if event.key() == "Enter" && !event.shift_key() && !is_composing {
            event.prevent_default();
            post();
        }
    };
    let left = move || {
        let length = length.get();
        (length + COUNTER_FROM > text::BODY_LIMIT).then(|| {
            if length > text::BODY_LIMIT {
                format!("{} too many", length - text::BODY_LIMIT)
            } else {
                format!("{} left", text::BODY_LIMIT - length)
            }
        })
    };
    view! {
        <form class="composer" class:ending=flag(move || is_over.get()) class:silent=flag(move || silence.get().is_some()) method="post" action=PostMessage::PATH on:submit=submit>
            <ProblemLine problem />
            <p class="soft silence" role="status" aria-label="Lock">
                {maybe(move || silence.get().map(|_| "Locked: only the owner can write."))}
            </p>
            <div class="composer-field">
                <input type="hidden" name="chat" value=chat.chat_id().to_string() />
                <input type="hidden" name="client_id" value=client_id.map(|id| id.to_string()) />
                <textarea
                    name="body"
                    rows="1"
                    aria-label="Message"
                    placeholder=text(move || if silence.get().is_some() { "Only the owner can write" } else { "Write a message" })
                    enterkeyhint="send"
                    autocomplete="off"
                    dir="auto"
                    required
                    readonly=flag(is_silent)
                    node_ref=field
                    on:input=input
                    on:keydown=key_down
                ></textarea>
                <span class="counter soft" aria-live="polite">
                    {maybe(left)}
                </span>
                <button class="send">
                    {icon::send()}
                    <span class="hidden">"Send"</span>
                </button>
            </div>
            <noscript>
                <p class="soft below">
                    "Without JavaScript, new messages appear when you load the page again. "
                    <a href="">"Load again"</a>
                </p>
            </noscript>
        </form>
    }
    .into_any()
}
