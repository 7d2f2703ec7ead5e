//! The engine: the one entry point for every transport. WebSockets and forms both call it, with a user whose session
//! was verified and a command whose texts were validated.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use domain::{
    Chat, ChatId, ClientId, Command, Epoch, Event, EventKind, Invite, Lifetimes, Message, Problem, Proposal,
    Roster, Seq, Timestamp, Title, Tombstone, User, UserId, Visibility,
    id::ID_BYTES,
    lobby::LobbyQuery,
    page::{About, ChatPage, History, HomePage, PAGE_EVENTS, Visit},
};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, oneshot};

use crate::{
    caller::Caller,
    clock::Clock,
    fanout::{Fanout, Subscriber, Subscription},
    limits::{Filtering, Limits, Place, counter::Counted, network},
    lobby::Lobby,
    log::{Outcome, Sequencer},
    presence::{MemberGuard, OnlineGuard, Presence},
    storage::{Snapshot, Store, StoreError},
};

/// The number of events of a chat that one entry of the log removes when the chat is ended.
const ENDED_AT_ONCE: usize = 512;
/// The number of the newest events of a chat that are searched for the authors among its newcomers.
const NEWCOMERS_EVENTS: usize = 20_000;

/// Takes commands, and returns views of the state.
pub struct Engine {
    store: Arc<Store>,
    sequencer: Arc<dyn Sequencer>,
    fanout: Arc<Fanout>,
    presence: Arc<Presence>,
    lobby: Arc<Lobby>,
    limits: Arc<Limits>,
    clock: Clock,
}

/// A command that was proposed and is not decided yet.
pub struct Proposed(oneshot::Receiver<Outcome>);

/// A chat that is being started, which already counts towards its owner's limit.
struct Starting {
    _counted: Counted<UserId>,
    chat: ChatId,
    /// The network of the client. `None` if it is this machine, which may be a proxy that is not configured.
    from: Option<IpAddr>,
    lobby: Arc<Lobby>,
}

/// A chat as a reader finds it, without its history.
pub struct ChatView {
    /// The snapshot that the rest was read from.
    view: Snapshot,
    /// The part that all pages share, for this reader.
    pub visit: Visit,
    /// The chat.
    pub chat: Chat,
    /// The members. The reader is counted, but only named if they are a member already.
    pub roster: Roster,
}

/// What a reader wants to see details of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    /// A message, by its sequence number.
    Message(Seq),
    /// A user.
    Person(UserId),
}

impl Proposed {
    /// Waits until the command is stored, or refused.
    ///
    /// # Errors
    /// The [`Problem`] it was refused with, or [`Problem::NotStored`] if the outcome is unknown.
    pub async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Err(Problem::NotStored))
    }
}

impl Starting {
    /// Waits for the outcome in a task of its own, since the client may stop waiting, and forwards it. If the chat was
    /// started, its network is passed to the lobby.
    fn follow(self, outcome: oneshot::Receiver<Outcome>) -> oneshot::Receiver<Outcome> {
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let outcome = outcome.await.unwrap_or(Err(Problem::NotStored));
            if let (Ok(_), Some(network)) = (&outcome, self.from) {
                self.lobby.came_from(self.chat, network);
            }
            drop(self);
            let _ = tell.send(outcome);
        });
        told
    }
}

impl Engine {
    /// Creates an engine from its parts.
    pub fn new(
        store: Arc<Store>,
        sequencer: Arc<dyn Sequencer>,
        fanout: Arc<Fanout>,
        presence: Arc<Presence>,
        lobby: Arc<Lobby>,
        limits: Arc<Limits>,
        clock: Clock,
    ) -> Self {
        Self { store, sequencer, fanout, presence, lobby, limits, clock }
    }

