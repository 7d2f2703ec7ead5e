//! The rules: what a proposal does to the state.

mod chats;
mod expiry;
mod invites;
mod messages;
mod moderation;
mod reactions;
#[cfg(test)]
mod tests;

use messages::Saying;

use crate::{
    Change, Chat, ChatId, ClientId, Command, Emoji, Entry, Event, EventKind, Expiry, LogSettings, PictureId,
    PictureRecord, Problem, Proposal, Rules, Seq, Tally, Timestamp, User, UserId,
};

/// How long a user can take back the removal of an own message, in milliseconds: 10 seconds, half of them for the way.
pub const RESTORE_MILLIS: u64 = 10_000;
/// The maximum number of events of a chat since a removal that can be taken back. They are looked through for what was done to
/// the message since.
pub const RESTORE_EVENTS: usize = 1_000;

/// A value of the state, with the time of its last use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked<T> {
    /// The value.
    pub value: T,
    /// When it was last in use.
    pub active_at: Timestamp,
}

/// Read access to the state before an entry, including what has expired. Implemented by the owner of the state.
pub trait StateReader {
    /// The error of a failed read.
    type Error;

    /// Returns the user, or `None` if none is stored.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn user(&self, id: UserId) -> Result<Option<Tracked<User>>, Self::Error>;

    /// Returns the chat, or `None` if it does not exist.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn chat(&self, id: ChatId) -> Result<Option<Tracked<Chat>>, Self::Error>;

    /// Returns the sequence number of a message posted earlier, or `None` if it was not posted.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn posted(&self, chat: ChatId, author: UserId, client_id: ClientId) -> Result<Option<Seq>, Self::Error>;

    /// Whether a chat has messages of this author that were not removed.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn has_messages_by(&self, chat: ChatId, author: UserId) -> Result<bool, Self::Error>;

    /// Returns the direct chats that this user is part of.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn direct_chats(&self, user: UserId) -> Result<Vec<ChatId>, Self::Error>;

    /// Returns the event of a chat at a position, [upgraded](Event::upgraded), or `None` if there is none.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn event(&self, chat: ChatId, seq: Seq) -> Result<Option<Event>, Self::Error>;

    /// Whether any event of a chat after a position is such a one. `None` if there are more than `limit`.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn any_event_after(
        &self,
        chat: ChatId,
        after: Seq,
        limit: usize,
        is_such: impl Fn(&Event) -> bool,
    ) -> Result<Option<bool>, Self::Error>;

    /// Returns the users that this user has hidden.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn hidden(&self, user: UserId) -> Result<Vec<UserId>, Self::Error>;

    /// Whether a user accepts invites: false only if they chose so.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn takes_invites(&self, user: UserId) -> Result<bool, Self::Error>;

    /// Whether a user has reacted to a message with an emoji.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn has_reacted(
        &self,
        chat: ChatId,
        message: Seq,
        user: UserId,
        emoji: &Emoji,
    ) -> Result<bool, Self::Error>;

    /// Returns the reactions to a message, or `None` if there are none.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn tally(&self, chat: ChatId, message: Seq) -> Result<Option<Tally>, Self::Error>;

    /// Returns what is stored of a picture of a message, which may be removed, or `None` if it has no such picture.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn picture(
        &self,
        chat: ChatId,
        message: Seq,
        picture: PictureId,
    ) -> Result<Option<PictureRecord>, Self::Error>;

    /// Returns the message that a picture belongs to, removed or not, or `None` if it belongs to none.
    ///
    /// # Errors
    /// If the state cannot be read.
    fn message_of_picture(&self, picture: PictureId) -> Result<Option<(ChatId, Seq)>, Self::Error>;
}

/// The result of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Done by storing these changes, all or none.
    Accepted(Vec<Change>),
    /// Done earlier, at this position. Nothing changes, and the caller gets the first answer again.
    Duplicate(Seq),
    /// Refused. Nothing changes.
    Rejected(Problem),
}

