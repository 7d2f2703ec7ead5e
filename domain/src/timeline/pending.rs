//! Own messages that are not stored yet: shown at once, sent until they are stored, held back where sending them is for the
//! reader to decide.

use serde::{Deserialize, Serialize};

use super::Timeline;
use crate::{
    Body, ChatId, ClientId, Event, Expiry, MessageRef, Problem, Seq, Timestamp, UserId, frame::ClientCommand,
    picture::PictureTicket,
};

/// The maximum number of own messages waiting to be stored; further ones stay in the composer.
pub const PENDING_LIMIT: usize = 100;

/// An own message that is shown before it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The id made for it here.
    pub client_id: ClientId,
    /// The text.
    pub body: Body,
    /// When it was written, by the server's clock as far as the page knows it.
    pub at: Timestamp,
    /// The author: the browser may have become another user since. `None` in data of older versions, which did not keep it.
    #[serde(default)]
    pub author: Option<UserId>,
    /// Why it was refused. `None` while it is being sent.
    pub problem: Option<Problem>,
    /// The message that this one answers. `None` if it answers none.
    #[serde(default)]
    pub reply_to: Option<Seq>,
    /// The users who are mentioned. `None` if the server is to find them.
    #[serde(default)]
    pub mentions: Option<Vec<UserId>>,
    /// The pictures.
    #[serde(default)]
    pub pictures: Vec<PictureTicket>,
    /// Whether it says what its author does (`/me`).
    #[serde(default)]
    pub is_action: bool,
}

impl Pending {
    /// Creates a message that is a text alone, written by this user at this time.
    pub fn new(client_id: ClientId, body: Body, at: Timestamp, author: UserId) -> Self {
        Self {
            client_id,
            body,
            at,
            author: Some(author),
            problem: None,
            reply_to: None,
            mentions: None,
            pictures: Vec::new(),
            is_action: false,
        }
    }

    /// Returns the request to post it, given the current time by the server's clock.
    pub fn ask(&self, chat: ChatId, now: Timestamp) -> ClientCommand {
        let Self { client_id, body, at, reply_to, mentions, pictures, is_action, .. } = self;
        ClientCommand::Post {
            chat,
            client_id: *client_id,
            body: body.to_string(),
            waited_millis: now.millis_since(*at),
            reply_to: *reply_to,
            mentions: mentions.clone(),
            pictures: pictures.clone(),
            is_action: *is_action,
        }
    }
}

/// The state of an own message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Not stored: being sent, or refused with this problem.
    Waits(Option<Problem>),
    /// Stored at this position.
    Stored(Seq),
}

impl Timeline {
    /// Holds back messages that another user of this browser wrote.
    pub(super) fn hold_back(&mut self) {
        for pending in &mut self.pending {
            if pending.author.is_some_and(|author| author != self.me) {
                pending.problem = Some(Problem::WrittenAsAnother);
            } else if pending.problem == Some(Problem::WrittenAsAnother) {
                pending.problem = None;
            }
        }
    }

    /// Holds back messages that have waited longer than messages are kept: they may have been stored, seen and expired
    /// since, and would be posted twice.
    pub fn hold_back_old(&mut self, expiry: Expiry) {
        for pending in &mut self.pending {
            if pending.problem.is_none() && expiry.of_event(pending.at) {
                pending.problem = Some(Problem::WaitedTooLong);
            }
        }
    }

    /// Discards an own message that is not stored and returns it. `None` if it is stored by now.
    pub fn discard(&mut self, client_id: ClientId) -> Option<Pending> {
        let place = self.pending.iter().position(|pending| pending.client_id == client_id)?;
        Some(self.pending.remove(place))
    }

    pub(super) fn drop_stored(&mut self) {
        let stored: Vec<_> = self.events.iter().filter_map(|event| self.own_client_id(event)).collect();
        self.pending.retain(|pending| !stored.contains(&pending.client_id));
    }

    /// Adds an own message before it is stored. Returns false, and does nothing, if too many wait already.
    pub fn echo(&mut self, client_id: ClientId, body: Body, at: Timestamp) -> bool {
        let is_accepted = self.pending.len() < PENDING_LIMIT;
        if is_accepted {
            self.pending.push(Pending::new(client_id, body, at, self.me));
        }
        is_accepted
    }

    /// Returns an own message that waits, to add what belongs to it. `None` if it does not wait any more.
    pub fn pending_mut(&mut self, client_id: ClientId) -> Option<&mut Pending> {
        self.pending.iter_mut().find(|pending| pending.client_id == client_id)
    }

    /// Returns the own messages that are not stored yet, oldest first.
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// Adds the own messages that were waiting when the page was left, before those written since and without those
    /// that turn out to be stored. Beyond [`PENDING_LIMIT`] the newest of them are dropped.
    pub fn restore(&mut self, kept: Vec<Pending>) {
        let free_places = PENDING_LIMIT.saturating_sub(self.pending.len());
        self.pending.splice(..0, kept.into_iter().take(free_places));
        self.drop_stored();
        self.retry_transient();
        self.hold_back();
    }

    /// Clears the problem of messages that were refused only because of the state of the connection or the server, so
    /// that they are sent again.
    pub fn retry_transient(&mut self) {
        for pending in &mut self.pending {
            pending.problem = pending.problem.filter(|problem| !problem.is_of_connection());
        }
    }

    /// Records that an own message is stored at this position. It keeps waiting until its event is applied, unless the
    /// timeline is past that position: then the event will not come again.
    pub fn mark_stored(&mut self, client_id: ClientId, seq: Seq) {
        if seq <= self.seq {
            self.pending.retain(|pending| pending.client_id != client_id);
        }
    }

    /// Records that an own message was refused.
    pub fn mark_refused(&mut self, client_id: ClientId, problem: Problem) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.client_id == client_id) {
            pending.problem = Some(problem);
        }
    }

    /// Retries an own message at this time, as the current reader. It is sent without what it answers if that was gone.
    /// Returns what to send, under the same id. `None` if it does not wait any more.
    pub fn retry(&mut self, client_id: ClientId, at: Timestamp) -> Option<Pending> {
        let me = self.me;
        let pending = self.pending.iter_mut().find(|pending| pending.client_id == client_id)?;
        if pending.problem.take() == Some(Problem::ReplyGone) {
            pending.reply_to = None;
        }
        pending.author = Some(me);
        pending.at = at;
        Some(pending.clone())
    }

    /// Returns the own messages being sent, oldest first: those to send again after a reconnect.
    pub fn outgoing(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter().filter(|pending| pending.problem.is_none())
    }

    /// Returns the id if this event is an own message, or one that the reader wrote as another user and that waits here.
    pub(super) fn own_client_id(&self, event: &Event) -> Option<ClientId> {
        let MessageRef { author, client_id, .. } = event.kind.message_or_tombstone()?;
        let waits = |own: &Pending| own.client_id == client_id && own.author.unwrap_or(self.me) == author;
        (author == self.me || self.pending.iter().any(waits)).then_some(client_id)
    }
}
