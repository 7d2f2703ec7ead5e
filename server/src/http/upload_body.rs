//! The body of an upload: how much of it may come at all, and how much may wait to be taken out of it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::{Stream, StreamExt};

/// How much may come before a reader takes something out of it, in bytes: the head of a field of a form is shorter.
const UNTAKEN: usize = 32 * 1024;

/// The body of an upload, as a stream of its parts. After an error there is nothing more.
pub(super) struct UploadBody {
    body: Option<BodyDataStream>,
    /// How much may still come, in bytes.
    left: u64,
    taking: Taking,
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
        Self { body: Some(body.into_data_stream()), left: most, taking: Taking::default(), has_given: false }
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
        let Poll::Ready(part) = body.poll_next_unpin(context) else { return Poll::Pending };
        let Some(part) = part else { return Poll::Ready(None) };
        let Ok(part) = part else { return Poll::Ready(Some(Err(UploadError::Broken))) };
        let Some(left) = self.left.checked_sub(u64::try_from(part.len()).unwrap_or(u64::MAX)) else {
            return Poll::Ready(Some(Err(UploadError::TooLarge)));
        };
        self.left = left;
        self.taking.0.fetch_add(part.len(), Ordering::Relaxed);
        self.has_given = true;
        Poll::Ready(Some(Ok(part)))
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
    use futures_util::stream;

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
}