    /// Proposes a command. Commands that one task proposes one after the other keep their order.
    ///
    /// # Errors
    /// [`Problem::TooFast`], [`Problem::TooManyOwn`], [`Problem::StorageFull`] or [`Problem::Busy`] if a limit is
    /// reached; [`Problem::UserGone`] if an invited user is not online, or a user to be removed has never been in the
    /// chat; [`Problem::NotReadable`] or [`Problem::NotStored`] if the database or the log fails.
    pub async fn propose(&self, by: Caller, mut command: Command) -> Result<Proposed, Problem> {
        self.limits.ask(by, &command)?;
        if let Command::SetNickname { chats, .. } = &mut command {
            *chats = self.presence.chats_of(by.user);
        }
        self.limits.keep(by, &command, self.store.bytes())?;
        let Caller { user: by, address } = by;
        let mut starting = None;
        match &mut command {
            Command::StartChat { chat, .. } => {
                let view = self.read()?;
                let there = view.chat(*chat).map_err(|error| not_readable(&error))?;
                // The same form sent again starts no further chat.
                if there.is_none_or(|there| there.owner != by) {
                    let counted = self.limits.start(by, || self.lobby.owned_by(by))?;
                    let from = (!address.is_loopback()).then(|| network(address));
                    let lobby = Arc::clone(&self.lobby);
                    starting = Some(Starting { _counted: counted, chat: *chat, from, lobby });
                }
            }
            Command::RemoveNewcomers { chat, seconds, people } => {
                *people = self.newcomers(*chat, by, *seconds).await?;
            }
            Command::SetRemoved { chat, person, is_removed: true }
            | Command::RemovePerson { chat, person } => {
                let view = self.read()?;
                let own =
                    view.chat(*chat).map_err(|error| not_readable(&error))?.filter(|chat| chat.owner == by);
                // The removal shows the nickname to all members.
                if let Some(chat) = own
                    && !self.has_met(&view, &chat, *person).map_err(|error| not_readable(&error))?
                {
                    return Err(Problem::UserGone);
                }
            }
            Command::ChatPrivately { with, is_there, is_near, .. } => {
                let chat = self.direct_chat_with(by, *with)?;
                *is_there = chat.is_some_and(|chat| self.presence.is_in(chat.id, *with));
                *is_near = self.presence.are_together(by, *with);
                if by != *with && !self.presence.is_here(*with) {
                    return Err(Problem::UserGone);
                }
            }
            _ => {}
        }
        let outcome = self.sequencer.propose(Proposal::Command { by, command }).await?;
        Ok(Proposed(match starting {
            Some(starting) => starting.follow(outcome),
            None => outcome,
        }))
    }

    /// Returns the users who have come into a chat within the last `seconds`: members who have joined since then, and
    /// authors of messages whose first message is from then. Empty if `owner` does not own the chat; the command is
    /// then refused when it is decided.
    async fn newcomers(&self, id: ChatId, owner: UserId, seconds: u64) -> Result<Vec<UserId>, Problem> {
        let view = self.read()?;
        let chat = view.chat(id).map_err(|error| not_readable(&error))?;
        if chat.is_none_or(|chat| chat.owner != owner) {
            return Ok(Vec::new());
        }
        let present = self.presence.newcomers(id, Duration::from_secs(seconds));
        let since = Timestamp(self.now().0.saturating_sub(seconds.saturating_mul(1_000)));
        // This reads more than a page does, and must not block other tasks.
        let looking = tokio::task::spawn_blocking(move || {
            let (mut people, begins) = view.authors_since(id, since, NEWCOMERS_EVENTS)?;
            people.extend(present);
            let mut newcomers = Vec::new();
            for person in people {
                if person != owner && !view.has_said_before(id, person, begins)? {
                    newcomers.push(person);
                }
            }
            Ok(newcomers)
        });
        looking.await.map_err(|_| Problem::NotReadable)?.map_err(|error: StoreError| not_readable(&error))
    }

    /// Proposes a command, and waits until it is stored.
    ///
    /// # Errors
    /// Those of [`Engine::propose`] and [`Proposed::outcome`].
    pub async fn execute(&self, by: Caller, command: Command) -> Outcome {
        self.propose(by, command).await?.outcome().await
    }

    /// Counts the load of a page, which costs as much as `cost` plain ones, against the rate limits.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the rate limit is exceeded, [`Problem::Busy`] if it tracks too many sessions or
    /// networks.
    pub fn load(&self, user: Option<UserId>, address: IpAddr, cost: NonZeroU32) -> Result<(), Problem> {
        self.limits.page(user, address, cost)
    }

    /// Counts a WebSocket that is being opened, with or without a session, until the returned place is dropped.
    ///
    /// # Errors
    /// [`Problem::TooFast`] if the rate limit is exceeded, [`Problem::Busy`] if there are too many in all or from one
    /// network.
    pub fn check_connect(&self, user: Option<UserId>, address: IpAddr) -> Result<Place, Problem> {
        self.limits.connect(user, address)
    }

