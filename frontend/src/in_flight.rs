//! The requests in flight: those of one connection that are not answered yet, by their number.

use app::live::AnswerCallback;
use domain::{
    ChatId, ClientId, Problem, Seq, Timestamp,
    frame::{ClientCommand, ClientFrame},
    timeline::Pending,
};

/// A callback for the outcome of a command that a piece of the page has asked for: its position in the log, or why it was not
/// done.
pub(crate) type PieceCallback = Box<dyn FnOnce(Result<Seq, Problem>)>;

/// The maximum number of unanswered requests that are not messages: more than a user can make in the time of an answer.
const ASKS_IN_FLIGHT: usize = 32;

/// The requests in flight of one connection. Bounded by [`ASKS_IN_FLIGHT`] and by the number of messages that wait
/// ([`domain::timeline::PENDING_LIMIT`]), each of which is requested once at most. When the connection ends, other
/// requests fail, and messages wait for the next connection.
#[derive(Default)]
pub(crate) struct InFlight {
    /// The number of the next request.
    next: u64,
    /// The numbers of the requests, and the receivers of their answers.
    requests: Vec<(u64, Waiting)>,
}

/// The receiver of an answer.
pub(crate) enum Waiting {
    /// A message in the timeline, by its id.
    Message(ClientId),
    /// A callback, for a request that is not a message.
    Ask(AnswerCallback),
    /// A callback, for a request by a piece of the page.
    Piece(PieceCallback),
}

impl InFlight {
    /// Returns the frame that posts a message, given the current time by the server's clock. Returns `None` if it was
    /// requested on this connection already.
    pub(crate) fn post(&mut self, chat: ChatId, message: &Pending, now: Timestamp) -> Option<ClientFrame> {
        let Pending { client_id, .. } = message;
        if self
            .requests
            .iter()
            .any(|(_, waiting)| matches!(waiting, Waiting::Message(open) if open == client_id))
        {
            return None;
        }
        let command = message.ask(chat, now);
        Some(self.request(command, Waiting::Message(*client_id)))
    }

    /// Returns the frame for another command. Returns `None` if too many are unanswered; `done` is called with
    /// [`Problem::Busy`] then.
    pub(crate) fn ask(&mut self, ask: ClientCommand, done: AnswerCallback) -> Option<ClientFrame> {
        if self.is_full() {
            done(Err(Problem::Busy));
            return None;
        }
        Some(self.request(ask, Waiting::Ask(done)))
    }

