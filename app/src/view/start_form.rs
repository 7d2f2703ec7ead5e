//! The form that starts a chat. It is an ordinary form: what the browser adds is another name at a click and a word
//! before something wrong is sent.

use std::time::Duration;

use domain::{Nickname, Problem, Title};
use leptos::{ev::SubmitEvent, html::Input, prelude::*, server_fn::ServerFn};

use crate::{
    api::StartChat,
    live::Live,
    view::{icon, problem_line::ProblemLine},
};

/// The id of its heading, where one goes on from when nothing else is left to do.
pub const START_HEADING_ID: &str = "start-heading";

/// Far enough from one friendly name to the next that mood and animal both change.
const NEXT_NAME: u64 = 611;

/// For so long a form that was sent is taken to be on its way.
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

/// Start a chat.
#[component]
pub fn StartForm(
    /// What to fill in.
    nickname: String,
    /// What to fill in.
    title: String,
    /// Whether the box is ticked.
    private: bool,
    /// What makes it the same form when it is sent once more.
    id: String,
) -> impl IntoView {
    let seed = nickname.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    // the form is on pages as well that are never alive
    let live = use_context::<Live>();
    let problem = RwSignal::new(None::<Problem>);
    let sending = RwSignal::new(false);
    let tries = StoredValue::new(0_u64);
    // The fields belong to whoever types in them, from before the page is alive: they are read, and never bound.
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
        // one click too many starts no second chat
        if checked.is_err() || sending.get_untracked() {
            return event.prevent_default();
        }
        if let Some(live) = live {
            live.stay_if_cut_off(&event, problem);
        }
        let is_sent = !event.default_prevented();
        // Who is called something else by now, in another tab, is not called back by a field that nobody touched: it is not
        // sent, and keeps its text for whoever comes back to it. On a page that gives a form back, what is in it was typed.
        if is_sent
            && live.is_some()
            && let Some(input) = name_input.get().filter(|input| input.value() == input.default_value())
        {
            input.set_disabled(true);
            let _ = set_timeout(move || input.set_disabled(false), Duration::ZERO);
        }
        sending.set(is_sent);
        if is_sent {
            // the reader may have stopped the browser on its way, which nobody tells
            let _ = set_timeout(move || sending.set(false), ON_ITS_WAY);
        }
    };
    // what was on its way when the page was left is not any more
    if let Some(live) = live {
        Effect::new(move |_| {
            live.shown_again.get();
            sending.set(false);
        });
    }
    view! {
        <form
            method="post"
            action=StartChat::PATH
            class="stack"
            on:submit=submit
            on:input=move |_| problem.set(None)
        >
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
                                <button type="button" class="quiet needs-life" on:click=another_name>
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
                <input id="private" type="checkbox" name="private" value="true" checked=private aria-describedby="private-hint" />
                <label for="private">"Private"</label>
                <span id="private-hint" class="soft">"found only by its link"</span>
            </div>
            <ProblemLine problem />
            <button class="primary" aria-busy=move || sending.get().then_some("true")>
                "Start chat"
            </button>
        </form>
    }
    .into_any()
}