    /// Counts an open WebSocket of a user until the returned guard is dropped.
    ///
    /// # Errors
    /// [`Problem::TooManyPages`] if the session has too many open.
    pub fn open(&self, user: UserId) -> Result<Counted<UserId>, Problem> {
        self.limits.open(user)
    }

    /// Returns how often the clock was set since this server started.
    pub fn clock_sets(&self) -> u64 {
        self.presence.clock_sets()
    }

    /// Returns the current time of the server.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Returns the epoch of the log.
    pub fn epoch(&self) -> Epoch {
        self.sequencer.epoch()
    }

    /// Returns a snapshot of what is committed, as of now.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn read(&self) -> Result<Snapshot, Problem> {
        self.store.read(self.now()).map_err(|error| not_readable(&error))
    }

    /// Returns the lifetimes after which users, chats and messages expire.
    pub fn lifetimes(&self) -> Lifetimes {
        self.store.lifetimes()
    }

    /// Returns the id of the chat that a form starts. It depends only on the user, the id of the form and its contents,
    /// so that a form that is sent twice starts one chat.
    pub fn chat_id_of_form(
        user: UserId,
        form: ClientId,
        title: Option<&Title>,
        visibility: Visibility,
    ) -> ChatId {
        let hash = Sha256::new_with_prefix(b"qchat chat id\0")
            .chain_update(user.bytes())
            .chain_update(form.bytes())
            .chain_update([u8::from(visibility == Visibility::Private)])
            .chain_update(title.map_or("", Title::as_str))
            .finalize();
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&hash[..ID_BYTES]);
        ChatId::from_bytes(id)
    }

    /// Returns the direct chat of two users. `None` if they have none.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn direct_chat_with(&self, one: UserId, other: UserId) -> Result<Option<Chat>, Problem> {
        self.read()?.direct_chat_with(one, other).map_err(|error| not_readable(&error))
    }

    /// Returns the invites that wait for an answer of a user.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn invites_of(&self, user: UserId) -> Result<Vec<Invite>, Problem> {
        self.read()?.invites_of(user).map_err(|error| not_readable(&error))
    }

    /// Returns the users that a user has hidden.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn hidden(&self, user: UserId) -> Result<Vec<UserId>, Problem> {
        self.read()?.hidden(user).map_err(|error| not_readable(&error))
    }

    /// Returns a user, with the default nickname if none is stored.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn user(&self, id: UserId) -> Result<User, Problem> {
        self.read()?.user(id).map_err(|error| not_readable(&error))
    }

    /// Returns a chat as it is in a snapshot, if it admits a user.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`] if it does not admit the
    /// user, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn enter(&self, view: &Snapshot, id: ChatId, user: UserId) -> Result<Chat, Problem> {
        let chat = view.chat(id).map_err(|error| not_readable(&error))?.ok_or(Problem::UnknownChat)?;
        chat.check_access(user).map(|()| chat)
    }

    /// Returns the part that all pages share, and notes in presence that a page was loaded: of the given chat, or of
    /// none.
    fn visit(&self, view: &Snapshot, reader: UserId, chat: Option<ChatId>) -> Result<Visit, StoreError> {
        let known = view.known_user(reader)?;
        // If nothing is stored of the user, nothing has to be kept from expiring.
        self.presence.looked(known.is_some().then_some(reader), chat);
        let hidden = if known.is_some() { view.hidden(reader)? } else { Vec::new() };
        let mut counts = self.lobby.counts();
        // The reader will be online in a moment, and is counted from the start.
        counts.people = self.presence.people() + usize::from(!self.presence.is_here(reader));
        let takes_invites = known.is_none() || view.takes_invites(reader)?;
        Ok(Visit {
            me: known.unwrap_or_else(|| User::new(reader)),
            now: self.now(),
            counts,
            invites: view.invites_seen(reader, &hidden)?,
            hidden,
            takes_invites,
            lifetimes: self.lifetimes(),
        })
    }

    /// Returns the home page for a reader.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read, or those of [`Lobby::enter`].
    pub async fn home_page(&self, reader: UserId, wanted: LobbyQuery) -> Result<HomePage, Problem> {
        let (_, lobby) = self.lobby.enter(wanted.clone()).await?;
        let visit = self.visit(&self.read()?, reader, None).map_err(|error| not_readable(&error))?;
        Ok(HomePage { visit, wanted, lobby })
    }

    /// Returns a chat for a reader, without its history.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`] if it does not admit the
    /// user, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn chat_view(&self, id: ChatId, reader: UserId) -> Result<ChatView, Problem> {
        let view = self.read()?;
        let chat = self.enter(&view, id, reader)?;
        let visit = self.visit(&view, reader, Some(id)).map_err(|error| not_readable(&error))?;
        let mut roster: Roster = self.presence.roster(id);
        roster.count += usize::from(!self.presence.is_in(id, reader));
        Ok(ChatView { view, visit, chat, roster })
    }

    /// Completes a chat to a page: adds the newest page of its history, or the one before an event, and the details of
    /// a subject if there are any.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn chat_page(
        &self,
        chat_view: ChatView,
        before: Option<Seq>,
        subject: Option<Focus>,
    ) -> Result<ChatPage, Problem> {
        let ChatView { view, visit, chat, roster } = chat_view;
        let read = || {
            let mut history = page(&view, &chat, before, self.epoch())?;
            if history.events.is_empty() && before.is_some() {
                // There are no events before that one, so the newest are shown instead.
                history = page(&view, &chat, None, self.epoch())?;
            }
            let about = subject.map(|subject| self.about(&view, &chat, subject)).transpose()?.flatten();
            Ok((history, about))
        };
        let (history, about) = read().map_err(|error: StoreError| not_readable(&error))?;
        let later = history.seq < chat.seq;
        Ok(ChatPage { visit, chat, roster, history, later, about })
    }

    /// Returns whether a user is or was part of a chat, so that its members may learn their nickname. The nicknames of
    /// all other users are not disclosed.
    fn has_met(&self, view: &Snapshot, chat: &Chat, id: UserId) -> Result<bool, StoreError> {
        Ok(chat.owner == id
            || chat.guest.is_some_and(|guest| guest.id == id)
            || chat.removed.contains(&id)
            || self.presence.is_in(chat.id, id)
            || view.has_said_before(chat.id, id, Seq(u64::MAX))?)
    }

    /// Returns the details of a subject. `None` if the user was never part of the chat, or the message does not exist.
    fn about(&self, view: &Snapshot, chat: &Chat, subject: Focus) -> Result<Option<About>, StoreError> {
        Ok(match subject {
            Focus::Person(id) => {
                let person = self.has_met(view, chat, id)?.then(|| view.user(id)).transpose()?;
                person.map(|person| About { person, message: None })
            }
            Focus::Message(message) => match view.event(chat.id, message)?.map(|event| event.kind) {
                Some(EventKind::Posted(Message { author: id, nickname, .. })) => {
                    Some(About { person: User { id, nickname }, message: Some(message) })
                }
                Some(EventKind::Tombstone(Tombstone { author: id, nickname, .. })) => {
                    Some(About { person: User { id, nickname }, message: None })
                }
                _ => None,
            },
        })
    }

    /// Returns the newest page of a chat's history.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn history(&self, view: &Snapshot, chat: &Chat) -> Result<History, Problem> {
        page(view, chat, None, self.epoch()).map_err(|error| not_readable(&error))
    }

    /// Returns the page of a chat's history before an event, if the chat admits the reader.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`] if it does not admit the
    /// user, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn earlier(&self, chat: ChatId, reader: UserId, before: Seq) -> Result<History, Problem> {
        let view = self.read()?;
        let chat = self.enter(&view, chat, reader)?;
        page(&view, &chat, Some(before), self.epoch()).map_err(|error| not_readable(&error))
    }

    /// Returns the page of a chat's history after an event, if the chat admits the reader.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`] if it does not admit the
    /// user, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn later(&self, chat: ChatId, reader: UserId, after: Seq) -> Result<Vec<Event>, Problem> {
        let view = self.read()?;
        self.enter(&view, chat, reader)?;
        view.events_after(chat, after, PAGE_EVENTS).map_err(|error| not_readable(&error))
    }

    /// Checks whether a user may post in a chat at present.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`] and
    /// [`Chat::check_can_post`] if the user may not, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn may_write(&self, chat: ChatId, user: UserId) -> Result<(), Problem> {
        self.enter(&self.read()?, chat, user)?.check_can_post(user)
    }

    /// Returns why a user's guard in a chat has become invalid: they were removed, or the chat has ended.
    pub fn why_not(&self, chat: ChatId, user: UserId) -> Problem {
        match self.read().and_then(|view| self.enter(&view, chat, user)) {
            Err(problem) => problem,
            // They were removed, and have been admitted again since.
            Ok(_) => Problem::Removed,
        }
    }

    /// Ends a chat, even if it has members, in several entries of the log, so that others do not wait for long.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist; [`Problem::NotReadable`], [`Problem::NotStored`] or
    /// [`Problem::Busy`] if the database cannot be read or written.
    pub async fn end(&self, id: ChatId) -> Result<(), Problem> {
        loop {
            let view = self.read()?;
            let Some(chat) = view.chat(id).map_err(|error| not_readable(&error))? else {
                return Err(Problem::UnknownChat);
            };
            let events =
                view.events_after(id, Seq::ZERO, ENDED_AT_ONCE).map_err(|error| not_readable(&error))?;
            let is_all =
                events.len() < ENDED_AT_ONCE && events.last().is_none_or(|last| last.seq == chat.seq);
            let through = if is_all { chat.seq } else { events.last().map_or(chat.seq, |last| last.seq) };
            drop(view);
            let outcome = self.sequencer.propose(Proposal::End { chat: id, through }).await?;
            outcome.await.unwrap_or(Err(Problem::NotStored))?;
            // Messages may have been posted meanwhile.
            if self.read()?.chat(id).map_err(|error| not_readable(&error))?.is_none() {
                return Ok(());
            }
        }
    }

    /// Keeps a user online until the returned guard is dropped. `wake_user` is notified whenever their invites may have
    /// changed.
    pub fn arrive(&self, user: UserId, wake_user: &Arc<Notify>) -> OnlineGuard {
        self.presence.arrive(user, Arc::clone(wake_user))
    }

    /// Counts a filtered list that a page watches until the returned guard is dropped.
    ///
    /// # Errors
    /// [`Problem::TooManyFilters`] if the session or its network watches too many.
    pub fn filter(&self, by: Caller) -> Result<Filtering, Problem> {
        self.limits.filter(by)
    }

    /// Makes a user a member of a chat, and offers its events to `subscriber`, until the returned guards are dropped.
    /// `wake` is notified of changes in the room.
    ///
    /// # Errors
    /// [`Problem::ChatFull`] if the chat has no room, [`Problem::NotReadable`] if the database cannot be read.
    pub fn join(
        &self,
        chat: ChatId,
        id: UserId,
        subscriber: &Arc<Subscriber>,
        wake: &Arc<Notify>,
    ) -> Result<(MemberGuard, Subscription), Problem> {
        if !self.presence.is_in(chat, id) {
            self.limits.enter(self.presence.preview(chat).0)?;
        }
        let subscription = self.fanout.subscribe(chat, Arc::clone(subscriber));
        let look = || {
            let view = self.store.read(self.now())?;
            Ok((view.user(id)?, view.chat(chat)?))
        };
        let look = || look().map_err(|error: StoreError| not_readable(&error));
        let (user, known) = look()?;
        let member_guard = match &known {
            Some(known) => self.presence.join_in(known, user.clone(), Arc::clone(wake)),
            None => self.presence.join(chat, user.clone(), Arc::clone(wake)),
        };
        // What was committed after the first read and before the guard existed was not applied to the room.
        let (now, then) = (look()?, (user, known));
        if now.0 != then.0 {
            self.presence.rename(&now.0);
        }
        if let Some(known) = now.1.filter(|known| Some(known) != then.1.as_ref()) {
            self.presence.lock_names(chat, known.is_locked, known.seq);
        }
        Ok((member_guard, subscription))
    }

    /// Returns the number of bytes stored.
    pub fn stored_bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// Returns the sequence number of the newest entry that was applied.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn newest_seq(&self) -> Result<Seq, Problem> {
        let log = self.read()?.log().map_err(|error| not_readable(&error))?;
        Ok(log.map_or(Seq::ZERO, |log| log.seq))
    }
}

fn page(view: &Snapshot, chat: &Chat, before: Option<Seq>, epoch: Epoch) -> Result<History, StoreError> {
    let (events, earlier) = match before {
        Some(before) => view.events_before(chat.id, before, PAGE_EVENTS)?,
        None => view.newest_events(chat.id, PAGE_EVENTS)?,
    };
    let seq = match (before, events.last()) {
        (Some(_), Some(last)) => last.seq,
        // If there is nothing before, or everything has expired, the client continues with what comes next.
        _ => chat.seq,
    };
    Ok(History { epoch, seq, events, earlier })
}

/// Logs an error of the database, and returns the [`Problem`] that the user is told.
pub fn not_readable(error: &StoreError) -> Problem {
    tracing::error!(%error, "could not read the database");
    Problem::NotReadable
}
