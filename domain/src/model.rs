//! An in-memory state, on which tests and fuzzers run the rules.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
};

use crate::{
    Change, Chat, ChatId, ClientId, Command, Decision, Emoji, Entry, Event, EventKind, Lifetimes,
    LogSettings, Message, PictureId, PictureRecord, Proposal, Reaction, Rules, Seq, Span, StateReader, Tally,
    Timestamp, Tracked, User, UserId, Wording, decide,
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
    /// The events as they are stored, in the order of the log.
    pub events: Vec<Event>,
    /// Who has reacted to which message with which emoji.
    pub reactions: BTreeSet<(ChatId, Seq, UserId, Emoji)>,
    /// The tallies of messages with reactions, or that had some.
    pub tallies: BTreeMap<(ChatId, Seq), Tally>,
    /// What is stored of pictures, by their messages.
    pub pictures: BTreeMap<(ChatId, Seq, PictureId), PictureRecord>,
    /// Who is meant by which message.
    pub mentions: BTreeSet<(UserId, ChatId, Seq)>,
    /// The rules in force.
    pub rules: Rules,
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
        let is_theirs =
            |event: &Event| event.kind.posted_message().is_some_and(|message| message.author == author);
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
        let found = self.events.iter().find(|event| event.chat == chat && event.seq == seq);
        Ok(found.map(|event| event.clone().upgraded()))
    }

    fn any_event_after(
        &self,
        chat: ChatId,
        after: Seq,
        limit: usize,
        is_such: impl Fn(&Event) -> bool,
    ) -> Result<Option<bool>, Infallible> {
        let later = || self.events.iter().filter(|event| event.chat == chat && event.seq > after);
        Ok((later().count() <= limit).then(|| later().any(is_such)))
    }

    fn hidden(&self, user: UserId) -> Result<Vec<UserId>, Infallible> {
        let hidden = self.hidden.iter().filter(|(from, _)| *from == user);
        Ok(hidden.map(|(_, person)| *person).collect())
    }

    fn takes_invites(&self, user: UserId) -> Result<bool, Infallible> {
        Ok(!self.uninvited.contains(&user))
    }

    fn has_reacted(
        &self,
        chat: ChatId,
        message: Seq,
        user: UserId,
        emoji: &Emoji,
    ) -> Result<bool, Infallible> {
        Ok(self.reactions.contains(&(chat, message, user, emoji.clone())))
    }

    fn tally(&self, chat: ChatId, message: Seq) -> Result<Option<Tally>, Infallible> {
        Ok(self.tallies.get(&(chat, message)).cloned())
    }

    fn picture(
        &self,
        chat: ChatId,
        message: Seq,
        picture: PictureId,
    ) -> Result<Option<PictureRecord>, Infallible> {
        Ok(self.pictures.get(&(chat, message, picture)).copied())
    }

    fn message_of_picture(&self, picture: PictureId) -> Result<Option<(ChatId, Seq)>, Infallible> {
        let found = self.pictures.keys().find(|(.., id)| *id == picture);
        Ok(found.map(|(chat, message, _)| (*chat, *message)))
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
        let Ok(decision) = decide(self, &entry, LogSettings { lifetimes: LIFETIMES, rules: self.rules });
        if let Decision::Accepted(changes) = &decision {
            changes.iter().for_each(|change| self.apply(change));
        }
        decision
    }

    /// Returns the events as they are read, without looking at their age: with what is stored in the events of other
    /// messages.
    pub fn read_events(&self) -> Vec<Event> {
        let said = |chat: ChatId, seq: Seq| {
            let event = self.events.iter().find(|event| event.chat == chat && event.seq == seq)?;
            let event = event.clone().upgraded();
            Some((event.kind.message()?.clone(), event.at))
        };
        let quoting = |chat: ChatId, message: Message| {
            let answered = message.reply_to.and_then(|answered| said(chat, answered));
            Message { quote: answered.map(|(answered, at)| answered.quote(at)), ..message }
        };
        let complete = |event: &Event| {
            let event = event.clone().upgraded();
            let chat = event.chat;
            let kind = match event.kind {
                EventKind::Said(message) => EventKind::Said(Box::new(quoting(chat, *message))),
                EventKind::MessageEdited { message, .. } => {
                    let wording = said(chat, message).map(|(said, _)| Box::new(said.wording()));
                    EventKind::MessageEdited { message, wording }
                }
                EventKind::MessageRestored { message, .. } => {
                    let said = said(chat, message).map(|(said, _)| Box::new(quoting(chat, said)));
                    EventKind::MessageRestored { message, said }
                }
                kind => kind,
            };
            Event { kind, ..event }
        };
        self.events.iter().map(complete).collect()
    }

    /// Replaces an event, and what belongs to the message that it is.
    fn replace(&mut self, chat: ChatId, seq: Seq, by: impl FnOnce(Event) -> Event) {
        let Some(event) = self.events.iter_mut().find(|event| event.chat == chat && event.seq == seq) else {
            return;
        };
        *event = by(event.clone());
        self.mentions.retain(|(_, of, message)| (*of, *message) != (chat, seq));
        if let Some(message) = event.kind.message() {
            self.mentions.extend(message.meant().into_iter().map(|user| (user, chat, seq)));
            for picture in &message.pictures {
                self.pictures.insert((chat, seq, picture.id), PictureRecord::of(picture));
            }
        }
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
                self.events.push(event.stored().into_owned());
                if let Some(message) = event.kind.posted_message() {
                    self.posted.insert((event.chat, message.author, message.client_id), event.seq);
                }
                let earlier = self.events.iter().filter(|earlier| earlier.chat == event.chat);
                let mut removed = Vec::new();
                if let EventKind::MessageRemoved { message, by } = &event.kind {
                    removed.push((*message, *by));
                }
                if let Some((authors, by)) = event.clears() {
                    let theirs = earlier.filter(|earlier| {
                        earlier.kind.posted_message().is_some_and(|said| authors.contains(&said.author))
                    });
                    removed.extend(theirs.map(|earlier| (earlier.seq, by)));
                }
                for (message, by) in removed {
                    self.replace(event.chat, message, |said| said.redact(by));
                    self.reactions.retain(|(chat, seq, ..)| (*chat, *seq) != (event.chat, message));
                    self.tallies.remove(&(event.chat, message));
                    let all = self.pictures.iter_mut();
                    let pictures = all.filter(|((chat, seq, _), _)| (*chat, *seq) == (event.chat, message));
                    for (_, picture) in pictures.filter(|(_, picture)| picture.removed_at.is_none()) {
                        picture.removed_at = Some(event.at);
                    }
                }
                match &event.kind {
                    EventKind::MessageEdited { message, wording: Some(wording) } => {
                        self.replace(event.chat, *message, |said| {
                            said.edit(Wording::clone(wording), event.at)
                        });
                    }
                    EventKind::MessageRestored { message, said: Some(said) } => {
                        self.posted.insert((event.chat, said.author, said.client_id), *message);
                        self.replace(event.chat, *message, |gone| gone.restore(said.clone()));
                    }
                    _ => self.replace(event.chat, event.seq, |event| event),
                }
            }
            Change::Reacted(reaction) => {
                let Reaction { chat, message, emoji, by, is_on, .. } = reaction;
                let key = (*chat, *message, by.id, emoji.clone());
                if *is_on {
                    self.reactions.insert(key)
                } else {
                    self.reactions.remove(&key)
                };
                let tally = self.tallies.remove(&(*chat, *message)).unwrap_or_default();
                self.tallies.insert((*chat, *message), tally.after(reaction));
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
                let is_there = |place: &ChatId, seq: &Seq| place != chat || seq > through;
                self.reactions.retain(|(place, seq, ..)| is_there(place, seq));
                self.tallies.retain(|(place, seq), _| is_there(place, seq));
                self.pictures.retain(|(place, seq, _), _| is_there(place, seq));
                self.mentions.retain(|(_, place, seq)| is_there(place, seq));
            }
            Change::ClockSet(by) => {
                self.users.values_mut().for_each(|kept| kept.active_at = kept.active_at.moved(*by));
                self.chats.values_mut().for_each(|kept| kept.active_at = kept.active_at.moved(*by));
            }
        }
    }
}