/// Decides what an entry of the log does to the state before it. Deterministic: the same state, entry and settings
/// always give the same decision, on every machine.
///
/// # Errors
/// If the state cannot be read; nothing is decided then.
pub fn decide<S: StateReader>(state: &S, entry: &Entry, settings: LogSettings) -> Result<Decision, S::Error> {
    let LogSettings { lifetimes, rules } = settings;
    let now = Now { state, entry, expiry: Expiry { now: entry.at, lifetimes }, rules };
    let decided = match &entry.proposal {
        Proposal::Command { by, command } => now.command(*by, command),
        Proposal::Touch { users, chats } => now.touch(users, chats),
        Proposal::Expire { users, chats, events } => now.expire(users, chats, events),
        Proposal::UserLeft(user) => now.withdraw_invites(*user),
        Proposal::End { chat, through } => now.end(*chat, *through),
        Proposal::ClockSet(by) => Ok(vec![Change::ClockSet(*by)]),
    };
    match decided {
        Ok(changes) => Ok(Decision::Accepted(changes)),
        Err(Unchanged::Duplicate(first)) => Ok(Decision::Duplicate(first)),
        Err(Unchanged::Rejected(problem)) => Ok(Decision::Rejected(problem)),
        Err(Unchanged::Unreadable(error)) => Err(error),
    }
}

/// Why an entry changes nothing.
enum Unchanged<E> {
    /// It was done earlier, at this position.
    Duplicate(Seq),
    /// The rules do not allow it.
    Rejected(Problem),
    /// The state could not be read.
    Unreadable(E),
}

impl<E> From<Problem> for Unchanged<E> {
    fn from(problem: Problem) -> Self {
        Self::Rejected(problem)
    }
}

/// What a rule finds in the state.
type Found<T, S> = Result<T, Unchanged<<S as StateReader>::Error>>;

/// What a rule decides: the changes of an accepted entry, none of which means that it is as it should be already.
type Changes<S> = Found<Vec<Change>, S>;

/// The state as of an entry: what has expired by then is absent.
struct Now<'a, S> {
    state: &'a S,
    entry: &'a Entry,
    expiry: Expiry,
    rules: Rules,
}

