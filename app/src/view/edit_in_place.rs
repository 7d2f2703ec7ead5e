//! A text that is edited in place: a button opens a field with the text, Save sends the change, and Escape cancels.

use domain::{ChatId, Problem, frame::ClientCommand};
use leptos::{
    ev::{KeyboardEvent, SubmitEvent},
    html::{Button, Input},
    prelude::*,
};

use crate::{
    live::Live,
    view::{icon, ime::is_composing, problem_line::ProblemLine, reactive_view::Show},
};

/// The ordinary form for a page that is not hydrated.
#[derive(Clone, Copy)]
pub struct PlainForm {
    /// The path that the form is posted to.
    pub action: &'static str,
    /// The name of the field.
    pub name: &'static str,
    /// The chat that the form belongs to and returns to.
    pub chat: ChatId,
}

/// A text with a button to edit it.
#[component]
pub fn EditInPlace(
    /// The accessible name of the button, such as "Edit title".
    button: &'static str,
    /// The accessible name of the field.
    label: &'static str,
    /// The current text.
    text: Memo<String>,
    /// Returns the command that sets a new text.
    ask: Callback<String, ClientCommand>,
    /// The form for use without a script.
    form: PlainForm,
    /// The view of the text while it is not edited.
    children: ChildrenFn,
) -> impl IntoView {
    let live = Live::from_context();
    let open = RwSignal::new(false);
    let problem = RwSignal::new(None::<Problem>);
    let (input, opener) = (NodeRef::<Input>::new(), NodeRef::<Button>::new());

    let children = StoredValue::new(children);
    let shown = move || children.with_value(|children| children());
    let close = move || {
        open.set(false);
        problem.set(None);
    };
    // The focus moves to the field when it opens, and back to the button when it closes.
    Effect::new(move |was_open: Option<bool>| {
        let is_open = open.get();
        if is_open {
            if let Some(input) = input.get() {
                let _ = input.focus();
                input.select();
            }
        } else if was_open == Some(true)
            && let Some(opener) = opener.get()
        {
            let _ = opener.focus();
        }
        is_open
    });
    let save = move |event: SubmitEvent| {
        event.prevent_default();
        let Some(input) = input.get_untracked() else { return };
        let ask = ask.run(input.value());
        match ask.clone().check() {
            Ok(_) => live.ask(ask, move |done| match done {
                Ok(()) => close(),
                Err(why) => problem.set(Some(why)),
            }),
            Err(why) => problem.set(Some(why)),
        }
    };
    let key_down = move |event: KeyboardEvent| {
        if event.key() == "Escape" {
            // Escape closes the field only, and not the sheet around it.
            event.prevent_default();
            if !is_composing(&event) {
                close();
            }
        }
    };
    view! {
        <Show
            when=move || open.get()
            fallback=move || {
                view! {
                    <div class="editable">
                        {shown()}
                        <button
                            type="button"
                            class="quiet needs-hydration edit over"
                            aria-label=button
                            title=button
                            node_ref=opener
                            on:click=move |_| open.set(true)
                        >
                            {icon::pencil()}
                        </button> <PlainEdit button label text form />
                    </div>
                }
            }
        >
            // The text stays for assistive technology while it is edited: it is a heading or a name.
            <div class="hidden">{shown()}</div>
            <form class="edit-in-place" on:submit=save on:keydown=key_down>
                <input
                    aria-label=label
                    prop:value=text.get_untracked()
                    autocomplete="off"
                    dir="auto"
                    node_ref=input
                    on:input=move |_| problem.set(None)
                />
                <button class="primary">"Save"</button>
                <button type="button" class="quiet" on:click=move |_| close()>
                    "Cancel"
                </button>
                <ProblemLine problem />
            </form>
        </Show>
    }
    .into_any()
}

/// A form in a popover, which opens without a script.
#[component]
fn PlainEdit(
    button: &'static str,
    label: &'static str,
    text: Memo<String>,
    form: PlainForm,
) -> impl IntoView {
    let id = format!("edit-{}", form.name);
    view! {
        <button
            type="button"
            class="quiet without-hydration edit over"
            aria-label=button
            title=button
            popovertarget=id.clone()
        >
            {icon::pencil()}
        </button>
        <form id=id class="edit-sheet" popover="auto" method="post" action=form.action>
            <input type="hidden" name="chat" value=form.chat.to_string() />
            <label class="field">
                <span>{label}</span>
                <input name=form.name value=move || text.get() autocomplete="off" dir="auto" />
            </label>
            <button class="primary">"Save"</button>
        </form>
    }
    .into_any()
}
