//! The text that the reader is writing: saved for after a reload, counted, parsed, and sent.

use domain::{
    Body, Problem,
    frame::ClientCommand,
    slash::{self, ComposerInput},
    text,
};
use leptos::{
    html::Textarea,
    prelude::*,
    web_sys::{Event, HtmlTextAreaElement},
};

use crate::{
    live::LiveChat,
    reactive::{effect, memo},
};

/// The counter is shown once fewer characters than this are left.
const COUNTER_FROM: usize = 200;

/// The text in the field of the composer.
#[derive(Clone, Copy)]
pub(super) struct Draft {
    chat: LiveChat,
    /// The field of the composer.
    field: NodeRef<Textarea>,
    /// The text, as the field has it.
    pub(super) text: RwSignal<String>,
    /// Why the text was not sent. `None` if there is nothing to show.
    pub(super) problem: RwSignal<Option<Problem>>,
    /// Whether the message is to be sent once its pictures are uploaded.
    pub(super) waits_for_pictures: RwSignal<bool>,
    /// Why the reader cannot post at the moment. `None` if they can.
    pub(super) block: Memo<Option<Problem>>,
    /// The text that was posted last. Empty if there is none.
    last: StoredValue<String>,
}

impl Draft {
    /// Creates the draft of a chat. Once the page is hydrated, it is the text saved before a reload.
    pub(super) fn new(chat: LiveChat, field: NodeRef<Textarea>) -> Self {
        let text = RwSignal::new(String::new());
        let problem = RwSignal::new(None::<Problem>);
        let block = memo(move || chat.post_block());
        let waits_for_pictures = RwSignal::new(false);
        let last = StoredValue::new(String::new());
        let draft = Self { chat, field, text, problem, waits_for_pictures, block, last };
        effect(move || {
            if !chat.attached.with(|attached| attached.are_coming) && waits_for_pictures.get_untracked() {
                draft.submit();
            }
        });
        // A message that was refused because of the lock can be posted once it is lifted.
        effect(move || {
            if block.get().is_none() {
                for said in [problem, chat.live.notice] {
                    if said.get_untracked() == Some(Problem::ChatLocked) {
                        said.set(None);
                    }
                }
            }
        });
        effect(move || draft.restore());
        draft
    }

    /// Restores the draft from before a reload, unless something else was typed meanwhile. The focus moves to the
    /// composer only if it is nowhere else, and if no on-screen keyboard would cover the page.
    fn restore(self) {
        let live = self.chat.live;
        let (true, Some(field), Some(transport)) =
            (live.is_hydrated.get(), self.field.get(), live.transport())
        else {
            return;
        };
        let current = field.value();
        if !current.is_empty() {
            transport.save_draft(&current);
            self.text.set(current);
        } else if let Some(saved) = transport.saved_draft() {
            self.fill(&field, saved);
        }
        if transport.has_keyboard() && transport.has_no_focus() {
            let _ = field.focus();
        }
    }

    /// Handles an input event of the field.
    pub(super) fn handle_input(self) {
        let text = self.field.get_untracked().map(|field| field.value()).unwrap_or_default();
        if slash::counts_as_typing(&text) {
            self.chat.send_typing();
        }
        self.save(text);
        self.problem.set(None);
        self.waits_for_pictures.set(false);
    }

    /// Posts the text as a message, or runs it as a slash command.
    pub(super) fn submit(self) {
        let Some(field) = self.field.get_untracked() else { return };
        let text = field.value();
        let (has_pictures, are_coming) =
            self.chat.attached.with_untracked(|attached| (!attached.tickets.is_empty(), attached.are_coming));
        self.waits_for_pictures.set(are_coming);
        if are_coming {
            return;
        }
        let parsed = if has_pictures && text.trim().is_empty() {
            Ok(ComposerInput::Post(Body::empty()))
        } else {
            slash::parse(&text)
        };
        let outcome = match parsed {
            Ok(ComposerInput::Post(body)) => {
                self.block.get_untracked().map_or_else(|| self.chat.post(body, false), Err)
            }
            Ok(ComposerInput::Action(body)) => {
                self.block.get_untracked().map_or_else(|| self.chat.post(body, true), Err)
            }
            Ok(ComposerInput::Nick(nickname)) => {
                self.clear(&field);
                let ask = ClientCommand::SetNickname { nickname: nickname.to_string() };
                return self.chat.live.ask(ask, move |done| self.restore_refused(text, done.err()));
            }
            Err(problem) => Err(problem),
        };
        match outcome {
            Ok(()) => {
                self.last.set_value(text);
                self.clear(&field);
                // For the list of what is attached.
                if let Ok(sent) = Event::new("sent") {
                    let _ = field.dispatch_event(&sent);
                }
            }
            // An empty message needs no error.
            Err(Problem::MessageEmpty) => self.problem.set(None),
            Err(why) => {
                // Text after the command is kept.
                if why == Problem::SlashHelp && text.trim() == "/help" {
                    self.clear(&field);
                }
                self.problem.set(Some(why));
            }
        }
        let _ = field.focus();
    }

    /// Puts the text that was posted last back into an empty field, so that it can be posted again in other words. Returns false
    /// if the field is not empty, or there is none.
    pub(super) fn bring_back(self) -> bool {
        let empty = self.field.get_untracked().filter(|field| field.value().is_empty());
        let last = self.last.try_update_value(std::mem::take).unwrap_or_default();
        match empty {
            Some(field) if !last.is_empty() => {
                self.fill(&field, last);
                true
            }
            _ => {
                self.last.set_value(last);
                false
            }
        }
    }

    /// Returns how many characters are left or too many, in words. `None` while plenty are left.
    pub(super) fn counter(self) -> Option<String> {
        self.text.with(|text| {
            // Counting takes time in proportion to the length, so it begins near the limit.
            let is_near = text.len() + COUNTER_FROM > text::BODY_LIMIT;
            match is_near.then(|| slash::characters_left(text)).flatten()? {
                Ok(left) => (left < COUNTER_FROM).then(|| format!("{left} left")),
                Err(too_many) => Some(format!("{too_many} too many")),
            }
        })
    }

    /// Puts a refused text back, unless something else was typed meanwhile.
    fn restore_refused(self, text: String, why: Option<Problem>) {
        if why.is_some() {
            self.problem.set(why);
            if let Some(field) = self.field.get_untracked().filter(|field| field.value().is_empty()) {
                self.fill(&field, text);
            }
        }
    }

    fn clear(self, field: &HtmlTextAreaElement) {
        self.fill(field, String::new());
        self.problem.set(None);
    }

    fn fill(self, field: &HtmlTextAreaElement, text: String) {
        field.set_value(&text);
        self.save(text);
    }

    fn save(self, text: String) {
        if let Some(transport) = self.chat.live.transport() {
            transport.save_draft(&text);
        }
        self.text.set(text);
    }
}
