//! The bodies of forms and uploads: how much of one may come at all, how slowly, and how much may wait to be taken out of it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, BodyDataStream, Bytes};
use domain::frame::FRAME_LIMIT;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::pictures::intake::SILENCE;

/// The maximum size of a form, in bytes. It holds a message, of which a form may encode every byte as three, and other fields.
pub(super) const FORM_LIMIT: usize = 2 * FRAME_LIMIT;

/// How many bytes beyond that are read and dropped, since a browser does not read the response while it still sends.
pub(super) const DROPPED: usize = 64 * FORM_LIMIT;
/// How much may come before a reader takes something out of it, in bytes: the head of a field of a form is shorter.
const UNTAKEN: usize = 32 * 1024;
/// How long is waited for a body in any case, the time in which it comes not counted.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many bytes of it have to come in each further second of waiting.
const BYTES_A_SECOND: u64 = 16 * 1024;

/// The body of an upload, as a stream of its parts. After an error there is nothing more.
pub(super) struct UploadBody {
    body: Option<BodyDataStream>,
    /// How much may still come, in bytes.
    left: u64,
    taking: Taking,
    /// How much has come, in bytes.
    received: u64,
    /// How long was waited for it.
    waited: Duration,
    /// Since when nothing came, and when that is too long. `None` while nothing is waited for.
    waits: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Whether the reader has just got a part, and is to look at it before the next.
    has_given: bool,
}

/// Tells a body that its reader takes something out of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Taking(Arc<AtomicUsize>);

/// Why a body ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum UploadError {
    /// The client has gone, or does not speak HTTP.
    #[error("the body did not arrive whole")]
    Broken,
    /// It stands still, or comes too slowly.
    #[error("the body comes too slowly")]
    TooSlow,
    /// More came than may come.
    #[error("the body is too large")]
    TooLarge,
    /// Nothing can be made of what came.
    #[error("the body has no end of a head where one has to be")]
    Endless,
}

impl Taking {
    /// Notes that all that came was taken.
    pub(super) fn note(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl UploadBody {
    /// Wraps a body of which up to `most` bytes may come.
    pub(super) fn new(body: Body, most: u64) -> Self {
        Self {
            body: Some(body.into_data_stream()),
            left: most,
            taking: Taking::default(),
            received: 0,
            waited: Duration::ZERO,
            waits: None,
            has_given: false,
        }
    }

    /// Returns what has to be told whenever a part was taken. A reader that does not tell it gets an error soon.
    pub(super) fn taking(&self) -> Taking {
        self.taking.clone()
    }

    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        // A parser of forms reads for as long as something comes, and looks at it only then.
        if std::mem::take(&mut self.has_given) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.taking.0.load(Ordering::Relaxed) > UNTAKEN {
            return Poll::Ready(Some(Err(UploadError::Endless)));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let Poll::Ready(part) = body.poll_next_unpin(context) else { return self.poll_patience(context) };
        if let Some((since, _)) = self.waits.take() {
            self.waited += since.elapsed();
        }
        let Some(part) = part else { return Poll::Ready(None) };
        let Ok(part) = part else { return Poll::Ready(Some(Err(UploadError::Broken))) };
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        let Some(left) = self.left.checked_sub(length) else {
            return Poll::Ready(Some(Err(UploadError::TooLarge)));
        };
        self.left = left;
        self.received = self.received.saturating_add(length);
        self.taking.0.fetch_add(part.len(), Ordering::Relaxed);
        self.has_given = true;
        Poll::Ready(Some(Ok(part)))
    }

    /// Waits for more, for as long as that is not too slow.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        let (_, too_long) = self.waits.get_or_insert_with(|| {
            let allowed = PATIENCE + Duration::from_secs(self.received / BYTES_A_SECOND);
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + SILENCE.min(allowed.saturating_sub(self.waited)))))
        });
        too_long.as_mut().poll(context).map(|()| Some(Err(UploadError::TooSlow)))
    }
}

impl Stream for UploadBody {
    type Item = Result<Bytes, UploadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.poll_part(context);
        if let Poll::Ready(Some(Err(_)) | None) = polled {
            self.body = None;
            self.taking.note();
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use futures_util::stream;
    use tokio::time::sleep;

    use super::*;

    fn of(parts: &'static [&'static [u8]], most: u64) -> UploadBody {
        let parts = stream::iter(parts).map(|part| Ok::<_, std::io::Error>(Bytes::from_static(part)));
        UploadBody::new(Body::from_stream(parts), most)
    }

    #[tokio::test]
    async fn as_much_comes_as_may_come() {
        let all: Vec<_> = of(&[b"ab", b"cd"], 4).collect().await;
        assert_eq!(all, [Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"cd"))]);
        let cut: Vec<_> = of(&[b"ab", b"cd", b"ef"], 3).collect().await;
        assert_eq!(cut, [Ok(Bytes::from_static(b"ab")), Err(UploadError::TooLarge)]);
    }

    #[tokio::test]
    async fn what_nobody_takes_does_not_pile_up() {
        const PART: &[u8] = &[b'a'; 20_000];
        let all: Vec<_> = of(&[PART, PART, PART, PART], u64::MAX).collect().await;
        assert_eq!((all.len(), all.last()), (3, Some(&Err(UploadError::Endless))));
        let mut body = of(&[PART, PART, PART, PART], u64::MAX);
        let taking = body.taking();
        let mut count = 0;
        while let Some(part) = body.next().await {
            assert!(part.is_ok());
            taking.note();
            count += 1;
        }
        assert_eq!(count, 4);
    }

    /// Reads a body of which so many bytes come at these times, and returns how it ends and when.
    async fn in_time(
        bytes: usize,
        pauses: impl Iterator<Item = u64> + Send + 'static,
    ) -> (Option<UploadError>, u64) {
        let parts = stream::iter(pauses).then(move |seconds| async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; bytes]))
        });
        let mut body = UploadBody::new(Body::from_stream(parts), u64::MAX);
        let taking = body.taking();
        let began = Instant::now();
        while let Some(part) = body.next().await {
            taking.note();
            if let Err(error) = part {
                return (Some(error), began.elapsed().as_secs());
            }
        }
        (None, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_take_long_and_may_not_stand_still() {
        const SECOND: usize = BYTES_A_SECOND as usize;
        assert_eq!(in_time(SECOND, iter::repeat_n(1, 600)).await, (None, 600));
        assert_eq!(in_time(10 * SECOND, iter::repeat_n(10, 100)).await, (None, 1_000));
        assert_eq!(in_time(SECOND, [1, 1, 20].into_iter()).await, (Some(UploadError::TooSlow), 17));
        let (ended, seconds) = in_time(SECOND / 2, iter::repeat(1)).await;
        assert_eq!(ended, Some(UploadError::TooSlow));
        assert!((59..62).contains(&seconds), "{seconds}");
        let (ended, seconds) = in_time(1, iter::repeat(14)).await;
        assert_eq!((ended, seconds), (Some(UploadError::TooSlow), 30));
    }
}
