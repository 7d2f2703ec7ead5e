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
        let mut view = reports.iter().any(has_joined).then(|| self.view());
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

    /// Replaces all that is known of a node. Whoever was there before and still is does not leave, and does not come anew.
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
        for (chat, user) in joined {
            self.presence.rename(&view.user(user));
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
