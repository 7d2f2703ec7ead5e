//! The control socket of a running server: a Unix socket in the data folder, over which the operator has it end a chat
//! (`--end-chat`), send a backup (`qchat backup`) or check its records (`qchat check`). Only the owner of the folder can
//! reach it, so no request from a network does, through any proxy.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::{ChatId, Problem};
use engine::{
    Engine,
    pictures::Pictures,
    storage::{Snapshot, export::ExportError},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader},
    net::{UnixListener, UnixStream as AsyncUnixStream},
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};

/// How long to wait after a failed accept.
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);
/// The name of the socket in the data folder.
const SOCKET: &str = "qchat.socket";
/// The command that ends a chat, followed by its id.
const END: &str = "end ";
/// The answer to that command on success.
const ENDED: &str = "The chat has ended.";
/// The command that asks for a backup.
const BACKUP: &str = "backup";
/// The answer to that command on success. The backup follows.
const FOLLOWS: &str = "The backup follows.";
/// The command that checks all records.
const CHECK: &str = "check";
/// What the answer to that command begins with on success. What there is follows.
const INTACT: &str = "intact: ";
/// The maximum length of a command, in bytes.
const COMMAND_BYTES: u64 = 256;
/// The timeout for reading a command, for writing its answer, and for writing anything more of a backup.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client waits until there is more of a backup.
const SILENCE: Duration = Duration::from_secs(60);

/// Why a command over the control socket failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlSocketError {
    /// No server listens on the socket.
    #[error("no running Qchat can be reached in the data folder ({}: {error})", path.display())]
    NotRunning {
        /// The path of the socket.
        path: PathBuf,
        /// The error of the connection.
        error: io::Error,
    },
    /// The server did not answer.
    #[error("the server did not answer: {0}")]
    NoAnswer(#[from] io::Error),
    /// The server refused, with this answer.
    #[error("{0}")]
    Refused(String),
}

