//! The end of a connection: the last frame, and the close code (RFC 6455, section 7.4).

use std::{io, time::Duration};

use domain::{
    Problem,
    frame::{CLOSE_NO_SESSION, CLOSE_PROTOCOL, CLOSE_TOO_MANY, ServerFrame},
};
use engine::websocket_frame::encode;
use tokio::time::timeout;

use super::{handshake::ReadHalf, write_half::WriteHalf};

/// The timeout for the last frame and the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Standard close codes (RFC 6455, section 7.4): this one for going away.
const CLOSE_AWAY: u16 = 1001;
const CLOSE_NOT_UTF8: u16 = 1007;
const CLOSE_SIZE: u16 = 1009;
const CLOSE_ERROR: u16 = 1011;

/// The reason why a connection ends.
pub(super) enum End {
    /// The client or the network closed the connection.
    Gone,
    /// This side closes the connection and tells the problem.
    Problem(Problem),
    /// A text frame was not UTF-8.
    NotUtf8,
    /// The client was silent for too long, or accepts no data.
    Silent,
}

impl End {
    /// Returns the reason in a word, for the count of connections that ended.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Problem(problem) => problem.code(),
            Self::NotUtf8 => "not_utf8",
            Self::Silent => "silent",
        }
    }

    /// Returns the problem that the client is told. `None` if there is none.
    pub(super) fn problem(&self) -> Option<Problem> {
        match self {
            Self::Problem(problem) => Some(*problem),
            Self::NotUtf8 => Some(Problem::BadFrame),
            Self::Gone | Self::Silent => None,
        }
    }
}

/// Returns the close code for a problem, or `None` if the connection goes on.
const fn code_of(problem: Problem) -> Option<u16> {
    match problem {
        Problem::BinaryFrame => Some(1003),
        Problem::FrameTooLarge => Some(CLOSE_SIZE),
        Problem::UnknownVersion | Problem::HelloFirst => Some(CLOSE_PROTOCOL),
        Problem::NoSession | Problem::TwoSessions => Some(CLOSE_NO_SESSION),
        Problem::TooManyPages => Some(CLOSE_TOO_MANY),
        Problem::Restarting => Some(1012),
        _ => None,
    }
}

/// Whether a problem ends the connection.
pub(super) const fn ends(problem: Problem) -> bool {
    code_of(problem).is_some()
}

/// Closes a connection that was not admitted, and tells the client why.
pub(super) async fn refuse(write_half: &WriteHalf, mut read_half: ReadHalf, problem: Problem) {
    close(write_half, &mut read_half, End::Problem(problem)).await;
}

/// Closes a connection, and tells the client why if it is still there.
pub(super) async fn close(write_half: &WriteHalf, read_half: &mut ReadHalf, end: End) {
    let (code, reason, last_words) = match end {
        End::Gone => return,
        End::Silent => (CLOSE_AWAY, "", None),
        End::NotUtf8 => {
            let problem = Problem::BadFrame;
            (CLOSE_NOT_UTF8, problem.code(), encode(&ServerFrame::refused(problem)))
        }
        End::Problem(problem) => {
            let code = code_of(problem).unwrap_or(CLOSE_ERROR);
            (code, problem.code(), encode(&ServerFrame::refused(problem)))
        }
    };
    // Closing a socket with unread data resets it, and the reason is lost, so incoming frames are read until the other
    // side closes as well. It is impossible to read past a frame that is too large or not UTF-8; then the other side
    // only gets some time.
    let _ = timeout(CLOSE_TIMEOUT, async {
        if let Some(last_words) = last_words {
            write_half.send(&last_words).await?;
        }
        // behind any frames not sent yet
        write_half.flush().await?;
        read_half.close(code, reason);
        write_half.flush().await?;
        if code == CLOSE_SIZE || code == CLOSE_NOT_UTF8 {
            std::future::pending::<()>().await;
        }
        while read_half.next().await.is_ok() {}
        Ok::<_, io::Error>(())
    })
    .await;
}
