//! What Qchat can be asked: the one entry for every transport. Sockets and forms both come here, with a user whose
//! session was checked and a command whose text was.

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

/// Where a chat is ended, so many of its events go with one entry of the log.
const ENDED_AT_ONCE: usize = 512;
/// Who said something first among the newest so many events of a chat is looked for among those who came lately.
const NEWCOMERS_EVENTS: usize = 20_000;

/// Commands in, views out.
pub struct Engine {
    store: Arc<Store>,
    sequencer: Arc<dyn Sequencer>,
    fanout: Arc<Fanout>,
    presence: Arc<Presence>,
    lobby: Arc<Lobby>,
    limits: Arc<Limits>,
    clock: Clock,
}

/// A command on its way: proposed, and not yet decided.
pub struct Proposed(oneshot::Receiver<Outcome>);

/// A chat that is about to be one of those that somebody owns.
struct Starting {
    _counted: Counted<UserId>,
    chat: ChatId,
    /// From where, unless it is this machine, which may be a proxy that was not named.
    from: Option<IpAddr>,
    lobby: Arc<Lobby>,
}

/// A chat as somebody finds it, but for what was said there.
pub struct ChatView {
    /// As of when.
    view: Snapshot,
    /// Who looks.
    pub visit: Visit,
    /// At what.
    pub chat: Chat,
    /// Who is there. The reader is counted, and not named unless others see them there already.
    pub roster: Roster,
}

/// What somebody wants to see more about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    /// Something that was said, by its place.
    Message(Seq),
    /// Somebody.
    Person(UserId),
}

impl Proposed {
    /// Waits until it is on disk, or refused.
    ///
    /// # Errors
    /// The [`Problem`] it was refused with, or [`Problem::NotStored`].
    pub async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Err(Problem::NotStored))
    }
}

impl Starting {
    /// Waits for what becomes of it, although the client that asked may not, and passes it on.
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
    /// Puts the parts together.
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

