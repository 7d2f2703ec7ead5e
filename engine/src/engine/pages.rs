//! The data that pages show: the home page, a chat for a reader, and the pages of its history.

use domain::{
    Chat, ChatId, Epoch, Event, MessageRef, MessageTally, Problem, Roster, Seq, User, UserId,
    lobby::LobbyQuery,
    page::{About, ChatPage, History, HomePage, PAGE_EVENTS, Visit},
    place::Place,
};

use super::{Engine, not_readable, places};
use crate::storage::{Snapshot, StoreError};

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
    /// The position of the newest change of reactions in the chat.
    pub reacted: Seq,
    /// Whether the reader has reacted to any message of the chat.
    pub has_reacted: bool,
}

/// What a reader wants to see details of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    /// A message, by its sequence number.
    Message(Seq),
    /// A user.
    Person(UserId),
    /// A message that is to be answered, by its sequence number.
    Reply(Seq),
}

/// The part of a chat's history that a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryPart {
    /// The newest events.
    Newest,
    /// The events before this one or, if there are none, the newest.
    Before(Seq),
    /// The events around a place.
    Around(Place),
}

impl Engine {
    /// Returns the home page for a reader.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read, or those of
    /// [`Lobby::enter`](crate::lobby::Lobby::enter).
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
        let reactions = || {
            let reacted = view.reacted(id)?;
            Ok((reacted, reacted > Seq::ZERO && view.has_reacted_in(id, reader)?))
        };
        let (reacted, has_reacted) = reactions().map_err(|error: StoreError| not_readable(&error))?;
        Ok(ChatView { view, visit, chat, roster, reacted, has_reacted })
    }

    /// Completes a chat to a page: adds a part of its history, and the details of a subject or what is to be answered, if
    /// there is any.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn chat_page(
        &self,
        chat_view: ChatView,
        part: HistoryPart,
        subject: Option<Focus>,
    ) -> Result<ChatPage, Problem> {
        let ChatView { view, visit, chat, roster, .. } = chat_view;
        let reader = visit.me.id;
        let read = || {
            let shown = match part {
                HistoryPart::Newest => newest(&view, &chat, self.epoch(), reader)?,
                HistoryPart::Before(before) => {
                    let history = page(&view, &chat, Some(before), self.epoch(), reader)?;
                    match history.events.is_empty() {
                        // There are no events before that one, so the newest are shown instead.
                        true => newest(&view, &chat, self.epoch(), reader)?,
                        false => {
                            PartShown { later: history.seq < chat.seq, history, place: None, notice: None }
                        }
                    }
                }
                HistoryPart::Around(place) => {
                    let around = places::around(&view, &chat, place, reader)?;
                    let (place, notice) = (around.shown, places::notice(place, &around.events));
                    let (history, later) = places::history_around(&view, &chat, self.epoch(), around)?;
                    PartShown { history, later, place, notice }
                }
            };
            let about = subject.map(|subject| self.about(&view, &chat, subject)).transpose()?.flatten();
            let answering = match subject {
                Some(Focus::Reply(message)) => places::answering(&view, &chat, message)?,
                _ => None,
            };
            Ok((shown, about, answering))
        };
        let (shown, about, answering) = read().map_err(|error: StoreError| not_readable(&error))?;
        let PartShown { history, later, place, notice } = shown;
        let is_answer_lost = matches!(subject, Some(Focus::Reply(_))) && answering.is_none();
        let notice = notice.or(is_answer_lost.then_some(Problem::MessageGone));
        let takes_pictures = self.takes_pictures();
        Ok(ChatPage { visit, chat, roster, history, later, takes_pictures, about, place, answering, notice })
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

    /// Returns the details of a subject. `None` if the user was never part of the chat, or the message does not exist.
    fn about(&self, view: &Snapshot, chat: &Chat, subject: Focus) -> Result<Option<About>, StoreError> {
        Ok(match subject {
            Focus::Person(id) => {
                let person = self.has_met(view, chat, id)?.then(|| view.user(id)).transpose()?;
                person.map(|person| About { person, message: None })
            }
            Focus::Message(message) => view.event(chat.id, message)?.and_then(|event| {
                let MessageRef { author: id, nickname, content, .. } = event.kind.message_or_tombstone()?;
                let person = User { id, nickname: nickname.clone() };
                Some(About { person, message: (!content.is_removed()).then_some(message) })
            }),
            Focus::Reply(_) => None,
        })
    }

    /// Returns the newest page of a chat's history, for a reader.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    pub fn history(&self, view: &Snapshot, chat: &Chat, reader: UserId) -> Result<History, Problem> {
        page(view, chat, None, self.epoch(), reader).map_err(|error| not_readable(&error))
    }

    /// Returns the page of a chat's history before an event, if the chat admits the reader.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`] if it does not admit the
    /// user, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn earlier(&self, chat: ChatId, reader: UserId, before: Seq) -> Result<History, Problem> {
        let view = self.read()?;
        let chat = self.enter(&view, chat, reader)?;
        page(&view, &chat, Some(before), self.epoch(), reader).map_err(|error| not_readable(&error))
    }

    /// Returns the page of a chat's history after an event, with the reactions to its messages, if the chat admits the
    /// reader.
    ///
    /// # Errors
    /// [`Problem::UnknownChat`] if the chat does not exist, those of [`Chat::check_access`] if it does not admit the
    /// user, or [`Problem::NotReadable`] if the database cannot be read.
    pub fn later(
        &self,
        chat: ChatId,
        reader: UserId,
        after: Seq,
    ) -> Result<(Vec<Event>, Vec<MessageTally>), Problem> {
        let view = self.read()?;
        self.enter(&view, chat, reader)?;
        let read = || {
            let events = view.events_after(chat, after, PAGE_EVENTS)?;
            let reactions = reactions_to(&view, chat, &events, reader)?;
            Ok((events, reactions))
        };
        read().map_err(|error: StoreError| not_readable(&error))
    }
}

