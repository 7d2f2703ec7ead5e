//! How a connection ends: the last frame, and the code that it is closed with (RFC 6455, section 7.4).

use std::{io, time::Duration};

use domain::{
    Problem,
    frame::{CLOSE_NO_SESSION, CLOSE_PROTOCOL, CLOSE_TOO_MANY, ServerFrame},
};
use engine::wire::encode;
use tokio::time::timeout;

use super::{handshake::ReadHalf, write_half::WriteHalf};

/// A close frame is sent as a courtesy, for which nobody waits long.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a connection is closed, besides problems (RFC 6455, section 7.4).
const CLOSE_AWAY: u16 = 1001;
const CLOSE_NOT_UTF8: u16 = 1007;
const CLOSE_SIZE: u16 = 1009;
const CLOSE_ERROR: u16 = 1011;

/// Why a connection ends.
pub(super) enum End {
    /// The other side went, or the network did.
    Gone,
    /// This side ends it, and says why.
    Problem(Problem),
    /// A text came that is not UTF-8.
    NotUtf8,
    /// Nothing was heard of the other side, or it takes nothing.
    Silent,
}

/// What a connection is closed with because of a problem; `None` where it goes on.
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

/// Whether a problem ends a connection.
pub(super) const fn ends(problem: Problem) -> bool {
    code_of(problem).is_some()
}

/// Tells a client why it cannot come in.
pub(super) async fn refuse(write_half: &WriteHalf, mut read_half: ReadHalf, problem: Problem) {
    close(write_half, &mut read_half, End::Problem(problem)).await;
}

/// A courtesy: whoever is still there learns why it ends.
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
    // Dropping a socket with something unread resets it, and the reason is lost with it, so what comes is read until
    // the other side closes too. A frame that was too large, or is no text, cannot be read past; then all one can do is
    // leave the other side some time.
    let _ = timeout(CLOSE_TIMEOUT, async {
        if let Some(last_words) = last_words {
            write_half.send(&last_words).await?;
        }
        // behind whatever waits
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