    /// Gives a command its place in line. Those of one task keep their order.
    ///
    /// # Errors
    /// [`Problem::TooFast`], [`Problem::TooManyOwn`], [`Problem::StorageFull`], [`Problem::Busy`] or
    /// [`Problem::NotStored`]; [`Problem::UserGone`] where somebody is invited who is not here, or removed who never was.
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
                // the same form once more starts nothing
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
                // all who are there are told whom it is about
                if let Some(chat) = own
                    && !self.has_met(&view, &chat, *person).map_err(|error| not_readable(&error))?
                {
                    return Err(Problem::UserGone);
                }
            }
            Command::ChatPrivately { with, is_there, is_near, .. } => {
                let chat = self.chat_of_two(by, *with)?;
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

    /// Who has come into a chat of somebody's within so many seconds: who is there and came then, or said something for the
    /// first time. Nobody where it is not theirs: that is told by the rules.
    async fn newcomers(&self, id: ChatId, owner: UserId, seconds: u64) -> Result<Vec<UserId>, Problem> {
        let view = self.read()?;
        let chat = view.chat(id).map_err(|error| not_readable(&error))?;
        if chat.is_none_or(|chat| chat.owner != owner) {
            return Ok(Vec::new());
        }
        let present = self.presence.newcomers(id, Duration::from_secs(seconds));
        let since = Timestamp(self.now().0.saturating_sub(seconds.saturating_mul(1_000)));
        // it reads more than a page does, and nobody else is to wait
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

    /// Has a command done, and waits until it is on disk.
    ///
    /// # Errors
    /// Those of [`Engine::propose`] and [`Proposed::outcome`].
    pub async fn execute(&self, by: Caller, command: Command) -> Outcome {
        self.propose(by, command).await?.outcome().await
    }

    /// Somebody loads a page that costs as much as so many.
    ///
    /// # Errors
    /// [`Problem::TooFast`] or [`Problem::Busy`].
    pub fn load(&self, user: Option<UserId>, address: IpAddr, cost: NonZeroU32) -> Result<(), Problem> {
        self.limits.page(user, address, cost)
    }

    /// Lets somebody open a socket, with a session or without one, for as long as its place is kept.
    ///
    /// # Errors
    /// [`Problem::TooFast`] or [`Problem::Busy`].
    pub fn check_connect(&self, user: Option<UserId>, address: IpAddr) -> Result<Place, Problem> {
        self.limits.connect(user, address)
    }

    /// Counts a socket of somebody.
    ///
    /// # Errors
    /// [`Problem::TooManyPages`].
    pub fn open(&self, user: UserId) -> Result<Counted<UserId>, Problem> {
        self.limits.open(user)
    }

    /// How often the clock was set since this server started.
    pub fn clock_sets(&self) -> u64 {
        self.presence.clock_sets()
    }

    /// What time it is here.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The life of the log.
    pub fn epoch(&self) -> Epoch {
        self.store.epoch()
    }

    /// What is committed so far.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn read(&self) -> Result<Snapshot, Problem> {
        self.store.read(self.now()).map_err(|error| not_readable(&error))
    }

    /// How long things are kept.
    pub fn lifetimes(&self) -> Lifetimes {
        self.store.lifetimes()
    }

    /// The id of the chat that a form starts, which has an id itself: the same each time for the same form of the same person
    /// with the same in it, so that a form that is sent twice starts one chat.
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

    /// The chat of these two, where there is one.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn chat_of_two(&self, one: UserId, other: UserId) -> Result<Option<Chat>, Problem> {
        self.read()?.chat_of_two(one, other).map_err(|error| not_readable(&error))
    }

    /// Who waits for an answer of a user.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn invites_of(&self, user: UserId) -> Result<Vec<Invite>, Problem> {
        self.read()?.invites_of(user).map_err(|error| not_readable(&error))
    }

    /// Whom a user has hidden.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn hidden(&self, user: UserId) -> Result<Vec<UserId>, Problem> {
        self.read()?.hidden(user).map_err(|error| not_readable(&error))
    }

    /// Who somebody is.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn user(&self, id: UserId) -> Result<User, Problem> {
        self.read()?.user(id).map_err(|error| not_readable(&error))
    }

    /// A chat that admits somebody, as it is in a view.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`], those of [`Chat::check_access`], or [`Problem::NotReadable`].
    pub fn enter(&self, view: &Snapshot, id: ChatId, user: UserId) -> Result<Chat, Problem> {
        let chat = view.chat(id).map_err(|error| not_readable(&error))?.ok_or(Problem::UnknownChat)?;
        chat.check_access(user).map(|()| chat)
    }

    /// Somebody looks at a page: at a chat, or at none.
    fn visit(&self, view: &Snapshot, reader: UserId, chat: Option<ChatId>) -> Result<Visit, StoreError> {
        let known = view.known_user(reader)?;
        // nothing has to be kept of somebody of whom nothing is known
        self.presence.looked(known.is_some().then_some(reader), chat);
        let hidden = if known.is_some() { view.hidden(reader)? } else { Vec::new() };
        let mut counts = self.lobby.counts();
        // whoever looks will be here in a moment, and sees themselves counted from the start
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

    /// The home page as somebody finds it.
    ///
    /// # Errors
    /// [`Problem::NotReadable`], or those of [`Lobby::enter`].
    pub async fn home_page(&self, reader: UserId, wanted: LobbyQuery) -> Result<HomePage, Problem> {
        let (_, lobby) = self.lobby.enter(wanted.clone()).await?;
        let visit = self.visit(&self.read()?, reader, None).map_err(|error| not_readable(&error))?;
        Ok(HomePage { visit, wanted, lobby })
    }

    /// A chat as somebody finds it, before anything is read of what was said there.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`], those of [`Chat::check_access`], or [`Problem::NotReadable`].
    pub fn glance(&self, id: ChatId, reader: UserId) -> Result<ChatView, Problem> {
        let view = self.read()?;
        let chat = self.enter(&view, id, reader)?;
        let visit = self.visit(&view, reader, Some(id)).map_err(|error| not_readable(&error))?;
        let mut roster: Roster = self.presence.roster(id);
        roster.count += usize::from(!self.presence.is_in(id, reader));
        Ok(ChatView { view, visit, chat, roster })
    }

    /// A chat as somebody finds it: its newest page, or the one before an event, and more about a subject where that is
    /// there.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn chat_page(
        &self,
        glance: ChatView,
        before: Option<Seq>,
        subject: Option<Focus>,
    ) -> Result<ChatPage, Problem> {
        let ChatView { view, visit, chat, roster } = glance;
        let read = || {
            let mut history = page(&view, &chat, before, self.epoch())?;
            if history.events.is_empty() && before.is_some() {
                // there is nothing before that: a part that is none shows the newest
                history = page(&view, &chat, None, self.epoch())?;
            }
            let about = subject.map(|subject| self.about(&view, &chat, subject)).transpose()?.flatten();
            Ok((history, about))
        };
        let (history, about) = read().map_err(|error: StoreError| not_readable(&error))?;
        let later = history.seq < chat.seq;
        Ok(ChatPage { visit, chat, roster, history, later, about })
    }

    /// What there is to know about a subject. Of whoever is not there and never was, nobody learns anything.
    /// Whether those in a chat have met somebody there. What others are called is nobody else's to learn.
    fn has_met(&self, view: &Snapshot, chat: &Chat, id: UserId) -> Result<bool, StoreError> {
        Ok(chat.owner == id
            || chat.guest.is_some_and(|guest| guest.id == id)
            || chat.removed.contains(&id)
            || self.presence.is_in(chat.id, id)
            || view.has_said_before(chat.id, id, Seq(u64::MAX))?)
    }

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

    /// The newest page of a chat's history.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
    pub fn history(&self, view: &Snapshot, chat: &Chat) -> Result<History, Problem> {
        page(view, chat, None, self.epoch()).map_err(|error| not_readable(&error))
    }

    /// The page of a chat's history before an event, for somebody whom it admits.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`], those of [`Chat::check_access`], or [`Problem::NotReadable`].
    pub fn earlier(&self, chat: ChatId, reader: UserId, before: Seq) -> Result<History, Problem> {
        let view = self.read()?;
        let chat = self.enter(&view, chat, reader)?;
        page(&view, &chat, Some(before), self.epoch()).map_err(|error| not_readable(&error))
    }

    /// The page of a chat's history after an event, for somebody whom it admits.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`], those of [`Chat::check_access`], or [`Problem::NotReadable`].
    pub fn later(&self, chat: ChatId, reader: UserId, after: Seq) -> Result<Vec<Event>, Problem> {
        let view = self.read()?;
        self.enter(&view, chat, reader)?;
        view.events_after(chat, after, PAGE_EVENTS).map_err(|error| not_readable(&error))
    }

    /// Whether somebody may say something in a chat just now.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`], those of [`Chat::check_access`] and [`Chat::check_can_post`], or [`Problem::NotReadable`].
    pub fn may_write(&self, chat: ChatId, user: UserId) -> Result<(), Problem> {
        self.enter(&self.read()?, chat, user)?.check_can_post(user)
    }

    /// Why somebody has lost their seat in a chat: they were removed, or it has ended.
    pub fn why_not(&self, chat: ChatId, user: UserId) -> Problem {
        match self.read().and_then(|view| self.enter(&view, chat, user)) {
            Err(problem) => problem,
            // let in again meanwhile
            Ok(_) => Problem::Removed,
        }
    }

    /// Ends a chat, whoever is in it, in portions for which nobody waits long.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`], or why nothing can be stored or read.
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
            // something may have been said meanwhile
            if self.read()?.chat(id).map_err(|error| not_readable(&error))?.is_none() {
                return Ok(());
            }
        }
    }

    /// Notes that somebody has a page open for as long as the stay is kept. `wake_user` rings whenever their invites may
    /// be others.
    pub fn arrive(&self, user: UserId, wake_user: &Arc<Notify>) -> OnlineGuard {
        self.presence.arrive(user, Arc::clone(wake_user))
    }

    /// Counts a filtered list that somebody follows, for as long as it is kept.
    ///
    /// # Errors
    /// [`Problem::TooManyFilters`].
    pub fn filter(&self, by: Caller) -> Result<Filtering, Problem> {
        self.limits.filter(by)
    }

    /// Makes somebody a member of a chat for as long as the seat is kept, and offers them what is said in it.
    ///
    /// # Errors
    /// [`Problem::ChatFull`] or [`Problem::NotReadable`].
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
        let following = self.fanout.follow(chat, Arc::clone(subscriber));
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
        // what was committed between the look and the seat did not find the seat
        let (now, then) = (look()?, (user, known));
        if now.0 != then.0 {
            self.presence.rename(&now.0);
        }
        if let Some(known) = now.1.filter(|known| Some(known) != then.1.as_ref()) {
            self.presence.lock_names(chat, known.is_locked, known.seq);
        }
        Ok((member_guard, following))
    }

    /// How many bytes are kept.
    pub fn stored_bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// The place of the newest entry that was applied.
    ///
    /// # Errors
    /// [`Problem::NotReadable`].
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
        // nothing before, or everything has expired: one goes on with what comes next
        _ => chat.seq,
    };
    Ok(History { epoch, seq, events, earlier })
}

/// People are told that something cannot be read; the log is told what.
pub fn not_readable(error: &StoreError) -> Problem {
    tracing::error!(%error, "the database could not be read");
    Problem::NotReadable
}