/// A part of a chat's history, as a page shows it.
struct PartShown {
    history: History,
    /// Whether there are events after it.
    later: bool,
    /// The event that it leads to. `None` if it leads to none.
    place: Option<Seq>,
    /// Why it does not show what was asked for. `None` if it does.
    notice: Option<Problem>,
}

fn newest(view: &Snapshot, chat: &Chat, epoch: Epoch, reader: UserId) -> Result<PartShown, StoreError> {
    let history = page(view, chat, None, epoch, reader)?;
    Ok(PartShown { history, later: false, place: None, notice: None })
}

/// Returns the reactions to the messages of a page, for a reader.
pub(super) fn reactions_to(
    view: &Snapshot,
    chat: ChatId,
    page: &[Event],
    reader: UserId,
) -> Result<Vec<MessageTally>, StoreError> {
    match (page.first(), page.last()) {
        (Some(first), Some(last)) => view.tallies_of(chat, first.seq..=last.seq, reader),
        _ => Ok(Vec::new()),
    }
}

fn page(
    view: &Snapshot,
    chat: &Chat,
    before: Option<Seq>,
    epoch: Epoch,
    reader: UserId,
) -> Result<History, StoreError> {
    let (events, earlier) = match before {
        Some(before) => view.events_before(chat.id, before, PAGE_EVENTS)?,
        None => view.newest_events(chat.id, PAGE_EVENTS)?,
    };
    let seq = match (before, events.last()) {
        (Some(_), Some(last)) => last.seq,
        // If there is nothing before, or everything has expired, the client continues with what comes next.
        _ => chat.seq,
    };
    let (reactions, reacted) = (reactions_to(view, chat.id, &events, reader)?, view.reacted(chat.id)?);
    Ok(History { epoch, seq, events, earlier, reactions, reacted })
}
