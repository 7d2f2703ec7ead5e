//! Receiving from a channel on a thread of its own, without the async runtime.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

/// The receiver of a channel, for a thread that is parked while it waits. It does not use a timer of the async runtime,
/// since the writer continues to work while the runtime is shut down.
pub struct Parked<T>(mpsc::Receiver<T>);

impl<T> Parked<T> {
    /// Creates it from the receiver of the channel.
    pub const fn new(channel: mpsc::Receiver<T>) -> Self {
        Self(channel)
    }

    /// Waits for a value, until a moment if there is one. Returns `Poll::Pending` at that moment, and
    /// `Poll::Ready(None)` when the channel is closed and empty. Blocks the thread.
    pub fn receive(&mut self, until: Option<Instant>) -> Poll<Option<T>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            let received = self.0.poll_recv(&mut context);
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                _ if received.is_ready() => return received,
                Some(Duration::ZERO) => return Poll::Pending,
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
        }
    }

    /// Takes the next value that is waiting. `None` if there is none.
    pub fn take(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_thread_is_woken_by_a_value_by_the_moment_and_by_the_end() {
        let (sender, channel) = mpsc::channel(2);
        let mut parked = Parked::new(channel);
        assert_eq!(parked.take(), None);
        let begun = Instant::now();
        assert_eq!(parked.receive(Some(begun + Duration::from_millis(30))), Poll::Pending);
        assert!(begun.elapsed() >= Duration::from_millis(30));
        let receiving = thread::spawn(move || {
            let far = Some(Instant::now() + Duration::from_secs(3_600));
            [parked.receive(None), parked.receive(far), parked.receive(far), parked.receive(None)]
        });
        (1..=3).for_each(|value| sender.blocking_send(value).unwrap());
        drop(sender);
        let received = receiving.join().unwrap();
        assert_eq!(received, [Some(1), Some(2), Some(3), None].map(Poll::Ready));
    }
}
