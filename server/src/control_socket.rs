//! The control socket of a running server: a Unix socket in the data folder, over which the operator has it end a chat
//! (`--end-chat`). Only the owner of the folder can reach it, so no request from a network does, through any proxy.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::{ChatId, Problem};
use engine::Engine;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader},
    net::UnixListener,
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
/// The maximum length of a command, in bytes.
const COMMAND_BYTES: u64 = 256;
/// The timeout for reading a command, and for writing its answer.
const TIMEOUT: Duration = Duration::from_secs(5);

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
        .inspect_err(|error| tracing::warn!(%error, "could not create {SOCKET}: --end-chat will not work"))
        .ok()
}

/// Removes the socket, once nothing listens on it any more.
pub fn close(data_dir: &Path) {
    // fails if there is none
    let _ = fs::remove_file(data_dir.join(SOCKET));
}

/// Reads commands from the socket and executes them, one at a time, until the task is aborted.
pub async fn serve(listener: UnixListener, engine: Arc<Engine>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // as when too many files are open
                tracing::warn!(%error, "could not accept an operator command");
                sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let (reader, mut writer) = stream.into_split();
        let mut command = String::new();
        let mut reader = AsyncBufReader::new(reader.take(COMMAND_BYTES));
        let read = timeout(TIMEOUT, reader.read_line(&mut command)).await;
        if matches!(read, Ok(Ok(_))) {
            let answer = match command.trim().strip_prefix(END).map(str::parse) {
                Some(Ok(chat)) => engine.end(chat).await,
                _ => Err(Problem::UnknownChat),
            };
            let answer = match answer {
                Ok(()) => ENDED.to_owned(),
                Err(Problem::UnknownChat) => "there is no such chat: it may have ended already".to_owned(),
                Err(problem) => problem.to_string(),
            };
            // the client may have gone
            let _ = timeout(TIMEOUT, writer.write_all(format!("{answer}\n").as_bytes())).await;
        }
    }
}

/// Asks the server of a data folder to end a chat, given its link or id. Returns the answer.
///
/// # Errors
/// [`ControlSocketError`] if the server is not running, does not answer or refuses.
pub fn end_chat(data_dir: &Path, link: &str) -> Result<String, ControlSocketError> {
    let id = link.trim().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let id: ChatId =
        id.parse().map_err(|_| ControlSocketError::Refused(format!("{link:?} is no link to a chat")))?;
    let path = data_dir.join(SOCKET);
    let mut stream =
        UnixStream::connect(&path).map_err(|error| ControlSocketError::NotRunning { path, error })?;
    writeln!(stream, "{END}{id}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    let answer = answer.trim().to_owned();
    if answer == ENDED { Ok(answer) } else { Err(ControlSocketError::Refused(answer)) }
}
