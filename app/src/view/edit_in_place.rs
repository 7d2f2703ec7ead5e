//! A text that is edited where it stands: a button opens a field with the text in it, Save asks for the change, Escape
//! leaves everything as it was.

use domain::{ChatId, Problem, frame::Ask};
use leptos::{
    ev::{KeyboardEvent, SubmitEvent},
    html::{Button, Input},
    prelude::*,
};

use crate::{
    live::Live,
    view::{follow::Show, icon, keys::is_composing, problem_line::ProblemLine},
};

/// The ordinary form that does the same on a page without life.
#[derive(Clone, Copy)]
pub struct PlainForm {
    /// Where it is sent.
    pub action: &'static str,
    /// What the field is called in it.
    pub name: &'static str,
    /// The chat it is about, and leads back to.
    pub chat: ChatId,
}

/// A text with a button to edit it.
#[component]
pub fn EditInPlace(
    /// What the button is called, such as "Edit title".
    button: &'static str,
    /// What the field is called.
    label: &'static str,
    /// The text as it is.
    text: Memo<String>,
    /// What to ask for when this text is to become the new one.
    ask: Callback<String, Ask>,
    /// What to do without a script.
    form: PlainForm,
    /// How the text is shown while it is not edited.
    children: ChildrenFn,
) -> impl IntoView {
    let live = Live::here();
    let open = RwSignal::new(false);
    let problem = RwSignal::new(None::<Problem>);
    let (input, opener) = (NodeRef::<Input>::new(), NodeRef::<Button>::new());

    let children = StoredValue::new(children);
    let shown = move || children.with_value(|children| children());
    let close = move || {
        open.set(false);
        problem.set(None);
    };
    // The focus goes where the eyes are: into the field when it opens, back to the button when it closes.
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
            // it closes this, and not the sheet around it as well
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
                            class="quiet needs-life edit over"
                            aria-label=button
                            title=button
                            node_ref=opener
                            on:click=move |_| open.set(true)
                        >
                            {icon::pencil()}
                        </button>
                        <PlainEdit button label text form />
                    </div>
                }
            }
        >
            // what is edited stays what it is until it is saved: a heading, or the name of somebody
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
            class="quiet without-life edit over"
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
