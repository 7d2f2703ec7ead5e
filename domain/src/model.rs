//! An in-memory state, on which tests and fuzzers run the rules.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
};

use crate::{
    Change, Chat, ChatId, ClientId, Command, Decision, Entry, Event, EventKind, Lifetimes, Proposal, Seq,
    Span, StateReader, Timestamp, Tracked, User, UserId, decide,
};

/// The lifetimes in the model.
pub const LIFETIMES: Lifetimes =
    Lifetimes { chat: Span::seconds(1_800), user: Span::seconds(300), message: Span::seconds(86_400) };

/// The state as plain maps: what the server keeps in its database.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Model {
    /// The users.
    pub users: HashMap<UserId, Tracked<User>>,
    /// The chats.
    pub chats: HashMap<ChatId, Tracked<Chat>>,
    /// The sequence number of each message, by its client's id.
    pub posted: HashMap<(ChatId, UserId, ClientId), Seq>,
    /// Pairs of a user and a user they have hidden.
    pub hidden: BTreeSet<(UserId, UserId)>,
    /// The users who accept no invites.
    pub uninvited: BTreeSet<UserId>,
    /// The events, in the order of the log.
    pub events: Vec<Event>,
    /// The sequence number of the newest entry.
    pub last: u64,
    /// The current time, in milliseconds since 1970.
    pub now: u64,
}

impl StateReader for Model {
    type Error = Infallible;

    fn user(&self, id: UserId) -> Result<Option<Tracked<User>>, Infallible> {
        Ok(self.users.get(&id).cloned())
    }

    fn chat(&self, id: ChatId) -> Result<Option<Tracked<Chat>>, Infallible> {
        Ok(self.chats.get(&id).cloned())
    }

    fn posted(&self, chat: ChatId, author: UserId, client_id: ClientId) -> Result<Option<Seq>, Infallible> {
        Ok(self.posted.get(&(chat, author, client_id)).copied())
    }

    fn has_messages_by(&self, chat: ChatId, author: UserId) -> Result<bool, Infallible> {
        let is_theirs = |event: &Event| event.kind.message().is_some_and(|message| message.author == author);
        Ok(self.events.iter().any(|event| event.chat == chat && is_theirs(event)))
    }

    fn direct_chats(&self, user: UserId) -> Result<Vec<ChatId>, Infallible> {
        let of_two = self.chats.values().filter(|kept| kept.value.peer(user).is_some());
        let mut ids: Vec<_> =
            of_two.filter(|kept| kept.value.check_access(user).is_ok()).map(|kept| kept.value.id).collect();
        ids.sort();
        Ok(ids)
    }

    fn event(&self, chat: ChatId, seq: Seq) -> Result<Option<Event>, Infallible> {
        Ok(self.events.iter().find(|event| event.chat == chat && event.seq == seq).cloned())
    }

    fn hidden(&self, user: UserId) -> Result<Vec<UserId>, Infallible> {
        let hidden = self.hidden.iter().filter(|(from, _)| *from == user);
        Ok(hidden.map(|(_, person)| *person).collect())
    }

    fn takes_invites(&self, user: UserId) -> Result<bool, Infallible> {
        Ok(!self.uninvited.contains(&user))
    }
}

impl Model {
    /// Runs a command of a user, one second after the previous one.
    pub fn run(&mut self, by: UserId, command: Command) -> Decision {
        self.now += 1_000;
        self.propose(Proposal::Command { by, command })
    }

    /// Appends a proposal to the log and applies what is decided.
    pub fn propose(&mut self, proposal: Proposal) -> Decision {
        self.last += 1;
        let entry = Entry { seq: Seq(self.last), at: Timestamp(self.now), proposal };
        let Ok(decision) = decide(self, &entry, LIFETIMES.into());
        if let Decision::Accepted(changes) = &decision {
            changes.iter().for_each(|change| self.apply(change));
        }
        decision
    }

    /// Applies a change to the state.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::User { user, at } => {
                let active_at = self.users.get(&user.id).map_or(*at, |kept| kept.active_at.max(*at));
                self.users.insert(user.id, Tracked { value: user.clone(), active_at });
            }
            Change::Chat(event) => {
                let before = self.chats.get(&event.chat);
                let active_at = before.map_or(event.at, |kept| kept.active_at.max(event.at));
                if let Some(value) = event.apply_to(before.map(|kept| kept.value.clone())) {
                    self.chats.insert(event.chat, Tracked { value, active_at });
                }
                if let Some(message) = event.kind.message() {
                    self.posted.insert((event.chat, message.author, message.client_id), event.seq);
                }
                if let EventKind::MessageRemoved { message, by } = &event.kind {
                    for event in &mut self.events {
                        if event.seq == *message {
                            *event = event.clone().redact(*by);
                        }
                    }
                }
                if let Some((authors, by)) = event.clears() {
                    for earlier in self.events.iter_mut().filter(|earlier| earlier.chat == event.chat) {
                        let message = earlier.kind.message();
                        if message.is_some_and(|message| authors.contains(&message.author)) {
                            *earlier = earlier.clone().redact(by);
                        }
                    }
                }
                self.events.push(event.clone());
            }
            Change::Hidden { from, person, is_hidden: true } => {
                self.hidden.insert((*from, *person));
            }
            Change::Hidden { from, person, is_hidden: false } => {
                self.hidden.remove(&(*from, *person));
            }
            Change::InvitesSet { user, are_taken: true } => {
                self.uninvited.remove(user);
            }
            Change::InvitesSet { user, are_taken: false } => {
                self.uninvited.insert(*user);
            }
            Change::UserTouched(id, at) => {
                self.users.entry(*id).and_modify(|kept| kept.active_at = *at);
            }
            Change::ChatTouched(id, at) => {
                self.chats.entry(*id).and_modify(|kept| kept.active_at = *at);
            }
            Change::UserExpired(id) => {
                self.users.remove(id);
                self.hidden.retain(|(from, _)| from != id);
                self.uninvited.remove(id);
            }
            Change::ChatExpired(chat) => {
                self.chats.remove(&chat.id);
            }
            Change::Expired { chat, through } => {
                self.events.retain(|event| event.chat != *chat || event.seq > *through);
                self.posted.retain(|(place, ..), seq| place != chat || *seq > *through);
            }
            Change::ClockSet(by) => {
                self.users.values_mut().for_each(|kept| kept.active_at = kept.active_at.moved(*by));
                self.chats.values_mut().for_each(|kept| kept.active_at = kept.active_at.moved(*by));
            }
        }
    }
}
