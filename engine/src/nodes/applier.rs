//! Applies what other nodes report to presence and the lobby of this one, with the names, owners and locks that its own
//! view of the log has.

use std::{collections::HashMap, sync::Arc};

use domain::{Chat, ChatId, Seq, Timestamp, User, UserId};

use crate::{
    lobby::{Lobby, Origin},
    presence::{NodeId, Presence, Report},
    storage::{Snapshot, Store, StoreError},
};

/// Applies what other nodes report. Only one may do so for a [`Presence`].
pub(super) struct Applier {
    presence: Arc<Presence>,
    store: Arc<Store>,
    lobby: Arc<Lobby>,
}

/// What is read of the log to apply reports. Users and chats that cannot be read have no name, owner and lock.
struct View {
    snapshot: Option<Snapshot>,
    chats: HashMap<ChatId, Option<Chat>>,
}

impl Applier {
    pub(super) const fn new(presence: Arc<Presence>, store: Arc<Store>, lobby: Arc<Lobby>) -> Self {
        Self { presence, store, lobby }
    }

    /// Applies changes of a node, in their order.
    pub(super) fn apply(&self, node: NodeId, reports: &[Report]) {
        let has_joined = |report: &Report| matches!(report, Report::Joined { .. });
        let view = reports.iter().any(has_joined).then(|| self.view());
        self.apply_with(view, node, reports);
    }

    /// Applies changes with what was read for those who have joined, if any have.
    fn apply_with(&self, mut view: Option<View>, node: NodeId, reports: &[Report]) {
        let mut joined = Vec::new();
        for report in reports {
            if let Report::ChatFrom { chat, origin } = *report {
                self.lobby.came_from_elsewhere(chat, Origin(origin));
            }
            let name = |user| view.as_ref().map_or_else(|| User::new(user), |view| view.user(user));
            let Some(event) = report.event(node, name) else { continue };
            if let (Report::Joined { chat, user, .. }, Some(view)) = (*report, &mut view) {
                self.presence.apply(event, view.chat(chat));
                joined.push((chat, user));
            } else {
                self.presence.apply(event, None);
            }
        }
        if let Some(before) = view {
            self.look_again(&before, joined);
        }
    }

    /// Replaces all that is known of a node. Users who were there before and still are do not leave, and do not come anew.
    pub(super) fn replace(&self, node: NodeId, whole: &[Report]) {
        self.apply(node, &self.presence.changes_to(node, whole));
        for report in whole {
            if let Report::ChatFrom { chat, origin } = *report {
                self.lobby.came_from_elsewhere(chat, Origin(origin));
            }
        }
    }

    /// Forgets a node that is gone.
    pub(super) fn forget(&self, node: NodeId) {
        self.presence.forget_node(node);
    }

    /// Applies what was committed after the log was read, and before the users were in their rooms: presence was told of it
    /// when they were not.
    fn look_again(&self, before: &View, joined: Vec<(ChatId, UserId)>) {
        let mut view = self.view();
        if view.seq() == before.seq() {
            return;
        }
        for (_, user) in &joined {
            self.presence.rename(&view.user(*user));
        }
        for (chat, _) in joined {
            if let Some(chat) = view.chat(chat) {
                self.presence.started(chat.id, chat.owner);
                self.presence.lock_names(chat.id, chat.is_locked, chat.seq);
            }
        }
    }

    fn view(&self) -> View {
        // Nothing has expired at time zero: who is there keeps their name until it is removed.
        let snapshot = readable(self.store.read(Timestamp::default()));
        View { snapshot, chats: HashMap::new() }
    }
}

impl View {
    fn user(&self, id: UserId) -> User {
        let read = self.snapshot.as_ref().and_then(|snapshot| readable(snapshot.user(id)));
        read.unwrap_or_else(|| User::new(id))
    }

    /// Returns a chat. `None` if it is not known here, or not yet.
    fn chat(&mut self, id: ChatId) -> Option<&Chat> {
        let read = self.chats.entry(id).or_insert_with(|| {
            let read = self.snapshot.as_ref().and_then(|snapshot| readable(snapshot.chat(id)));
            read.flatten()
        });
        read.as_ref()
    }

    fn seq(&self) -> Option<Seq> {
        let log = self.snapshot.as_ref().and_then(|snapshot| readable(snapshot.log()));
        log.flatten().map(|log| log.seq)
    }
}

/// Returns what was read. If it cannot be read, users are still there, by another name.
fn readable<T>(read: Result<T, StoreError>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!(%error, "could not read who is on another node")).ok()
}

#[cfg(test)]
mod tests {
    use domain::{Change, Event, EventKind, Lifetimes, Nickname, Title, Visibility, id::ID_BYTES};

    use super::*;
    use crate::{
        change_dispatcher::ChangeDispatcher, clock, fanout::Fanout, presence::GRACE, progress::Progress,
    };

    const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
    const OWNER: UserId = UserId::from_bytes([1; ID_BYTES]);

    fn named(name: &str) -> User {
        User { id: UserId::from_bytes([2; ID_BYTES]), nickname: Nickname::parse(name).unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_committed_between_reading_and_applying_is_not_missed() {
        let lifetimes = Lifetimes::default();
        let store = Arc::new(Store::in_memory(lifetimes).unwrap());
        let presence = Arc::new(Presence::new(NodeId::ALONE, GRACE, clock::system()));
        let lobby = Lobby::new(Vec::new(), Arc::clone(&presence), lifetimes, clock::system(), usize::MAX);
        let lobby = Arc::new(lobby);
        let dispatcher = ChangeDispatcher {
            store: Arc::clone(&store),
            fanout: Arc::new(Fanout::new(1)),
            presence: Arc::clone(&presence),
            lobby: Arc::clone(&lobby),
            pictures: Arc::new(crate::pictures::Pictures::off()),
            progress: Arc::new(Progress::new(Seq::ZERO)),
            steady: None,
        };
        let commit = |seq: u64, change: Change| {
            store.write(Seq(seq), Timestamp(seq), |batch| batch.apply(&change)).unwrap();
            dispatcher.dispatch(&change);
        };
        let happened = |seq, kind| {
            commit(
                seq,
                Change::Chat(Event { chat: CHAT, seq: Seq(seq), prev: Seq::ZERO, at: Timestamp(seq), kind }),
            );
        };
        let applier = Applier::new(Arc::clone(&presence), Arc::clone(&store), lobby);
        commit(1, Change::User { user: named("Bea"), at: Timestamp(1) });
        let view = applier.view();
        let (nickname, title) = (Nickname::friendly(1), Title::parse("Tea").unwrap());
        let (visibility, guest) = (Visibility::Public, None);
        happened(
            2,
            EventKind::Started { owner: OWNER, nickname: nickname.clone(), title, visibility, guest },
        );
        commit(3, Change::User { user: named("Beatrix"), at: Timestamp(3) });
        happened(4, EventKind::LockSet { nickname, is_locked: true });
        let joined = |number, user| Report::Joined { holder: number, chat: CHAT, user, seconds: 0 };
        applier.apply_with(Some(view), NodeId(1), &[joined(1, named("x").id), joined(2, OWNER)]);
        // The names are locked from now on, except that of the owner.
        presence.rename(&named("Message"));
        presence.rename(&User { id: OWNER, nickname: Nickname::parse("Ana").unwrap() });
        let names = presence.roster(CHAT).members.into_iter().map(|member| member.nickname.to_string());
        assert_eq!(names.collect::<Vec<_>>(), ["Ana", "Beatrix"]);
    }
}
