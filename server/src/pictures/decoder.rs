//! The decoder: a process for each picture. What a library takes for a hostile file cannot be bounded from inside, neither
//! memory nor time; a process has limits of its own, and can be ended.
//!
//! It is Qchat itself, executed again: see [`child`] for what it does. It gets the file as its standard input, and writes a
//! line of JSON, followed by the two files of the picture.

pub mod child;

use std::{
    fs::File,
    io::{self, Seek},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use domain::Problem;
use engine::pictures::Encoded;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

/// How long a picture may take, waiting for a core included. Its time on a core is bounded by [`child`].
const DEADLINE: Duration = Duration::from_secs(20);
/// The maximum size of what a decoder writes, in bytes. A picture of 2,048 × 2,048 pixels has some megabytes.
const MAX_OUTPUT: u64 = 16 * 1024 * 1024;

/// The first line that a decoder writes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Head {
    /// The files of the picture follow, the large one first.
    Made { large: Part, small: Part },
    /// Nothing follows.
    Refused(Problem),
}

/// A file of a picture.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    bytes: usize,
    width: u16,
    height: u16,
}

/// Starts decoders.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    program: PathBuf,
    max_pixels: u64,
    deadline: Duration,
}

/// Why a decoder has made nothing of a file.
#[derive(Debug, thiserror::Error)]
enum DecoderError {
    #[error("it could not be started: {0}")]
    NotStarted(io::Error),
    #[error("it could not be read: {0}")]
    NotRead(io::Error),
    #[error("it took more than {0:?}")]
    TooLong(Duration),
    #[error("it has ended with {0}")]
    Ended(ExitStatus),
    #[error("it has written something else than a picture")]
    NoPicture,
    #[error("{0}")]
    Refused(Problem),
}

impl Decoder {
    /// Creates a decoder that executes this program, which is Qchat.
    pub(super) fn new(program: PathBuf, max_pixels: u64) -> Self {
        Self { program, max_pixels, deadline: DEADLINE }
    }

    /// Makes the files of a picture of an uploaded file, in a process that ends with this call.
    ///
    /// # Errors
    /// [`Problem::NotAPicture`] or [`Problem::PictureDamaged`] if it is none, or the process crashes;
    /// [`Problem::PictureTooManyPixels`] if it takes too much memory or time; [`Problem::Busy`] if no process can be started.
    pub(super) async fn decode(&self, file: File) -> Result<Encoded, Problem> {
        self.run_in_time(file).await.map_err(|error| {
            match &error {
                DecoderError::Refused(_) => {}
                DecoderError::NotStarted(_) | DecoderError::NotRead(_) => {
                    tracing::error!(%error, "a picture could not be decoded");
                }
                // A hostile file can bring that about.
                _ => tracing::warn!(%error, "a picture could not be decoded"),
            }
            error.problem()
        })
    }

    async fn run_in_time(&self, file: File) -> Result<Encoded, DecoderError> {
        let done = timeout(self.deadline, self.run(file)).await;
        done.unwrap_or(Err(DecoderError::TooLong(self.deadline)))
    }

    async fn run(&self, mut file: File) -> Result<Encoded, DecoderError> {
        file.rewind().map_err(DecoderError::NotStarted)?;
        let mut process = Command::new(&self.program)
            .arg0("qchat")
            .args([child::FLAG, &self.max_pixels.to_string()])
            // It needs nothing of what the server was told.
            .env_clear()
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Whenever this is not waited for any more, at the deadline or since the client has gone.
            .kill_on_drop(true)
            .spawn()
            .map_err(DecoderError::NotStarted)?;
        let mut output = Vec::new();
        if let Some(stdout) = process.stdout.take() {
            let read = stdout.take(MAX_OUTPUT).read_to_end(&mut output).await;
            // The pipe is closed here, so one that would write more ends.
            read.map_err(DecoderError::NotRead)?;
        }
        let status = process.wait().await.map_err(DecoderError::NotRead)?;
        if !status.success() {
            return Err(DecoderError::Ended(status));
        }
        match read(&output).ok_or(DecoderError::NoPicture)? {
            Ok(encoded) => Ok(encoded),
            Err(problem) => Err(DecoderError::Refused(problem)),
        }
    }
}

impl DecoderError {
    /// Returns what the user is told.
    fn problem(&self) -> Problem {
        match self {
            Self::NotStarted(_) | Self::NotRead(_) => Problem::Busy,
            Self::TooLong(_) => Problem::PictureTooManyPixels,
            Self::Ended(status) if is_limit(*status) => Problem::PictureTooManyPixels,
            Self::Refused(
                problem @ (Problem::NotAPicture | Problem::PictureDamaged | Problem::PictureTooManyPixels),
            ) => *problem,
            Self::Ended(_) | Self::NoPicture | Self::Refused(_) => Problem::PictureDamaged,
        }
    }
}

/// Returns whether a decoder has ended since it has reached a limit: Rust aborts where there is no memory, and the system
/// kills where the time is up, or the memory of the machine.
fn is_limit(status: ExitStatus) -> bool {
    let limits = [Signal::ABORT, Signal::XCPU, Signal::KILL].map(Signal::as_raw);
    status.signal().is_some_and(|signal| limits.contains(&signal))
}

/// Reads what a decoder has written. `None` if it is anything else than a picture, or a problem.
fn read(output: &[u8]) -> Option<Result<Encoded, Problem>> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let (head, rest) = output.split_at_checked(end)?;
    let (large, small) = match serde_json::from_slice(head).ok()? {
        Head::Made { large, small } => (large, small),
        Head::Refused(problem) => return (rest.len() == 1).then_some(Err(problem)),
    };
    let (large_file, small_file) = rest.get(1..)?.split_at_checked(large.bytes)?;
    let is_whole = small_file.len() == small.bytes
        && [&large, &small].iter().all(|part| part.bytes > 0 && part.width > 0 && part.height > 0);
    is_whole.then(|| {
        Ok(Encoded {
            large: large_file.to_vec(),
            large_size: (large.width, large.height),
            small: small_file.to_vec(),
            small_size: (small.width, small.height),
        })
    })
}

/// Returns a path by which this program can be executed again.
///
/// # Errors
/// Any error of the system.
pub fn own_program() -> io::Result<PathBuf> {
    // On Linux this is the program that runs, even if an upgrade has put another one in its place.
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}

#[cfg(test)]
mod tests;
