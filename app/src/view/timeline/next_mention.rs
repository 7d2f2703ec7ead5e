//! The way to the messages that are meant for the reader and that have not been in view.

use domain::{Event, Seq};
use leptos::prelude::*;

use crate::{
    live::LiveChat,
    reactive::{effect, memo},
    view::{reactive_view::Show, scroll_anchor::ScrollAnchor},
};

/// The messages that mention or answer the reader, came while the reader did not look, and have not been in view since.
#[derive(Clone, Copy)]
pub(super) struct NextMention {
    chat: LiveChat,
    anchor: ScrollAnchor,
    /// Their positions, oldest first.
    waiting: RwSignal<Vec<Seq>>,
}

impl NextMention {
    /// Follows what the reader has not seen. `is_away` says whether the newest message is out of view.
    pub(super) fn new(chat: LiveChat, anchor: ScrollAnchor, is_away: Memo<bool>) -> Self {
        let mentions = Self { chat, anchor, waiting: RwSignal::new(Vec::new()) };
        let unseen = memo(move || chat.timeline.with(|timeline| timeline.mentions().collect::<Vec<_>>()));
        // All count as seen once the newest message is in view, and these may be further up.
        effect(move || {
            let unseen = unseen.get();
            if unseen.iter().any(|seq| mentions.waiting.with_untracked(|waiting| !waiting.contains(seq))) {
                mentions.waiting.update(|waiting| {
                    // They are few, and a sort would add its code to what the browser downloads.
                    for seq in unseen {
                        if let Err(place) = waiting.binary_search(&seq) {
                            waiting.insert(place, seq);
                        }
                    }
                });
            }
        });
        effect(move || {
            let is_looking = chat.live.is_visible.get() && !is_away.get();
            if is_looking && mentions.waiting.with(|waiting| !waiting.is_empty()) {
                // Those that came meanwhile are in the document with the next frame.
                let _ = request_animation_frame(move || mentions.drop_seen());
            }
        });
        mentions
    }

    /// Drops those that are in view, if the reader looks.
    pub(super) fn drop_seen(self) {
        if !self.chat.live.is_visible.get_untracked() || self.waiting.with_untracked(Vec::is_empty) {
            return;
        }
        let Some((first, last)) = self.anchor.in_view() else { return };
        let is_in_view = |seq: &Seq| (first..=last).contains(seq);
        if self.waiting.with_untracked(|waiting| waiting.iter().any(is_in_view)) {
            self.waiting.update(|waiting| waiting.retain(|seq| !is_in_view(seq)));
        }
    }

    /// Returns the oldest of them. `None` if there is none.
    fn next(self) -> Option<Seq> {
        let waiting = self.waiting.get();
        if waiting.is_empty() {
            return None;
        }
        // One that was removed since leads nowhere.
        self.chat.timeline.with(|timeline| {
            let is_there = |event: &Event| event.kind.message().is_some();
            waiting.into_iter().find(|seq| timeline.event(*seq).is_none_or(is_there))
        })
    }

    /// The button that leads to the oldest of them. It is a link with the address of the message: `style/public/later.js` lets the
    /// module show it, wherever in the history it is.
    pub(super) fn view(self) -> impl IntoView {
        let next = memo(move || self.next());
        let chat = self.chat.chat_id();
        view! {
            <Show when=move || next.get().is_some()>
                <a
                    class="to-mention"
                    role="button"
                    data-call="go_to"
                    data-seq=move || next.get().map(|seq| seq.to_string())
                    href=move || next.get().map(|seq| format!("/chat/{chat}?at={seq}"))
                >
                    "Next mention"
                </a>
            </Show>
        }
    }
}