/// Listens in a data folder that belongs to this process. Returns `None` if the file system does not support sockets or
/// the folder's path is too long for one.
pub fn listen(data_dir: &Path) -> Option<UnixListener> {
    let path = data_dir.join(SOCKET);
    // left by a process that was killed
    let _ = fs::remove_file(&path);
    let listening = UnixListener::bind(&path).and_then(|listener| {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    listening
        .inspect_err(|error| tracing::warn!(%error, "could not create {SOCKET}: --end-chat and a backup of the running server will not work"))
        .ok()
}

/// Removes the socket, once nothing listens on it any more.
pub fn close(data_dir: &Path) {
    // fails if there is none
    let _ = fs::remove_file(data_dir.join(SOCKET));
}

/// Reads commands from the socket and executes them until the task is aborted: one at a time, but that others go on
/// beside a backup or a check.
pub async fn serve(listener: UnixListener, engine: Arc<Engine>) {
    let mut long: Option<JoinHandle<()>> = None;
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // as when too many files are open
                tracing::warn!(%error, "could not accept an operator command");
                sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let mut command = String::new();
        let mut reader = AsyncBufReader::new((&mut stream).take(COMMAND_BYTES));
        let read = timeout(TIMEOUT, reader.read_line(&mut command)).await;
        if !matches!(read, Ok(Ok(_))) {
            continue;
        }
        let work: fn(&Snapshot, &Pictures, &UnixStream) -> _ = match command.trim() {
            BACKUP => send_backup,
            CHECK => send_check,
            command => {
                answer(stream, &end(&engine, command).await).await;
                continue;
            }
        };
        // Each keeps the pages of its snapshot from being reused.
        if long.as_ref().is_some_and(|long| !long.is_finished()) {
            answer(stream, "a backup or a check is being made already: try again when it is done").await;
            continue;
        }
        match engine.read() {
            Ok(view) => {
                let pictures = Arc::clone(engine.pictures());
                long = Some(spawn_blocking(move || in_blocking(stream, &view, &pictures, work)));
            }
            Err(problem) => answer(stream, &problem.to_string()).await,
        }
    }
}

async fn end(engine: &Engine, command: &str) -> String {
    let ended = match command.strip_prefix(END).map(str::parse) {
        Some(Ok(chat)) => engine.end(chat).await,
        Some(Err(_)) => Err(Problem::UnknownChat),
        None => return "this Qchat does not know the command: it is of another version".to_owned(),
    };
    match ended {
        Ok(()) => ENDED.to_owned(),
        Err(Problem::UnknownChat) => "there is no such chat: it may have ended already".to_owned(),
        Err(problem) => problem.to_string(),
    }
}

async fn answer(mut stream: AsyncUnixStream, answer: &str) {
    // the client may have gone
    let _ = timeout(TIMEOUT, stream.write_all(format!("{answer}\n").as_bytes())).await;
}

/// Does what takes longer, on a thread that may block. A client that takes nothing for a while is left.
fn in_blocking(
    stream: AsyncUnixStream,
    view: &Snapshot,
    pictures: &Pictures,
    work: fn(&Snapshot, &Pictures, &UnixStream) -> Result<(), ExportError>,
) {
    let prepared = stream.into_std().and_then(|stream| {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(stream)
    });
    let done = prepared.map_err(ExportError::Io).and_then(|stream| work(view, pictures, &stream));
    match done {
        Ok(()) => tracing::info!("a backup or a check was made"),
        Err(ExportError::Io(error)) => tracing::warn!(%error, "the client of a backup or a check has gone"),
        Err(error) => tracing::error!(%error, "a backup or a check failed"),
    }
}

fn send_backup(view: &Snapshot, pictures: &Pictures, mut stream: &UnixStream) -> Result<(), ExportError> {
    writeln!(stream, "{FOLLOWS}").map_err(ExportError::Io)?;
    view.export_with_files(stream, |picture| pictures.files_of(picture))
}

fn send_check(view: &Snapshot, pictures: &Pictures, mut stream: &UnixStream) -> Result<(), ExportError> {
    let missing = |contents| Ok((contents, pictures.count_missing(view)?));
    let checked = view.check().and_then(missing);
    let answer = match &checked {
        Ok((contents, missing)) => format!("{INTACT}{contents}{}", and_missing(*missing)),
        Err(error) => error.to_string(),
    };
    writeln!(stream, "{answer}").map_err(ExportError::Io)?;
    checked.map(|_| ())
}

/// Returns what is said of a number of pictures whose files are missing, after what there is. Nothing of none.
pub(crate) fn and_missing(pictures: usize) -> String {
    if pictures == 0 { String::new() } else { format!(", pictures whose files are missing: {pictures}") }
}

/// Asks the server of a data folder to end a chat, given its link or id. Returns the answer.
///
/// # Errors
/// [`ControlSocketError`] if the server is not running, does not answer or refuses.
pub fn end_chat(data_dir: &Path, link: &str) -> Result<String, ControlSocketError> {
    let id = link.trim().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let id: ChatId =
        id.parse().map_err(|_| ControlSocketError::Refused(format!("{link:?} is no link to a chat")))?;
    let (answer, _) = ask(data_dir, &format!("{END}{id}"))?;
    if answer == ENDED { Ok(answer) } else { Err(ControlSocketError::Refused(answer)) }
}

/// Asks the server of a data folder for a backup, and returns it as it comes.
///
/// # Errors
/// [`ControlSocketError`] if the server is not running, does not answer or refuses.
pub fn backup(data_dir: &Path) -> Result<impl Read, ControlSocketError> {
    let (answer, rest) = ask(data_dir, BACKUP)?;
    if answer != FOLLOWS {
        return Err(ControlSocketError::Refused(answer));
    }
    rest.get_ref().set_read_timeout(Some(SILENCE))?;
    Ok(rest)
}

/// Has the server of a data folder check all records. Returns what there is.
///
/// # Errors
/// [`ControlSocketError`] if the server is not running, does not answer, or refuses or finds a record that cannot be read.
pub fn check(data_dir: &Path) -> Result<String, ControlSocketError> {
    let (answer, _) = ask(data_dir, CHECK)?;
    match answer.strip_prefix(INTACT) {
        Some(contents) => Ok(contents.to_owned()),
        None => Err(ControlSocketError::Refused(answer)),
    }
}

/// Sends a command. Returns the first line of the answer, and what follows it.
fn ask(data_dir: &Path, command: &str) -> Result<(String, BufReader<UnixStream>), ControlSocketError> {
    let path = data_dir.join(SOCKET);
    let mut stream =
        UnixStream::connect(&path).map_err(|error| ControlSocketError::NotRunning { path, error })?;
    writeln!(stream, "{command}")?;
    let (mut stream, mut answer) = (BufReader::new(stream), String::new());
    if stream.read_line(&mut answer)? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok((answer.trim().to_owned(), stream))
}
