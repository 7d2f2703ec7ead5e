//! The threads that pages are rendered on: a few, so that however many are asked for, something is left for all else. Those
//! who ask stand in lines, one for each address, and whoever has a turn is the first of a line: many requests from one
//! address wait for each other, and hold up those from elsewhere by one page. One thread more is for those who are here:
//! crowds of strangers from many addresses do not hold up people who talk.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use domain::{Problem, UserId};
use engine::limits::network;
use tokio::{sync::Semaphore, task::spawn_blocking};

/// So many stand in one line. A page takes some milliseconds.
const IN_LINE: usize = 64;
/// So many stand in all lines.
const IN_ALL: usize = 1_024;

/// In which line somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Line {
    /// That of their address.
    Address(IpAddr),
    /// That of their session, where the address is this machine: it may be a proxy that was not named.
    Session(UserId),
    /// That of all who come from this machine without a session.
    Newcomers,
}

/// Who asks for a page.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// In which line they stand.
    pub line: Line,
    /// Whether they have a page open that is alive.
    pub is_here: bool,
}

impl Line {
    /// The line of somebody.
    pub fn of(address: IpAddr, known: Option<UserId>) -> Self {
        match known {
            _ if !address.is_loopback() => Self::Address(network(address)),
            Some(user) => Self::Session(user),
            None => Self::Newcomers,
        }
    }
}

/// So many threads, and who waits for them.
pub(super) struct Pool {
    /// One for each thread.
    slots: Arc<Semaphore>,
    /// One more for those who are here.
    reserved: Arc<Semaphore>,
    at_once: usize,
    lines: Arc<Lines>,
}

#[derive(Default)]
struct Lines(Mutex<HashMap<Line, Waiting>>);

/// Those who stand in a line, whoever has a turn included.
struct Waiting {
    count: usize,
    /// As many have a turn at once as there are threads.
    turns: Arc<Semaphore>,
}

/// A place in a line, until it is dropped.
struct Place {
    lines: Arc<Lines>,
    line: Line,
    turns: Arc<Semaphore>,
}

impl Pool {
    /// With half of the cores.
    pub(super) fn new() -> Self {
        Self::with(thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2))
    }

    fn with(at_once: usize) -> Self {
        let [slots, reserved] = [at_once, 1].map(|count| Arc::new(Semaphore::new(count)));
        Self { slots, reserved, at_once, lines: Arc::default() }
    }

    /// Does something that takes a while, once it is the turn of whoever asks.
    ///
    /// # Errors
    /// [`Problem::Busy`] where too many stand in line, and [`Problem::NotReadable`] if the work panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        Asker { line, is_here }: Asker,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.lines.enter(line, self.at_once)?;
        let turn = Arc::clone(&place.turns).acquire_owned().await;
        let slot = tokio::select! {
            slot = Arc::clone(&self.slots).acquire_owned() => slot,
            slot = Arc::clone(&self.reserved).acquire_owned(), if is_here => slot,
        };
        // these go along, since whoever waits may go
        let done = spawn_blocking(move || {
            let done = work();
            drop((slot, turn, place));
            done
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "a page could not be rendered");
            Problem::NotReadable
        })
    }
}

impl Lines {
    fn enter(self: &Arc<Self>, line: Line, at_once: usize) -> Result<Place, Problem> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize =
            if lines.len() * IN_LINE < IN_ALL { 0 } else { lines.values().map(|one| one.count).sum() };
        let waiting = lines
            .entry(line)
            .or_insert_with(|| Waiting { count: 0, turns: Arc::new(Semaphore::new(at_once)) });
        if waiting.count >= IN_LINE || all >= IN_ALL {
            if waiting.count == 0 {
                lines.remove(&line);
            }
            return Err(Problem::Busy);
        }
        waiting.count += 1;
        Ok(Place { lines: Arc::clone(self), line, turns: Arc::clone(&waiting.turns) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = lines.get_mut(&self.line) {
            waiting.count -= 1;
            if waiting.count == 0 {
                lines.remove(&self.line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use domain::id::ID_BYTES;
    use futures_util::future::join_all;

    use super::*;

    fn address(number: u8) -> Asker {
        Asker { line: Line::of([192, 0, 2, number].into(), None), is_here: false }
    }

    #[test]
    fn an_address_is_one_line_and_behind_this_machine_a_session_is() {
        let [ana, bea] = [1, 2].map(|number| Some(UserId::from_bytes([number; ID_BYTES])));
        let here = [127, 0, 0, 1].into();
        assert_eq!(Line::of([192, 0, 2, 1].into(), ana), Line::of([192, 0, 2, 1].into(), bea));
        assert_ne!(Line::of(here, ana), Line::of(here, bea));
        assert_eq!(Line::of(here, None), Line::of("::1".parse().unwrap(), None));
    }

    #[tokio::test]
    async fn whoever_asks_from_elsewhere_is_held_up_by_one_page_of_a_crowd() {
        let pool = Arc::new(Pool::with(1));
        let (begin, began) = mpsc::channel();
        let order = Arc::new(Mutex::new(Vec::new()));
        let ask = |line: u8| {
            let (pool, order) = (Arc::clone(&pool), Arc::clone(&order));
            async move { pool.run(address(line), move || order.lock().unwrap().push(line)).await }
        };
        // the thread is busy until all have lined up
        let busy = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(address(9), move || began.recv().unwrap()).await }
        });
        while pool.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let crowd = tokio::spawn(join_all((0..70).map(|_| ask(1))));
        tokio::task::yield_now().await;
        let other = tokio::spawn(ask(2));
        tokio::task::yield_now().await;
        begin.send(()).unwrap();
        busy.await.unwrap().unwrap();
        other.await.unwrap().unwrap();
        assert_eq!(order.lock().unwrap().iter().position(|line| *line == 2), Some(1));
        let refused = crowd.await.unwrap().into_iter().filter(|done| *done == Err(Problem::Busy));
        assert_eq!(refused.count(), 6, "so many stand in a line and no more");
        assert!(pool.lines.0.lock().unwrap().is_empty(), "nobody is left in line");
    }

    #[tokio::test]
    async fn whoever_is_here_does_not_wait_for_strangers() {
        let pool = Arc::new(Pool::with(1));
        let (begin, began) = mpsc::channel::<()>();
        let busy = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(address(9), move || began.recv().unwrap()).await }
        });
        while pool.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(Asker { is_here: true, ..address(1) }, || 7).await, Ok(7));
        begin.send(()).unwrap();
        busy.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_page_that_cannot_be_rendered_costs_nobody_else_their_turn() {
        let pool = Pool::with(1);
        let panics = pool.run(address(1), || assert!(address(1).is_here, "on purpose"));
        assert_eq!(panics.await, Err(Problem::NotReadable));
        assert_eq!(pool.run(address(1), || 7).await, Ok(7));
    }
}
