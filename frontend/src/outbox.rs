//! Which messages this connection was given, by the number of the request, until it answers.

use std::collections::HashMap;

use domain::{
    ChatId, ClientId,
    frame::{Ask, ClientFrame},
    timeline::Pending,
};

/// The requests of one connection that are not answered yet. As bounded as the messages that wait
/// ([`domain::timeline::PENDING_LIMIT`]): a message is here once at most.
#[derive(Default)]
pub(crate) struct Outbox {
    next: u64,
    open: HashMap<u64, ClientId>,
}

impl Outbox {
    /// The frame that asks for a message to be posted; nothing if this connection was asked already.
    pub(crate) fn ask(&mut self, chat: ChatId, message: &Pending) -> Option<ClientFrame> {
        let Pending { client_id, body, .. } = message;
        if self.open.values().any(|asked| asked == client_id) {
            return None;
        }
        let request = self.next;
        self.next += 1;
        self.open.insert(request, *client_id);
        let command = Ask::Post { chat, client_id: *client_id, body: body.to_string() };
        Some(ClientFrame::Do { request, command })
    }

    /// The message that an answer is about.
    pub(crate) fn answered(&mut self, request: u64) -> Option<ClientId> {
        self.open.remove(&request)
    }
}

#[cfg(test)]
mod tests {
    use domain::{Body, Timestamp, id::ID_BYTES};

    use super::*;

    #[test]
    fn a_message_is_asked_for_once_until_it_is_answered() {
        let chat = ChatId::from_bytes([1; ID_BYTES]);
        let client_id = ClientId::from_bytes([2; ID_BYTES]);
        let message =
            Pending { client_id, body: Body::parse("hello").unwrap(), at: Timestamp(1), problem: None };
        let mut outbox = Outbox::default();
        let Some(ClientFrame::Do { request, .. }) = outbox.ask(chat, &message) else {
            panic!("nothing asked")
        };
        assert_eq!(outbox.ask(chat, &message), None);
        assert_eq!(outbox.answered(request), Some(client_id));
        assert_eq!(outbox.answered(request), None);
        assert!(outbox.ask(chat, &message).is_some());
    }
}
