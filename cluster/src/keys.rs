//! The keys that sign session cookies, shared between nodes through a key-value store of JetStream.
//!
//! A program that can read the bucket can make a cookie for any session.

use std::{fmt, time::Duration};

use async_nats::jetstream::{
    self, ErrorCode,
    kv::{self, CreateErrorKind, Operation, Store, UpdateErrorKind},
    stream::{Info, StorageType},
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    bucket,
    connection::Connection,
    settings::{NatsSettings, Replicas},
    trouble::{self, Trouble},
};

/// The size of a key, in bytes.
pub const KEY_BYTES: usize = 64;
/// The key under which the key that signs is kept.
const CURRENT: &str = "current";
/// The key under which the one before it is kept.
const OLD: &str = "old";
/// The time after which the keys are read again, though nothing was heard of a change.
const REREAD: Duration = Duration::from_secs(30);
/// The wait before the keys are read again after an error.
const RETRY: Duration = Duration::from_secs(1);
/// How often keys are asked for that another node has just written: a replica may be behind.
const ATTEMPTS: usize = 10;
/// The wait between these.
const BETWEEN: Duration = Duration::from_millis(100);

/// A key that signs session cookies. It is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionKey(pub [u8; KEY_BYTES]);

impl SessionKey {
    fn bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }

    fn of(bytes: &[u8]) -> Result<Self, Trouble> {
        let wrong = || Trouble::Refused(format!("a session key in it is not of {KEY_BYTES} bytes"));
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// The keys in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKeys {
    /// The key that signs.
    pub current: SessionKey,
    /// The key before it, whose cookies are still taken.
    pub old: Option<SessionKey>,
}

/// The keys that a node has in its folder when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnKeys {
    /// The key that signed when it stopped. `None` if it has none: it is new, or its operator has put the key aside.
    pub current: Option<SessionKey>,
    /// The key before it, or that was put aside.
    pub old: Option<SessionKey>,
    /// A key that was drawn just now, for when another is needed.
    pub drawn: SessionKey,
}

/// What a node does about the keys in force when it starts.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// It takes them.
    Take,
    /// Its operator has put the key aside, so that another takes its place.
    Rotate,
    /// Its operator has removed the key before it, so that its cookies are refused.
    ForgetOld,
}

impl OwnKeys {
    fn wish(&self, shared: SessionKeys) -> Wish {
        match (self.current, self.old) {
            (None, Some(aside)) if aside == shared.current => Wish::Rotate,
            // A node writes the old one first, so that it has both whenever it has this one.
            (Some(current), None) if current == shared.current && shared.old.is_some() => Wish::ForgetOld,
            _ => Wish::Take,
        }
    }

    /// Returns the keys for a cluster that has none.
    fn first(&self) -> SessionKeys {
        SessionKeys { current: self.current.unwrap_or(self.drawn), old: self.old }
    }
}

/// The session keys in the key-value store. Clones share the connection.
#[derive(Clone)]
pub struct SharedKeys {
    connection: Connection,
    bucket: String,
    replicas: Option<Replicas>,
}

impl SharedKeys {
    /// The keys of the cluster that the settings name.
    pub fn new(connection: Connection, settings: &NatsSettings) -> Self {
        Self { connection, bucket: settings.name.keys(), replicas: settings.replicas }
    }

    /// Returns the connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the keys in force. `None` if no node has written any.
    ///
    /// # Errors
    /// [`Trouble`] if the key-value store does not answer, or what is in it is no key.
    pub async fn read(&self) -> Result<Option<SessionKeys>, Trouble> {
        let Some(store) = self.get().await? else { return Ok(None) };
        Ok(self.read_from(&store).await?.map(|(keys, _)| keys))
    }

    /// Returns the keys in force, which are these if there are none yet. Of several nodes that do so at once one succeeds, and the
    /// others get what it wrote.
    ///
    /// # Errors
    /// As [`SharedKeys::read`].
    pub async fn agree(&self, mine: SessionKeys) -> Result<SessionKeys, Trouble> {
        let store = self.open_or_create().await?;
        if let Some((keys, _)) = self.read_from(&store).await? {
            return Ok(keys);
        }
        // The old one first: a node that sees the current one alone takes it that there is no other, and forgets it.
        if let Some(old) = mine.old
            && let Err(error) = store.create(OLD, old.bytes()).await
            && error.kind() != CreateErrorKind::AlreadyExists
        {
            return Err(self.connection.silence());
        }
        match store.create(CURRENT, mine.current.bytes()).await {
            Err(error) if error.kind() != CreateErrorKind::AlreadyExists => Err(self.connection.silence()),
            Ok(_) | Err(_) => self.read_soon(&store).await,
        }
    }

