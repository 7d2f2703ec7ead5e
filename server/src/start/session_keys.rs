//! The session keys of a node of a cluster: those that all nodes share through NATS, or those of a file that the operator
//! gives to each node.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ::cluster::{
    Trouble,
    keys::{OwnKeys, SessionKey, SessionKeys, SharedKeys},
};
use engine::random;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{OLD_SESSION_KEY, SESSION_KEY};
use crate::http::session::{KeyError, Keys, Sessions, read_key, write_key};

/// How long a node that has keys waits for those in force before it starts with its own.
const PATIENCE: Duration = Duration::from_secs(5);
/// The wait after trouble.
const RETRY: Duration = Duration::from_secs(1);

/// A file with a session key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the session key {} cannot be used: {error}", path.display())]
pub struct KeyFileError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub error: KeyError,
}

/// Opens the keys in a file that the operator gives: FILE, and FILE.old if it exists. Nothing is created or shared.
///
/// # Errors
/// [`KeyFileError`] if there is no such file, or one of them is not a key.
pub fn given(path: &Path) -> Result<Sessions, KeyFileError> {
    let mut old = path.as_os_str().to_owned();
    old.push(".old");
    let current = read(path)?.ok_or_else(|| KeyFileError {
        path: path.to_owned(),
        error: KeyError::Io(std::io::ErrorKind::NotFound.into()),
    })?;
    Ok(Sessions::new(keys(&SessionKeys { current, old: read(Path::new(&old))? })))
}

/// Session keys that all nodes share. The data folder has a copy of them.
pub struct SharedSessionKeys {
    shared: SharedKeys,
    sessions: Arc<Sessions>,
    files: Files,
    /// What to ask for. `None` as soon as the keys in force are known.
    own: watch::Sender<Option<OwnKeys>>,
    known: watch::Sender<SessionKeys>,
}

/// The files in the data folder.
#[derive(Debug, Clone)]
struct Files {
    current: PathBuf,
    old: PathBuf,
}

impl SharedSessionKeys {
    /// Opens the keys that all nodes share. If there are none yet, those in the data folder are shared, or a new one. A node that
    /// cannot reach them for some seconds begins with the keys in its folder, and one that has none waits.
    ///
    /// What was done to the files of one node, as the documentation says, is done for all: a key that was renamed to the
    /// old one is replaced, and an old one that was removed is forgotten. `tell` is called with what is waited for.
    ///
    /// # Errors
    /// [`KeyFileError`] if the files cannot be used.
    pub async fn open(
        shared: SharedKeys,
        data_dir: &Path,
        tell: impl Fn(&Trouble),
    ) -> Result<Self, KeyFileError> {
        let [current, old] = [SESSION_KEY, OLD_SESSION_KEY].map(|name| data_dir.join(name));
        let files = Files { current, old };
        let own = files.read()?;
        let settled = match own.current {
            Some(_) => timeout(PATIENCE, settle(&shared, own, tell)).await.ok(),
            None => Some(settle(&shared, own, tell).await),
        };
        if let Some(settled) = settled {
            files.write(settled)?;
        }
        let begin_with = |current| SessionKeys { current, old: own.old };
        let in_force = settled.unwrap_or_else(|| begin_with(own.current.unwrap_or(own.drawn)));
        Ok(Self {
            shared,
            sessions: Arc::new(Sessions::new(keys(&in_force))),
            files,
            own: watch::Sender::new(settled.is_none().then_some(own)),
            known: watch::Sender::new(in_force),
        })
    }

    /// Returns the sessions that have these keys.
    pub fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.sessions)
    }

    /// Puts the keys that all nodes share in force here whenever they change. Never returns.
    pub async fn run(&self) {
        let own = *self.own.borrow();
        if let Some(own) = own {
            let settled = settle(&self.shared, own, |trouble| {
                tracing::warn!(%trouble, "the session keys of all nodes are not known yet");
            })
            .await;
            self.put_in_force(settled).await;
            self.known.send_replace(settled);
            self.own.send_replace(None);
        }
        let mut known = self.known.subscribe();
        let follow = self.shared.follow(&self.known);
        let take_over = async {
            while known.changed().await.is_ok() {
                let keys = *known.borrow_and_update();
                self.put_in_force(keys).await;
            }
        };
        tokio::join!(follow, take_over);
    }

    async fn put_in_force(&self, shared: SessionKeys) {
        self.sessions.replace(keys(&shared));
        let files = self.files.clone();
        let written = spawn_blocking(move || files.write(shared)).await;
        match written {
            Ok(Ok(())) => tracing::info!("the session keys of all nodes are in force here"),
            Ok(Err(error)) => tracing::warn!(%error, "the session keys could not be kept in the data folder"),
            Err(error) => tracing::warn!(%error, "the session keys could not be kept in the data folder"),
        }
    }
}

/// Asks for the keys in force until they are known. `tell` is called once with each thing that is in the way.
async fn settle(shared: &SharedKeys, own: OwnKeys, tell: impl Fn(&Trouble)) -> SessionKeys {
    let mut told = None;
    loop {
        match shared.settle(own).await {
            Ok(keys) => return keys,
            Err(trouble) => {
                let Some(trouble) = shared.connection().settle(trouble).await else { continue };
                if told.as_ref() != Some(&trouble) {
                    tell(&trouble);
                }
                told = Some(trouble);
            }
        }
        sleep(RETRY).await;
    }
}

fn keys(shared: &SessionKeys) -> Keys {
    Keys::new(&shared.current.0, shared.old.as_ref().map(|old| &old.0))
}

fn read(path: &Path) -> Result<Option<SessionKey>, KeyFileError> {
    let read = read_key(path).map_err(|error| KeyFileError { path: path.to_owned(), error })?;
    Ok(read.map(SessionKey))
}

impl Files {
    fn read(&self) -> Result<OwnKeys, KeyFileError> {
        let drawn = random::bytes().map_err(|error| self.error(error.into()))?;
        Ok(OwnKeys { current: read(&self.current)?, old: read(&self.old)?, drawn: SessionKey(drawn) })
    }

    /// Writes keys, and removes the file of an old one if there is none. The old one comes first: that a node has the
    /// current one alone means that there is no other.
    fn write(&self, SessionKeys { current, old }: SessionKeys) -> Result<(), KeyFileError> {
        let has = self.read()?;
        match old {
            Some(key) if has.old != old => {
                write_key(&self.old, &key.0)
                    .map_err(|error| KeyFileError { path: self.old.clone(), error })?;
            }
            None if has.old.is_some() => {
                let removed = std::fs::remove_file(&self.old);
                removed.map_err(|error| KeyFileError { path: self.old.clone(), error: error.into() })?;
            }
            Some(_) | None => {}
        }
        if has.current != Some(current) {
            write_key(&self.current, &current.0).map_err(|error| self.error(error))?;
        }
        Ok(())
    }

    fn error(&self, error: KeyError) -> KeyFileError {
        KeyFileError { path: self.current.clone(), error }
    }
}

#[cfg(test)]
mod tests;
