//! The composer. Enter sends, Shift+Enter inserts a line break. Without WASM it is an ordinary form.

pub mod answering;
mod draft;

use domain::ClientId;
use leptos::{
    ev::{KeyboardEvent, SubmitEvent},
    html::{Input, Textarea},
    prelude::*,
    server_fn::ServerFn,
    web_sys::Event,
};

use self::{answering::AnsweringLine, draft::Draft};
use crate::{
    api::PostMessage,
    live::LiveChat,
    reactive::memo,
    view::{icon, ime::is_composing, problem_line::ProblemLine, reactive_view::optional_text},
};

/// The field of the composer, for views that move the focus back to it. Provided by the page as a context.
#[derive(Clone, Copy)]
pub struct ComposerField(pub NodeRef<Textarea>);

/// An id for the message or chat that a form creates, so that a form submitted twice creates one. Provided as a
/// context, by the server for ordinary forms and by the browser for a hydrated page. `None` if there is no such id.
#[derive(Debug, Clone, Copy, Default)]
pub struct FreshClientId(pub Option<ClientId>);

/// Focuses the composer. If there is a `text`, it is inserted before what is in the field already.
pub fn focus(field: NodeRef<Textarea>, text: Option<String>) {
    let Some(field) = field.get_untracked() else { return };
    if let Some(text) = text {
        let current = field.value();
        field.set_value(&if current.is_empty() { text } else { format!("{text}\n{current}") });
        // Counts as typed.
        if let Ok(event) = Event::new("input") {
            let _ = field.dispatch_event(&event);
        }
    }
    let _ = field.focus();
}

/// The id of the line that says what Enter does.
const HINT_ID: &str = "composer-hint";

/// The composer of a chat page.
#[component]
pub fn Composer() -> impl IntoView {
    let chat = LiveChat::from_context();
    let ComposerField(field) = expect_context();
    let draft = Draft::new(chat, field);
    let has_ended = memo(move || chat.live.ended.with(Option::is_some));
    let is_locked = move || draft.block.get().is_some();
    let client_id = use_context::<FreshClientId>().unwrap_or_default().0;
    let takes_pictures = chat.takes_pictures;
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        draft.submit();
    };
    let handle_key = move |event: KeyboardEvent| {
        if event.key() == "Enter" && !event.shift_key() && !is_composing(&event) {
            event.prevent_default();
            draft.submit();
        }
        let is_cancel = event.key() == "Escape" && !is_composing(&event) && !event.default_prevented();
        if is_cancel && chat.answering.with_untracked(Option::is_some) {
            event.prevent_default();
            chat.cancel_reply();
        }
        // The browser has nothing to undo in a field that was emptied by sending.
        let is_undo = (event.ctrl_key() || event.meta_key()) && !event.shift_key() && event.key() == "z";
        if is_undo && draft.bring_back() {
            event.prevent_default();
        }
    };
    view! {
        <form
            class="composer"
            class:ending=move || has_ended.get()
            class:silent=is_locked
            method="post"
            action=PostMessage::PATH
            enctype=takes_pictures.then_some("multipart/form-data")
            on:submit=submit
        >
            <ProblemLine problem=draft.problem />
            <AnsweringLine field />
            <p class="soft silence" role="status" aria-label="Attachments">
                {optional_text(move || {
                    draft.waits_for_pictures.get().then_some("This is sent when the pictures are there.")
                })}
            </p>
            <p class="soft silence" role="status" aria-label="Lock">
                {optional_text(move || is_locked().then_some("Locked: only the owner can write."))}
            </p>
            // In browsers without `field-sizing`, this text stretches the field.
            <div class="composer-field" data-text=move || draft.text.get()>
                <input type="hidden" name="chat" value=chat.chat_id().to_string() />
                <input type="hidden" name="client_id" value=client_id.map(|id| id.to_string()) />
                <textarea
                    name="body"
                    rows="1"
                    aria-label="Message"
                    placeholder=move || { if is_locked() { "Only the owner can write" } else { "Write a message" } }
                    enterkeyhint="send"
                    aria-describedby=HINT_ID
                    autocomplete="off"
                    dir="auto"
                    required=!takes_pictures
                    readonly=move || has_ended.get() || is_locked()
                    node_ref=field
                    on:input=move |_| draft.handle_input()
                    on:keydown=handle_key
                ></textarea>
                <span class="counter soft" aria-live="polite">
                    {optional_text(move || draft.counter())}
                </span>
                {takes_pictures.then(|| view! { <AttachPictures /> })}
                <button class="send">{icon::send()} <span class="hidden">"Send"</span></button>
            </div>
            <p id=HINT_ID class="soft hint">
                "Enter sends, Shift+Enter makes a line"
            </p>
            <noscript>
                <p class="soft below">
                    "Without JavaScript, new messages appear when you load the page again. " <a href="">"Load again"</a>
                </p>
            </noscript>
        </form>
    }
    .into_any()
}

/// The kinds of pictures that are taken. Devices that make others convert them to one of these.
pub const PICTURE_KINDS: &str = "image/jpeg,image/png,image/gif,image/webp";

/// The field for pictures. With a script, a button opens it, and what is chosen is uploaded at once by a piece that comes
/// later; without, the files go with the form, with one description for all of them.
#[component]
fn AttachPictures() -> impl IntoView {
    let files = NodeRef::<Input>::new();
    let choose = move |_| {
        if let Some(files) = files.get_untracked() {
            files.click();
        }
    };
    view! {
        <button type="button" class="attach" title="Attach pictures" on:click=choose>
            {icon::picture()}
            <span class="hidden">"Attach pictures"</span>
        </button>
        <input
            class="files"
            type="file"
            name="pictures"
            aria-label="Pictures"
            accept=PICTURE_KINDS
            multiple
            node_ref=files
        />
        <input
            class="files"
            name="alt"
            aria-label="Description of the pictures"
            placeholder="Description of the pictures"
            autocomplete="off"
            dir="auto"
        />
    }
    .into_any()
}