    /// Puts a new key in force in place of `from`, which becomes the old one. Returns the keys in force afterwards: if
    /// another key than `from` was in force, it stays.
    ///
    /// # Errors
    /// As [`SharedKeys::read`].
    pub async fn rotate(&self, from: SessionKey, to: SessionKey) -> Result<SessionKeys, Trouble> {
        let rotated = SessionKeys { current: to, old: Some(from) };
        let store = self.open_or_create().await?;
        let Some((keys, revision)) = self.read_from(&store).await? else { return self.agree(rotated).await };
        if keys.current != from {
            return Ok(keys);
        }
        // The old one first: then there is no moment at which its cookies are refused.
        store.put(OLD, from.bytes()).await.map_err(|_| self.connection.silence())?;
        match store.update(CURRENT, to.bytes(), revision).await {
            Ok(_) => Ok(rotated),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => self.read_soon(&store).await,
            Err(_) => Err(self.connection.silence()),
        }
    }

    /// Returns the keys in force for a node that starts with these. It has the effects that changes in the folder of a node
    /// have where it is alone: if the key was put aside, another is put in force for all nodes, and if the one before it was
    /// removed, its cookies are refused by all.
    ///
    /// # Errors
    /// As [`SharedKeys::read`].
    pub async fn settle(&self, own: OwnKeys) -> Result<SessionKeys, Trouble> {
        let shared = self.agree(own.first()).await?;
        match own.wish(shared) {
            Wish::Take => Ok(shared),
            Wish::Rotate => self.rotate(shared.current, own.drawn).await,
            Wish::ForgetOld => self.forget_old(shared).await,
        }
    }

    /// Deletes the old key, if the keys are still these. Returns the keys in force afterwards.
    async fn forget_old(&self, shared: SessionKeys) -> Result<SessionKeys, Trouble> {
        let store = self.open_or_create().await?;
        let Some(old) = store.entry(OLD).await.map_err(|_| self.connection.silence())? else {
            return Ok(shared);
        };
        if shared.old.is_some_and(|key| key.0[..] == old.value[..]) {
            // By its revision: another node may rotate at the same time. If it does, it is as if this had not been asked.
            let _ = store.purge_expect_revision(OLD, Some(old.revision)).await;
        }
        let keys = self.read_from(&store).await?;
        keys.map(|(keys, _)| keys).ok_or_else(|| self.connection.silence())
    }

    /// Keeps `keys` as they are in the key-value store, for ever. Changes arrive within milliseconds, and within half a minute
    /// if the news of one was lost.
    pub async fn follow(&self, keys: &watch::Sender<SessionKeys>) {
        loop {
            let wait = match self.follow_once(keys).await {
                Ok(()) => Duration::ZERO,
                Err(_) => RETRY,
            };
            sleep(wait).await;
        }
    }

