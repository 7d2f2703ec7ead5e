//! Databases with many messages, written as the server writes them.

use std::{error::Error, path::Path};

use domain::{
    Body, Change, ChatId, ClientId, Event, EventKind, Lifetimes, Message, Nickname, Seq, Span, Timestamp,
    Title, UserId, Visibility, id::ID_BYTES,
};
use engine::{command_log::local::CHECKPOINT_BYTES, storage::Store};
use server::start::DATABASE;

use crate::target::body;

/// The number of events in one transaction: the maximum of the writer.
const BATCH: u64 = 256;

/// Lifetimes that exceed the age of everything in these databases.
pub(crate) const LIFETIMES: Lifetimes =
    Lifetimes { chat: Span::seconds(86_400), user: Span::seconds(86_400), message: Span::seconds(86_400) };

/// Returns the id of the chat with a number.
pub(crate) fn chat(number: u64) -> ChatId {
    ChatId::from_bytes(id(number))
}

fn id(number: u64) -> [u8; ID_BYTES] {
    let mut id = [0; ID_BYTES];
    id[2..].copy_from_slice(&number.to_be_bytes());
    id
}

/// Writes `chats` chats with `messages` messages each into a data folder, and `more` messages in the first chat, all
/// with the time `now`.
pub(crate) fn write(
    data_dir: &Path,
    chats: u64,
    messages: u64,
    more: u64,
    now: Timestamp,
) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(data_dir)?;
    let store = Store::open(&data_dir.join(DATABASE), LIFETIMES)?;
    let mut newest = vec![Seq::ZERO; usize::try_from(chats)?];
    let mut seq = Seq::ZERO;
    // Chats take turns, so that a chat is spread over the database as it is in practice.
    let in_turns = chats * (messages + 1);
    let all = in_turns + more;
    let (author, nickname) = (UserId::from_bytes(id(u64::MAX)), Nickname::friendly(7));
    let mut next = 0;
    while next < all {
        let until = (next + BATCH).min(all);
        store.write(Seq(until), now, |batch| {
            for number in next..until {
                seq = seq.next();
                let (turn, of) = (number / chats, if number < in_turns { number % chats } else { 0 });
                let Some(prev) = newest.get_mut(of as usize) else { continue };
                let kind = if turn == 0 {
                    let title = Title::for_chat_of(&nickname);
                    let (owner, nickname, visibility) = (author, nickname.clone(), Visibility::Public);
                    EventKind::Started { owner, nickname, title, visibility, guest: None }
                } else {
                    let (client_id, nickname) = (ClientId::from_bytes(id(number)), nickname.clone());
                    let Ok(body) = Body::parse(&body(number as u32)) else { continue };
                    EventKind::Said(Box::new(Message::plain(author, nickname, client_id, body)))
                };
                batch.apply(&Change::Chat(Event { chat: chat(of), seq, prev: *prev, at: now, kind }))?;
                *prev = seq;
            }
            Ok(())
        })?;
        if store.wal_bytes() >= CHECKPOINT_BYTES {
            store.checkpoint()?;
        }
        next = until;
    }
    Ok(())
}
