//! Commands: proposes those of users to the log, and ends chats for the operator.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{
    ChatId, ClientId, Command, Draft, Problem, Proposal, Seq, Timestamp, Title, UserId, Visibility,
    id::ID_BYTES,
};
use prometheus_client::metrics::histogram::Histogram;
use sha2::{Digest, Sha256};
use tokio::{sync::oneshot, time::timeout};

use super::{Engine, not_readable};
use crate::{
    caller::Caller,
    command_log::Outcome,
    limits::{counter::Counted, network},
    lobby::{Lobby, Origin},
    metrics,
    storage::StoreError,
};

/// The number of events of a chat that one entry of the log removes when the chat is ended.
const ENDED_AT_ONCE: usize = 512;
/// The number of the newest events of a chat that are searched for the authors among its newcomers.
const NEWCOMERS_EVENTS: usize = 20_000;

/// How long [`Engine::execute`] waits for the outcome of a command. A log in a cluster stores nothing while its stream
/// has no quorum, and a form cannot wait for as long as a page that is open.
const EXECUTE_TIMEOUT: Duration = Duration::from_secs(10);

/// A command that was proposed and is not decided yet.
pub struct Proposed {
    outcome: oneshot::Receiver<Outcome>,
    asked: Instant,
    /// How long it takes until a command is stored.
    durable: Histogram,
}

/// A chat that is being started, which already counts towards its owner's limit.
struct Starting {
    _counted: Counted<UserId>,
    chat: ChatId,
    /// The network of the client. `None` if it is this machine, which may be a proxy that is not configured.
    from: Option<Origin>,
    lobby: Arc<Lobby>,
}

impl Proposed {
    /// Waits until the command is stored, or refused.
    ///
    /// # Errors
    /// The [`Problem`] it was refused with, or [`Problem::NotStored`] if the outcome is unknown.
    pub async fn outcome(self) -> Outcome {
        let outcome = self.outcome.await.unwrap_or(Err(Problem::NotStored));
        if outcome.is_ok() {
            metrics::observe(&self.durable, self.asked.elapsed());
        }
        outcome
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
    /// Proposes a command, or the one that is [prepared](Engine::prepare) of a draft. Commands that one task proposes one
    /// after the other keep their order.
    ///
    /// # Errors
    /// Those of [`Engine::prepare`]; [`Problem::TooFast`], [`Problem::TooManyOwn`], [`Problem::StorageFull`] or [`Problem::Busy`] if a limit is
    /// reached; [`Problem::UserGone`] if an invited user is not online, or a user to be removed has never been in the
    /// chat; [`Problem::NotReadable`] or [`Problem::NotStored`] if the database or the log fails.
    pub async fn propose(&self, by: Caller, asked_for: impl Into<Draft>) -> Result<Proposed, Problem> {
        let asked = Instant::now();
        let draft = asked_for.into();
        // Before anything is done for it.
        self.limits.check_rate(by, &draft)?;
        let mut command = self.prepare(by.user, draft)?;
        if let Command::SetNickname { chats, .. } = &mut command {
            *chats = self.presence.chats_of(by.user);
        }
        self.limits.check_storage(by, &command, self.store.bytes())?;
        let Caller { user: by, address } = by;
        let mut starting = None;
        match &mut command {
            Command::StartChat { chat, .. } => {
                let view = self.read()?;
                let there = view.chat(*chat).map_err(|error| not_readable(&error))?;
                // The same form sent again starts no further chat.
                if there.is_none_or(|there| there.owner != by) {
                    let counted = self.limits.start(by, || self.lobby.owned_by(by))?;
                    let from = (!address.is_loopback()).then(|| self.origin_key.origin(network(address)));
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
        let outcome = match starting {
            Some(starting) => starting.follow(outcome),
            None => outcome,
        };
        Ok(Proposed { outcome, asked, durable: self.metrics.durable.clone() })
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

    /// Proposes a command, and waits until it is stored, at most 10 seconds. A caller that does not know the outcome may send
    /// it again: it takes effect once.
    ///
    /// # Errors
    /// Those of [`Engine::propose`] and [`Proposed::outcome`], and [`Problem::NotStored`] after that time. It may still
    /// be stored then.
    pub async fn execute(&self, by: Caller, asked_for: impl Into<Draft>) -> Outcome {
        let executing = async { self.propose(by, asked_for).await?.outcome().await };
        timeout(EXECUTE_TIMEOUT, executing).await.unwrap_or(Err(Problem::NotStored))
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
}
