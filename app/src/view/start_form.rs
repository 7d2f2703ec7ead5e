//! The form that starts a chat. It is an ordinary form. A live page adds a button for another nickname, and validation
//! before it is sent.

use std::time::Duration;

use domain::{Nickname, Problem, Title};
use leptos::{ev::SubmitEvent, html::Input, prelude::*, server_fn::ServerFn};

use crate::{
    api::StartChat,
    live::Live,
    reactive::effect,
    view::{icon, problem_line::ProblemLine},
};

/// The id of the heading above it, to which the focus moves if nothing else is left.
pub const START_HEADING_ID: &str = "start-heading";

/// The distance to the next generated nickname, large enough that both of its words change.
const NEXT_NAME: u64 = 611;

/// How long a submitted form counts as being sent.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

fn check(nickname: &str, title: &str) -> Result<(), Problem> {
    if !nickname.trim().is_empty() {
        Nickname::parse(nickname)?;
    }
    if !title.trim().is_empty() {
        Title::parse(title)?;
    }
    Ok(())
}

/// The form that starts a chat.
#[component]
pub fn StartForm(
    /// The nickname to fill in.
    nickname: String,
    /// The title to fill in.
    title: String,
    /// Whether the chat is to be private.
    private: bool,
    /// The id of the form, by which a second submission is recognized.
    id: String,
) -> impl IntoView {
    let seed = nickname.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    // Notices, which are not live, show the form as well.
    let live = use_context::<Live>();
    let problem = RwSignal::new(None::<Problem>);
    let sending = RwSignal::new(false);
    let tries = StoredValue::new(0_u64);
    // The fields may be typed in before the page is hydrated, so their values are read and never bound to signals.
    let (name_input, title_input) = (NodeRef::<Input>::new(), NodeRef::<Input>::new());

    let another_name = move |_| {
        tries.update_value(|tries| *tries += 1);
        let number = seed.wrapping_add(NEXT_NAME.wrapping_mul(tries.get_value()));
        if let Some(input) = name_input.get() {
            input.set_value(Nickname::friendly(number).as_str());
        }
        problem.set(None);
    };
    let submit = move |event: SubmitEvent| {
        let typed = |input: NodeRef<Input>| input.get().map(|input| input.value()).unwrap_or_default();
        let checked = check(&typed(name_input), &typed(title_input));
        problem.set(checked.err());
        // A double click must not start two chats.
        if checked.is_err() || sending.get_untracked() {
            return event.prevent_default();
        }
        if let Some(live) = live {
            live.guard_navigation(&event, problem);
        }
        let is_sent = !event.default_prevented();
        // The nickname may have been changed in another tab. A field that the reader has not touched must not change it
        // back, so it is not sent; it is enabled again in case the reader returns to this page. On a page without
        // `Live` the form was refused, and its nickname was typed.
        if is_sent
            && live.is_some()
            && let Some(input) = name_input.get().filter(|input| input.value() == input.default_value())
        {
            input.set_disabled(true);
            let _ = set_timeout(move || input.set_disabled(false), Duration::ZERO);
        }
        sending.set(is_sent);
        if is_sent {
            // The reader may have cancelled the navigation, which browsers do not report.
            let _ = set_timeout(move || sending.set(false), ON_ITS_WAY);
        }
    };
    // When the page is shown again from the back/forward cache, nothing is being sent any more.
    if let Some(live) = live {
        effect(move || {
            live.shown_again.get();
            sending.set(false);
        });
    }
    view! {
        <form method="post" action=StartChat::PATH class="stack" on:submit=submit on:input=move |_| problem.set(None)>
            <input type="hidden" name="id" value=id />
            <div class="field">
                <label for="nickname">"Nickname"</label>
                <div class="row">
                    <input
                        id="nickname"
                        name="nickname"
                        value=nickname
                        autocomplete="nickname"
                        spellcheck="false"
                        node_ref=name_input
                    />
                    {live
                        .is_some()
                        .then(|| {
                            view! {
                                <button type="button" class="quiet needs-hydration" on:click=another_name>
                                    {icon::reroll()}
                                    <span class="hidden">"Another nickname"</span>
                                </button>
                            }
                        })}
                </div>
            </div>
            <div class="field">
                <label for="title">"Chat title"</label>
                <input
                    id="title"
                    name="title"
                    value=title
                    placeholder="Named after you, if left empty"
                    autocomplete="off"
                    node_ref=title_input
                />
            </div>
            <div class="tick">
                <input
                    id="private"
                    type="checkbox"
                    name="private"
                    value="true"
                    checked=private
                    aria-describedby="private-hint"
                />
                <label for="private">"Private"</label>
                <span id="private-hint" class="soft">
                    "found only by its link"
                </span>
            </div>
            <ProblemLine problem />
            <button class="primary" aria-busy=move || sending.get().then_some("true")>
                "Start chat"
            </button>
        </form>
    }
    .into_any()
}
