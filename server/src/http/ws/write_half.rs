//! The writing half of a WebSocket. Any task can send whole frames, which go out at once if the client accepts them.
//! The rest is kept here, and nothing else is accepted until it is sent: so a connection buffers one batch of frames at
//! most, and only its own task waits for it.

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

/// The writing half of a WebSocket.
pub(super) struct WriteHalf {
    stream: TcpStream,
    unsent: Mutex<Bytes>,
    stuck: Notify,
}

impl WriteHalf {
    /// Creates the writing half of a stream. Another task reads the stream.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: Mutex::default(), stuck: Notify::new() }
    }

    /// Returns the stream, for reading.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits until there are frames that [`WriteHalf::flush`] has to send.
    pub(super) async fn stuck(&self) {
        self.stuck.notified().await;
    }

    /// Waits until everything is sent.
    ///
    /// # Errors
    /// If the connection is broken.
    pub(super) async fn flush(&self) -> io::Result<()> {
        while !self.try_flush()? {
            self.stream.writable().await?;
        }
        Ok(())
    }

    /// Sends as much as possible without waiting. Returns true if nothing is left.
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

    /// Sends whole frames, after those that wait.
    ///
    /// # Errors
    /// If the connection is broken.
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
    /// Returns `Ok` if the connection is broken: the reading task notices that.
    fn try_send(&self, frames: &Bytes) -> Result<(), Full> {
        let mut unsent = self.lock();
        if !unsent.is_empty() {
            return Err(Full);
        }
        // bypasses tokio's readiness state: to check that as well costs as much as everything else here
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
