//! The intake: receives a file within bounds of size and time.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::Bytes;
use domain::Problem;
use engine::{pictures::FREE_BYTES, random};
use futures_util::{Stream, StreamExt};
use tokio::{io::AsyncWriteExt, time::timeout};

/// How long nothing may come of an upload.
pub(crate) const SILENCE: Duration = Duration::from_secs(15);
/// How many bytes beyond the limit are read and dropped, since a browser does not read the response while it still sends.
const DROPPED: u64 = 16 * 1024 * 1024;
/// How many bytes are written until it is looked again whether there is room for more.
const LOOK_EVERY: u64 = 1024 * 1024;

/// The folder in which files are that are being received. They have no name there, so nothing is left of one that is not
/// used, however the server ends.
#[derive(Debug, Clone)]
pub struct IntakeFolder {
    path: PathBuf,
    /// The free space on the disk below which nothing more is written, in bytes.
    reserve: u64,
}

/// A file that was received.
#[derive(Debug)]
pub struct Incoming {
    /// The file, without a name.
    pub file: File,
    /// Its size in bytes: at least 1.
    pub bytes: u64,
}

impl IntakeFolder {
    /// Returns a folder, which has to exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), reserve: FREE_BYTES }
    }

    /// Checks whether there is room for more. That there was at the beginning does not tell: others are received meanwhile.
    fn check_room(&self) -> Result<(), Problem> {
        let found = rustix::fs::statvfs(&self.path).map_err(|error| not_stored(&error.into()))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if free < self.reserve { Err(Problem::StorageFull) } else { Ok(()) }
    }

    /// Creates a file without a name.
    fn create(&self) -> io::Result<File> {
        let random: [u8; 8] = random::bytes().map_err(io::Error::other)?;
        // The ending with which the folder is cleaned at the start, if the server is killed before the next line but one.
        let path = self.path.join(format!("{:016x}.part", u64::from_be_bytes(random)));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }

    /// Receives a file. `announced` is the size that the client has given, if any.
    ///
    /// # Errors
    /// [`Problem::PictureTooLarge`] if it is larger than `max_bytes`; [`Problem::NotAPicture`] if it is empty;
    /// [`Problem::PictureDamaged`] if it ends early, is not of the announced size or nothing comes for a while;
    /// [`Problem::StorageFull`] or [`Problem::NotStored`] if it cannot be written.
    pub async fn receive<E>(
        &self,
        mut parts: impl Stream<Item = Result<Bytes, E>> + Unpin,
        announced: Option<u64>,
        max_bytes: u64,
    ) -> Result<Incoming, Problem> {
        let too_large =
            Problem::PictureTooLarge { mebibytes: u32::try_from(max_bytes >> 20).unwrap_or(u32::MAX) };
        let mut dropped = 0;
        let mut bytes = 0;
        let mut looked_at = 0;
        let mut file = match announced {
            Some(announced) if announced > max_bytes => None,
            _ => Some(tokio::fs::File::from_std(self.create().map_err(|error| not_stored(&error))?)),
        };
        loop {
            let Ok(part) = timeout(SILENCE, parts.next()).await else { return Err(Problem::PictureDamaged) };
            let Some(part) = part else { break };
            let part = part.map_err(|_| Problem::PictureDamaged)?;
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            bytes += length;
            match &mut file {
                Some(file) if bytes <= max_bytes => {
                    if bytes - looked_at >= LOOK_EVERY {
                        self.check_room()?;
                        looked_at = bytes;
                    }
                    file.write_all(&part).await.map_err(|error| not_stored(&error))?;
                }
                _ => {
                    file = None;
                    dropped += length;
                    if dropped > DROPPED {
                        break;
                    }
                }
            }
        }
        let Some(mut file) = file else { return Err(too_large) };
        if bytes == 0 {
            return Err(Problem::NotAPicture);
        }
        if announced.is_some_and(|announced| announced != bytes) {
            return Err(Problem::PictureDamaged);
        }
        file.flush().await.map_err(|error| not_stored(&error))?;
        Ok(Incoming { file: file.into_std().await, bytes })
    }
}

fn not_stored(error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Problem::StorageFull,
        _ => {
            tracing::error!(%error, "an upload could not be written");
            Problem::NotStored
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use futures_util::stream::{self, pending};

    use super::*;

    type Part = Result<Bytes, ()>;

    fn parts(parts: &[&'static str]) -> Vec<Part> {
        parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect()
    }

    async fn receive(sent: Vec<Part>, announced: Option<u64>, max: u64) -> (Result<String, Problem>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let received = IntakeFolder::new(folder.path()).receive(stream::iter(sent), announced, max).await;
        let text = received.map(|Incoming { mut file, bytes }| {
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text.len() as u64, bytes);
            text
        });
        (text, fs::read_dir(folder.path()).unwrap().count())
    }

    #[tokio::test]
    async fn what_arrives_whole_is_taken_and_nothing_else() {
        let whole = || parts(&["ab", "", "c"]);
        for announced in [None, Some(3)] {
            assert_eq!(receive(whole(), announced, 3).await, (Ok("abc".to_owned()), 0));
        }
        for (sent, announced, max, problem) in [
            (whole(), None, 2, Problem::PictureTooLarge { mebibytes: 0 }),
            (whole(), Some(3), 2, Problem::PictureTooLarge { mebibytes: 0 }),
            (whole(), Some(2), 9, Problem::PictureDamaged),
            (whole(), Some(4), 9, Problem::PictureDamaged),
            (vec![], None, 9, Problem::NotAPicture),
            ([parts(&["ab"]), vec![Err(())]].concat(), Some(3), 9, Problem::PictureDamaged),
        ] {
            assert_eq!(receive(sent, announced, max).await, (Err(problem), 0));
        }
    }

    #[tokio::test]
    async fn what_leaves_no_room_for_messages_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let full = IntakeFolder { reserve: u64::MAX, path: folder.path().to_owned() };
        let receive = async |mebibytes: usize| {
            let part = |_| Ok::<_, ()>(Bytes::from(vec![0; 1 << 20]));
            full.receive(stream::iter((0..mebibytes).map(part)), None, 1 << 30).await
        };
        assert_eq!(receive(3).await.err(), Some(Problem::StorageFull));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_an_upload() {
        let folder = tempfile::tempdir().unwrap();
        let sent = stream::iter(parts(&["ab"])).chain(pending::<Part>());
        let received = IntakeFolder::new(folder.path()).receive(sent, None, 9).await;
        assert_eq!(received.err(), Some(Problem::PictureDamaged));
    }
}
