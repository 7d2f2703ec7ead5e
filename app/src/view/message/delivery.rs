//! The delivery state of an own message, and what can be done if it is stuck.

use domain::{
    ClientId, Problem, slash,
    timeline::{Delivery, Pending},
};
use leptos::prelude::*;

use crate::{
    live::{Connection, LiveChat},
    reactive::memo,
    view::{
        composer::{self, ComposerField},
        reactive_view::{Show, reactive_text},
    },
};

/// The delivery state of an own message, with actions if it is stuck. Empty once the message is stored.
#[component]
pub fn DeliveryView(
    /// The id of the message.
    client_id: ClientId,
    /// The delivery state, which changes until the message is stored.
    delivery: Memo<Delivery>,
) -> impl IntoView {
    let chat = LiveChat::from_context();
    let live = chat.live;
    let problem = move || match delivery.get() {
        Delivery::Waits(problem) => problem,
        Delivery::Stored(_) => None,
    };
    let is_stuck = move || problem().is_some() || live.connection.get() == Connection::Offline;
    // A message that waits for a connection can be edited or discarded.
    let can_be_dropped = move || is_stuck() || live.is_stale.get();
    let has_ended = move || live.ended.with(Option::is_some);
    // A text that applies to several messages is shown with the last one only.
    let is_last = memo(move || {
        chat.timeline
            .with(|timeline| timeline.outgoing().last().is_none_or(|last| last.client_id == client_id))
    });
    let status = move || match problem() {
        _ if has_ended() => "Not sent".to_owned(),
        // The lock has been lifted since.
        Some(Problem::ChatLocked) if chat.post_block().is_none() => {
            "Not sent: this chat was locked. You can send it now.".to_owned()
        }
        Some(problem) => format!("Not sent. {problem}"),
        None if is_stuck() && !is_last.get() => "Not sent".to_owned(),
        None if is_stuck() => "Not sent. You are offline; it goes out when you are back.".to_owned(),
        None if chat.is_held.get() && is_last.get() => {
            "Sending in a moment, since that was much at once".to_owned()
        }
        None => "Sending".to_owned(),
    };
    let retry_label = move || match problem() {
        Some(Problem::WrittenAsAnother) => format!("Send as {}", live.me.with(|me| me.nickname.to_string())),
        _ => "Retry".to_owned(),
    };
    let composer = use_context::<ComposerField>();
    // The buttons are removed, so the focus moves to the composer.
    let focus_composer = move |text: Option<String>| {
        if let Some(ComposerField(field)) = composer {
            composer::focus(field, text);
        }
    };
    let retry = move |_| {
        chat.retry(client_id);
        focus_composer(None);
    };
    let edit = move |_| {
        let line = |own: Pending| slash::to_line(&own.body, own.is_action);
        let own = chat.discard(client_id);
        // What is written again answers the same message, unless that is gone.
        if let Some(answered) = own.as_ref().and_then(|own| own.reply_to) {
            chat.reply(answered);
        }
        focus_composer(own.map(line));
    };
    // Pictures that are uploaded cannot be put back into the composer. What was refused is offered without them, or its text would
    // be lost.
    let has_pictures = chat.timeline.with_untracked(|timeline| {
        timeline.pending().iter().any(|own| own.client_id == client_id && !own.pictures.is_empty())
    });
    let discard = move |_| {
        chat.discard(client_id);
        focus_composer(None);
    };
    view! {
        <Show when=move || matches!(delivery.get(), Delivery::Waits(_))>
            <p class="delivery" class:stuck=is_stuck>
                <span>{reactive_text(status)}</span>
                <Show when=move || is_stuck() && !has_ended()>
                    <button type="button" class="quiet" on:click=retry>
                        {reactive_text(retry_label)}
                    </button>
                </Show>
                <Show when=can_be_dropped>
                    <button
                        type="button"
                        class="quiet"
                        hidden=move || has_pictures && problem().is_none()
                        on:click=edit
                    >
                        "Edit"
                    </button>
                    <button type="button" class="quiet" on:click=discard>
                        "Discard"
                    </button>
                </Show>
            </p>
        </Show>
    }
}