    /// Returns the text of the frame for a command that a piece of the page asks for. `command` is its JSON. Returns `None`
    /// if too many are unanswered; `done` is called with [`Problem::Busy`] then.
    pub(crate) fn ask_json(&mut self, command: &str, done: PieceCallback) -> Option<String> {
        if self.is_full() {
            done(Err(Problem::Busy));
            return None;
        }
        let request = self.expect_answer(Waiting::Piece(done));
        Some(format!(r#"{{"do":{{"request":{request},"command":{command}}}}}"#))
    }

    /// Whether as many requests that are not messages are unanswered as may be.
    fn is_full(&self) -> bool {
        let is_message = |waiting: &Waiting| matches!(waiting, Waiting::Message(_));
        self.requests.iter().filter(|(_, waiting)| !is_message(waiting)).count() >= ASKS_IN_FLIGHT
    }

    fn request(&mut self, command: ClientCommand, waiting: Waiting) -> ClientFrame {
        ClientFrame::Do { request: self.expect_answer(waiting), command }
    }

    /// Adds a receiver of an answer. Returns the number of its request.
    fn expect_answer(&mut self, waiting: Waiting) -> u64 {
        let request = self.next;
        self.next += 1;
        self.requests.push((request, waiting));
        request
    }

    /// Removes a request that was answered, and returns the receiver. `None` if the number is unknown.
    pub(crate) fn take_answered(&mut self, request: u64) -> Option<Waiting> {
        let place = self.requests.iter().position(|(asked, _)| *asked == request)?;
        Some(self.requests.remove(place).1)
    }

    /// Removes all requests after the connection has ended, and returns the callbacks to call. Messages are dropped:
    /// they wait in the timeline.
    pub(crate) fn abandon(&mut self) -> Vec<AnswerCallback> {
        let callback = |waiting| -> Option<AnswerCallback> {
            match waiting {
                Waiting::Ask(done) => Some(done),
                Waiting::Piece(done) => Some(Box::new(move |answer: Result<(), Problem>| {
                    if let Err(problem) = answer {
                        done(Err(problem));
                    }
                })),
                Waiting::Message(_) => None,
            }
        };
        self.requests.drain(..).filter_map(|(_, waiting)| callback(waiting)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        rc::Rc,
    };

    use domain::{Body, UserId, id::ID_BYTES};

    use super::*;

    #[test]
    fn a_message_is_asked_for_once_until_it_is_answered() {
        let chat = ChatId::from_bytes([1; ID_BYTES]);
        let client_id = ClientId::from_bytes([2; ID_BYTES]);
        let body = Body::parse("hello").unwrap();
        let message = Pending::new(client_id, body, Timestamp(1), UserId::from_bytes([3; ID_BYTES]));
        let mut in_flight = InFlight::default();
        let Some(ClientFrame::Do { request, .. }) = in_flight.post(chat, &message, Timestamp(1)) else {
            panic!("nothing asked")
        };
        assert_eq!(in_flight.post(chat, &message, Timestamp(1)), None);
        assert!(matches!(in_flight.take_answered(request), Some(Waiting::Message(id)) if id == client_id));
        assert!(in_flight.take_answered(request).is_none());
        assert!(in_flight.post(chat, &message, Timestamp(1)).is_some());
    }

    #[test]
    fn the_caller_is_told_when_the_connection_ends_or_too_much_is_asked() {
        let failed = Rc::new(Cell::new(0));
        let mut in_flight = InFlight::default();
        let mut ask = || {
            let failed = Rc::clone(&failed);
            let done = Box::new(move |answer: Result<(), Problem>| {
                failed.set(failed.get() + u32::from(answer.is_err()));
            });
            in_flight.ask(ClientCommand::SetNickname { nickname: "Ana".to_owned() }, done)
        };
        for _ in 0..ASKS_IN_FLIGHT {
            assert!(ask().is_some());
        }
        assert!(ask().is_none());
        assert_eq!(failed.get(), 1);
        in_flight.abandon().into_iter().for_each(|done| done(Err(Problem::AnswerLost)));
        assert_eq!(failed.get(), 1 + ASKS_IN_FLIGHT as u32);
    }

    #[test]
    fn a_command_of_a_piece_goes_out_as_it_is_and_its_answer_comes_back() {
        let answers = Rc::new(RefCell::new(Vec::new()));
        let mut in_flight = InFlight::default();
        let mut ask = |command: &str| {
            let answers = Rc::clone(&answers);
            in_flight.ask_json(command, Box::new(move |answer| answers.borrow_mut().push(answer)))
        };
        let react = r#"{"react":{"chat":"0101010101010101","message":58,"emoji":"👍","is_on":true}}"#;
        let text = ask(react).unwrap();
        let frame: ClientFrame = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&frame).unwrap(), text);
        for _ in 1..ASKS_IN_FLIGHT {
            assert!(ask(react).is_some());
        }
        assert_eq!(ask(react), None);
        assert_eq!(answers.take(), [Err(Problem::Busy)]);
        let Some(Waiting::Piece(done)) = in_flight.take_answered(0) else { panic!("not waiting") };
        done(Ok(Seq(91)));
        assert_eq!(answers.take(), [Ok(Seq(91))]);
        in_flight.abandon().into_iter().for_each(|done| done(Err(Problem::AnswerLost)));
        assert_eq!(answers.take(), vec![Err(Problem::AnswerLost); ASKS_IN_FLIGHT - 1]);
    }
}
