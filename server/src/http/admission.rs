//! Whether people are let in. A server that stops sends them away, and so does a node of a cluster whose log has stopped:
//! their pages connect again, to another node, and go on there.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_util::sync::CancellationToken;

/// Lets people in, until the server stops or for as long as it is not suspended. Clones are the same.
#[derive(Debug, Clone)]
pub struct Admission {
    stop: CancellationToken,
    /// Cancelled when those who are in have to go. Another takes its place when people are let in again.
    current: Arc<RwLock<CancellationToken>>,
}

impl Admission {
    /// Creates one that lets people in until `stop` is cancelled.
    pub fn new(stop: CancellationToken) -> Self {
        let current = Arc::new(RwLock::new(stop.child_token()));
        Self { stop, current }
    }

    /// Returns what is cancelled when whoever is let in now has to go. It is cancelled already if nobody is let in.
    pub fn token(&self) -> CancellationToken {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether people are let in.
    pub fn is_open(&self) -> bool {
        !self.token().is_cancelled()
    }

    /// Returns whether nobody is let in although the server does not stop.
    pub fn is_suspended(&self) -> bool {
        !self.is_open() && !self.stop.is_cancelled()
    }

    /// Sends away those who are in, and lets nobody in until it is [resumed](Self::resume).
    pub fn suspend(&self) {
        self.token().cancel();
    }

    /// Lets people in again.
    pub fn resume(&self) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.is_cancelled() {
            *current = self.stop.child_token();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_in_have_to_go_when_it_is_suspended_and_others_come_in_later() {
        let stop = CancellationToken::new();
        let admission = Admission::new(stop.clone());
        let before = admission.token();
        admission.resume();
        assert!(admission.is_open() && !before.is_cancelled());
        admission.suspend();
        assert!(before.is_cancelled() && admission.token().is_cancelled() && admission.is_suspended());
        admission.resume();
        assert!(before.is_cancelled() && admission.is_open() && !admission.is_suspended());
        let after = admission.token();
        stop.cancel();
        admission.resume();
        assert!(after.is_cancelled() && !admission.is_open() && !admission.is_suspended());
    }
}
