//! What this connection was asked for, by the number of the request, until it answers.

use app::live::Answered;
use domain::{
    ChatId, ClientId, Problem, Timestamp,
    frame::{Ask, ClientFrame},
    timeline::Pending,
};

/// Requests that are no messages and not answered yet. A person clicks less fast than a server answers.
const OPEN_ASKS: usize = 32;

/// The requests of one connection that are not answered yet. As bounded as the messages that wait
/// ([`domain::timeline::PENDING_LIMIT`]), each of which is here once at most, and [`OPEN_ASKS`]. When the connection
/// ends, whoever waits for something else than a message is told so; messages wait for the next one.
#[derive(Default)]
pub(crate) struct Outbox {
    next: u64,
    open: Vec<(u64, Waiting)>,
}

/// Who waits for an answer.
pub(crate) enum Waiting {
    /// A message in the timeline.
    Message(ClientId),
    /// Somebody who is told.
    Ask(Answered),
}

impl Outbox {
    /// The frame that asks for a message to be posted, at this time by the server's clock; nothing if this connection was asked
    /// already.
    pub(crate) fn post(&mut self, chat: ChatId, message: &Pending, now: Timestamp) -> Option<ClientFrame> {
        let Pending { client_id, .. } = message;
        if self
            .open
            .iter()
            .any(|(_, waiting)| matches!(waiting, Waiting::Message(asked) if asked == client_id))
        {
            return None;
        }
        let command = message.ask(chat, now);
        Some(self.request(command, Waiting::Message(*client_id)))
    }

    /// The frame that asks for something else; nothing, and whoever asks is told, where too much is asked already.
    pub(crate) fn ask(&mut self, ask: Ask, done: Answered) -> Option<ClientFrame> {
        let asked = self.open.iter().filter(|(_, waiting)| matches!(waiting, Waiting::Ask(_))).count();
        if asked >= OPEN_ASKS {
            done(Err(Problem::Busy));
            return None;
        }
        Some(self.request(ask, Waiting::Ask(done)))
    }

    fn request(&mut self, command: Ask, waiting: Waiting) -> ClientFrame {
        let request = self.next;
        self.next += 1;
        self.open.push((request, waiting));
        ClientFrame::Do { request, command }
    }

    /// Who waits for an answer.
    pub(crate) fn answered(&mut self, request: u64) -> Option<Waiting> {
        let place = self.open.iter().position(|(asked, _)| *asked == request)?;
        Some(self.open.remove(place).1)
    }

    /// The connection has ended: whoever is to be told so.
    pub(crate) fn abandon(&mut self) -> Vec<Answered> {
        let told = |waiting| match waiting {
            Waiting::Ask(done) => Some(done),
            Waiting::Message(_) => None,
        };
        self.open.drain(..).filter_map(|(_, waiting)| told(waiting)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use domain::{Body, id::ID_BYTES};

    use super::*;

    #[test]
    fn a_message_is_asked_for_once_until_it_is_answered() {
        let chat = ChatId::from_bytes([1; ID_BYTES]);
        let client_id = ClientId::from_bytes([2; ID_BYTES]);
        let body = Body::parse("hello").unwrap();
        let message = Pending { client_id, body, at: Timestamp(1), author: None, problem: None };
        let mut outbox = Outbox::default();
        let Some(ClientFrame::Do { request, .. }) = outbox.post(chat, &message, Timestamp(1)) else {
            panic!("nothing asked")
        };
        assert_eq!(outbox.post(chat, &message, Timestamp(1)), None);
        assert!(matches!(outbox.answered(request), Some(Waiting::Message(id)) if id == client_id));
        assert!(outbox.answered(request).is_none());
        assert!(outbox.post(chat, &message, Timestamp(1)).is_some());
    }

    #[test]
    fn whoever_asked_is_told_when_the_connection_ends_or_too_much_is_asked() {
        let told = Rc::new(Cell::new(0));
        let mut outbox = Outbox::default();
        let mut ask = || {
            let told = Rc::clone(&told);
            let done = Box::new(move |answer: Result<(), Problem>| {
                told.set(told.get() + u32::from(answer.is_err()));
            });
            outbox.ask(Ask::SetNickname { nickname: "Ana".to_owned() }, done)
        };
        for _ in 0..OPEN_ASKS {
            assert!(ask().is_some());
        }
        assert!(ask().is_none());
        assert_eq!(told.get(), 1);
        outbox.abandon().into_iter().for_each(|done| done(Err(Problem::AnswerLost)));
        assert_eq!(told.get(), 1 + OPEN_ASKS as u32);
    }
}
