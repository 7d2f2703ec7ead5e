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

use socket2::SockRef;
use tokio::{net::TcpStream, sync::Notify};
use tungstenite::Bytes;

/// Whole frames that were not taken, since others wait before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck;

/// The writing half of a socket.
pub struct Outlet {
    stream: TcpStream,
    unsent: Mutex<Bytes>,
    stuck: Notify,
}

impl Outlet {
    /// For a stream that somebody else reads.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: Mutex::default(), stuck: Notify::new() }
    }

    /// The stream, to be read.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Looks at what [`Outlet::give`] will need, and does nothing with it: it is near the processor by then.
    pub fn touch(&self) {
        hint::black_box((self.unsent.is_poisoned(), self.stream.as_raw_fd()));
    }

    /// Takes whole frames, and sends of them what goes out at once. That a connection is broken is told to whoever reads.
    ///
    /// # Errors
    /// [`Stuck`] where others wait; nothing was taken then.
    pub fn give(&self, frames: &Bytes) -> Result<(), Stuck> {
        let mut unsent = self.lock();
        if !unsent.is_empty() {
            return Err(Stuck);
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

    /// Waits until something waits that [`Outlet::flush`] has to see off.
    pub async fn stuck(&self) {
        self.stuck.notified().await;
    }

    /// Waits until nothing waits any more.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn flush(&self) -> io::Result<()> {
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
    pub async fn send(&self, frames: &Bytes) -> io::Result<()> {
        while self.give(frames).is_err() {
            self.flush().await?;
        }
        self.flush().await
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
