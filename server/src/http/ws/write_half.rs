//! The writing half of a socket. Whoever has whole frames gives them here, from whatever task, and they go out at once
//! where the other side takes them. What does not fit waits here, and until it is gone nothing else is taken: so a
//! connection holds one batch of frames at most, and nobody waits for it but its own task.

use std::{
    hint,
    io::{self, ErrorKind},
    mem,
    os::fd::AsRawFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use engine::fanout::{FrameSink, Full};
use socket2::SockRef;
use tokio::{net::TcpStream, sync::Notify};

/// The writing half of a socket.
pub(super) struct WriteHalf {
    stream: TcpStream,
    unsent: Mutex<Bytes>,
    stuck: Notify,
}

impl WriteHalf {
    /// For a stream that somebody else reads.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: Mutex::default(), stuck: Notify::new() }
    }

    /// The stream, to be read.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits until something waits that [`WriteHalf::flush`] has to see off.
    pub(super) async fn stuck(&self) {
        self.stuck.notified().await;
    }

    /// Waits until nothing waits any more.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) async fn flush(&self) -> io::Result<()> {
        while !self.try_flush()? {
            self.stream.writable().await?;
        }
        Ok(())
    }

    /// Sends of what waits what goes out now; true where nothing is left.
    fn try_flush(&self) -> io::Result<bool> {
        let mut unsent = self.lock();
        while !unsent.is_empty() {
            match self.stream.try_write(&unsent) {
                Ok(sent) => *unsent = unsent.split_off(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => {
                    mem::take(&mut *unsent);
                    return Err(error);
                }
            }
        }
        Ok(true)
    }

    /// Takes whole frames once nothing waits any more.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) async fn send(&self, frames: &Bytes) -> io::Result<()> {
        while self.try_send(frames).is_err() {
            self.flush().await?;
        }
        self.flush().await
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FrameSink for WriteHalf {
    /// That a connection is broken is told to whoever reads.
    fn try_send(&self, frames: &Bytes) -> Result<(), Full> {
        let mut unsent = self.lock();
        if !unsent.is_empty() {
            return Err(Full);
        }
        // past what tokio knows of the stream: to ask that as well costs as much as all else that is done here
        let sent = match SockRef::from(&self.stream).send(frames) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return Ok(()),
        };
        if sent < frames.len() {
            *unsent = frames.slice(sent..);
            self.stuck.notify_one();
        }
        Ok(())
    }

    fn prefetch(&self) {
        hint::black_box((self.unsent.is_poisoned(), self.stream.as_raw_fd()));
    }
}