    async fn follow_once(&self, keys: &watch::Sender<SessionKeys>) -> Result<(), Trouble> {
        self.connection.connected().await;
        let store = match self.get().await? {
            Some(store) => store,
            // It was deleted. The next node that is new would draw a key, and all sessions would end.
            None => {
                let known = *keys.borrow();
                self.agree(known).await?;
                self.open_or_create().await?
            }
        };
        let mut changes = store.watch_all().await.map_err(|_| self.connection.silence())?;
        // Read after the watch has begun, so that nothing is missed between the two.
        loop {
            if let Some((found, _)) = self.read_from(&store).await? {
                keys.send_if_modified(|keys| std::mem::replace(keys, found) != found);
            }
            match timeout(REREAD, changes.next()).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) => return Err(self.connection.silence()),
                Err(_) => return Ok(()),
            }
        }
    }

    /// Reads keys that are known to be there.
    async fn read_soon(&self, store: &Store) -> Result<SessionKeys, Trouble> {
        for _ in 0..ATTEMPTS {
            if let Some((keys, _)) = self.read_from(store).await? {
                return Ok(keys);
            }
            sleep(BETWEEN).await;
        }
        Err(self.connection.silence())
    }

    /// Returns the keys, and the revision of the one that signs.
    async fn read_from(&self, store: &Store) -> Result<Option<(SessionKeys, u64)>, Trouble> {
        let read = async |key| {
            let entry = store.entry(key).await.map_err(|_| self.connection.silence())?;
            Ok::<_, Trouble>(entry.filter(|entry| entry.operation == Operation::Put))
        };
        let Some(current) = read(CURRENT).await? else { return Ok(None) };
        let old = read(OLD).await?;
        let old = old.map(|old| SessionKey::of(&old.value)).transpose()?;
        Ok(Some((SessionKeys { current: SessionKey::of(&current.value)?, old }, current.revision)))
    }

    fn replicas(&self) -> Replicas {
        self.connection.replicas(self.replicas)
    }

    fn explain(&self, error: &jetstream::Error) -> Trouble {
        self.connection.explain(trouble::of_jetstream(error, self.replicas().get()))
    }

    /// Returns the key-value store, after comparing its configuration with what is needed. `None` if there is none.
    async fn get(&self) -> Result<Option<Store>, Trouble> {
        let subject = format!("STREAM.INFO.KV_{}", self.bucket);
        match self.connection.ask::<Info>(self.connection.api(), subject, &()).await? {
            Ok(info) => bucket::verify(&info.config, self.replicas())?,
            Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => return Ok(None),
            Err(error) => return Err(self.explain(&error)),
        }
        let store = self.connection.api().get_key_value(&self.bucket).await;
        store.map(Some).map_err(|_| self.connection.silence())
    }

    async fn open_or_create(&self) -> Result<Store, Trouble> {
        if let Some(store) = self.get().await? {
            return Ok(store);
        }
        let config = kv::Config {
            bucket: self.bucket.clone(),
            description: "The keys that sign session cookies of Qchat. Secret.".to_owned(),
            history: 1,
            max_bytes: -1,
            max_value_size: -1,
            storage: StorageType::File,
            num_replicas: self.replicas().get(),
            ..kv::Config::default()
        };
        let created = self.connection.api().create_key_value(config).await;
        // Another node may have been faster, and with other settings.
        match (self.get().await?, created) {
            (Some(store), _) => Ok(store),
            (None, Err(error)) => Err(Trouble::Refused(error.to_string())),
            (None, Ok(_)) => Err(self.connection.silence()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_to_the_files_of_a_node_is_done_for_all() {
        let [a, b, c] = [1, 2, 3].map(|byte| SessionKey([byte; KEY_BYTES]));
        let own = |current, old| OwnKeys { current, old, drawn: c };
        let alone = SessionKeys { current: a, old: None };
        let rotated = SessionKeys { current: b, old: Some(a) };
        for (own, shared, wish) in [
            (own(None, None), alone, Wish::Take),
            (own(Some(a), None), alone, Wish::Take),
            (own(None, Some(a)), alone, Wish::Rotate),
            (own(Some(b), Some(a)), rotated, Wish::Take),
            (own(None, Some(b)), rotated, Wish::Rotate),
            // It was put aside here, and another node was faster.
            (own(None, Some(a)), rotated, Wish::Take),
            (own(Some(b), None), rotated, Wish::ForgetOld),
            // It was away while the key was rotated.
            (own(Some(a), None), rotated, Wish::Take),
            (own(Some(c), None), rotated, Wish::Take),
        ] {
            assert_eq!(own.wish(shared), wish, "{:?}", own.current.is_some());
        }
        assert_eq!(own(None, Some(a)).first(), SessionKeys { current: c, old: Some(a) });
        assert_eq!(own(Some(b), None).first(), SessionKeys { current: b, old: None });
    }

    #[test]
    fn a_key_is_not_shown_and_has_its_size() {
        let key = SessionKey([7; KEY_BYTES]);
        let keys = SessionKeys { current: key, old: Some(key) };
        assert!(!format!("{keys:?}").contains('7'), "{keys:?}");
        assert_eq!(SessionKey::of(&key.bytes()), Ok(key));
        assert!(SessionKey::of(&[7; KEY_BYTES - 1]).is_err());
    }
}