impl<S: StateReader> Now<'_, S> {
    fn command(&self, by: UserId, command: &Command) -> Changes<S> {
        match command {
            Command::SetNickname { nickname, chats } => self.set_nickname(by, nickname, chats),
            Command::StartChat { chat, title, visibility } => {
                self.start_chat(by, *chat, title.as_ref(), *visibility)
            }
            Command::EditTitle { chat, title } => self.edit_title(by, *chat, title),
            Command::SetVisibility { chat, visibility } => self.set_visibility(by, *chat, *visibility),
            Command::Post { chat, client_id, body, waited_millis } => {
                self.post(by, *chat, (*client_id, body), *waited_millis)
            }
            Command::ChatPrivately { with, chat, is_there, is_near } => {
                self.chat_privately(by, *with, *chat, (*is_there, *is_near))
            }
            Command::SetInvites { are_taken } => self.set_invites(by, *are_taken),
            Command::AnswerInvite { chat, answer } => self.answer_invite(by, *chat, *answer),
            Command::RemoveMessage { chat, message } => self.remove_message(by, *chat, *message),
            Command::SetRemoved { chat, person, is_removed } => {
                self.set_removed(by, *chat, *person, *is_removed)
            }
            Command::RemovePerson { chat, person } => self.remove_people(by, *chat, &[*person]),
            Command::RemoveNewcomers { chat, people, .. } => self.remove_people(by, *chat, people),
            Command::RemoveOwn { chat } => self.remove_own(by, *chat),
            Command::SetLock { chat, is_locked } => self.set_lock(by, *chat, *is_locked),
            Command::SetHidden { person, is_hidden } => self.set_hidden(by, *person, *is_hidden),
            Command::Say { .. }
            | Command::EditMessage { .. }
            | Command::RestoreMessage { .. }
            | Command::React { .. }
                if self.rules < Rules::OF_MESSAGES =>
            {
                Err(Problem::NotYet.into())
            }
            Command::Say { chat, client_id, words, reply_to, pictures, is_action, waited_millis } => {
                let said = Saying { words, reply_to: *reply_to, pictures, is_action: *is_action };
                self.say(by, *chat, *client_id, &said, *waited_millis)
            }
            Command::EditMessage { chat, message, words } => self.edit_message(by, *chat, *message, words),
            Command::RestoreMessage { chat, message, removal, said } => {
                self.restore_message(by, *chat, (*message, *removal), said)
            }
            Command::React { chat, message, emoji, is_on } => self.react(by, *chat, *message, emoji, *is_on),
        }
    }

    /// Passes on what was read of the state.
    fn read<T>(&self, read: impl FnOnce(&S) -> Result<T, S::Error>) -> Found<T, S> {
        read(self.state).map_err(Unchanged::Unreadable)
    }

    /// Returns the user as stored, or `None` if none is stored that has not expired.
    fn stored_user(&self, id: UserId) -> Found<Option<Tracked<User>>, S> {
        Ok(self.read(|state| state.user(id))?.filter(|stored| !self.expiry.of_user(stored.active_at)))
    }

    /// Returns the user as stored, or as a user who has not chosen a nickname.
    fn user(&self, id: UserId) -> Found<User, S> {
        Ok(self.stored_user(id)?.map_or_else(|| User::new(id), |stored| stored.value))
    }

    /// Returns the users that a user has hidden, which are forgotten when that user expires.
    fn hidden(&self, by: UserId) -> Found<Vec<UserId>, S> {
        if self.stored_user(by)?.is_none() {
            return Ok(Vec::new());
        }
        self.read(|state| state.hidden(by))
    }

    /// Whether a user accepts invites. A refusal is forgotten when the user expires.
    fn takes_invites(&self, user: UserId) -> Found<bool, S> {
        Ok(self.stored_user(user)?.is_none() || self.read(|state| state.takes_invites(user))?)
    }

    /// Returns the chat, or `None` if there is none that has not expired.
    fn chat(&self, id: ChatId) -> Found<Option<Chat>, S> {
        let stored = self.read(|state| state.chat(id))?;
        Ok(stored.filter(|stored| !self.expiry.of_chat(stored.active_at)).map(|stored| stored.value))
    }

    /// Returns the chat, for actions of users who may enter it.
    fn accessible_chat(&self, id: ChatId, by: UserId) -> Found<Chat, S> {
        let chat = self.chat(id)?.ok_or(Problem::UnknownChat)?;
        chat.check_access(by)?;
        Ok(chat)
    }

    /// Returns the chat, for actions of its owner.
    fn owned_chat(&self, id: ChatId, by: UserId) -> Found<Chat, S> {
        let chat = self.accessible_chat(id, by)?;
        if chat.owner == by { Ok(chat) } else { Err(Problem::NotOwner.into()) }
    }

    /// Returns the chat, for moderation by its owner: of a user, or of everyone else. Direct chats are not moderated.
    fn moderated_chat(&self, id: ChatId, by: UserId) -> Found<Chat, S> {
        let chat = self.owned_chat(id, by)?;
        if chat.guest.is_none() { Ok(chat) } else { Err(Problem::ChatOfTwo.into()) }
    }

    /// Returns the direct chats of a user that have not expired.
    fn direct_chats(&self, user: UserId) -> Found<Vec<Chat>, S> {
        let ids = self.read(|state| state.direct_chats(user))?;
        ids.into_iter().filter_map(|id| self.chat(id).transpose()).collect()
    }

    /// Stores a user as of now. A user who invites or hides is stored even under their default nickname, so that their
    /// invites and hidden users go with them when they expire. What is still stored from before they expired is removed.
    fn store_user(&self, user: &User) -> Changes<S> {
        let stored = self.read(|state| state.user(user.id))?;
        let has_expired = stored.is_some_and(|stored| self.expiry.of_user(stored.active_at));
        let gone = has_expired.then_some(Change::UserExpired(user.id));
        let here = Change::User { user: user.clone(), at: self.entry.at };
        Ok(gone.into_iter().chain([here]).collect())
    }

    /// Returns the event of a message, or `None` if it was removed, has expired or never existed.
    fn message(&self, chat: &Chat, message: Seq) -> Found<Option<Event>, S> {
        let event = self.read(|state| state.event(chat.id, message))?;
        Ok(event.filter(|event| !self.expiry.of_event(event.at) && event.kind.message().is_some()))
    }

    fn event(&self, chat: ChatId, prev: Seq, kind: EventKind) -> Change {
        Change::Chat(Event { chat, seq: self.entry.seq, prev, at: self.entry.at, kind })
    }

    /// Adds an event to a chat.
    fn next(&self, chat: &Chat, kind: EventKind) -> Vec<Change> {
        vec![self.event(chat.id, chat.seq, kind)]
    }
}
