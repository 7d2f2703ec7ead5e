//! Searches in a chat: for words, and for messages that are meant for the reader. A search reads the chat from its newest
//! event back, in slices that are bounded; whoever asks goes on with the next one. There is no index, which every message
//! would pay for, and from which removed texts would have to be removed.

mod excerpt;
mod queue;

use std::ops::ControlFlow;

use domain::{
    Chat, ChatId, Event, Line, Message, Problem, Seq, UserId,
    search::{Found, HITS_LIMIT, Hit, Neighbor, Sought},
};
use memchr::memmem::Finder;

use crate::{
    folding::{fold, fold_onto},
    storage::{BATCH_BYTES, Snapshot, StoreError},
};

pub(crate) use queue::SearchQueue;

/// The maximum number of events that a slice looks at.
const SLICE_EVENTS: usize = 20_000;
/// The size in bytes of the records that a slice looks at, exceeded by at most the last of them.
const SLICE_BYTES: usize = 8 * 1024 * 1024;
/// How many events before and after a message are looked at for the message beside it.
const NEIGHBOR_EVENTS: usize = 8;

/// Words that were typed, folded.
pub(crate) struct Words(Vec<Finder<'static>>);

impl Words {
    /// Folds the words in what was typed.
    ///
    /// # Errors
    /// [`Problem::SearchTooLong`] if it is too long.
    fn parse(typed: &str) -> Result<Self, Problem> {
        let finder = |word: &str| Finder::new(&fold(word)).into_owned();
        Ok(Self(Sought::words(typed)?.into_iter().map(finder).collect()))
    }

    /// Whether all of them occur in the text of a message, the descriptions of its pictures or the nickname of its author.
    /// `folded` is a buffer.
    fn occur_in(&self, message: &Message, folded: &mut String) -> bool {
        folded.clear();
        fold_onto(message.body.as_str(), folded);
        let alts = message.pictures.iter().map(|picture| picture.alt.as_str());
        for beside in alts.chain([message.nickname.as_str()]) {
            // No word has white space in it, so none is found across the end of a text.
            folded.push('\n');
            fold_onto(beside, folded);
        }
        self.0.iter().all(|word| word.find(folded.as_bytes()).is_some())
    }
}

/// A search for one reader.
pub(crate) struct Search {
    reader: UserId,
    /// `None` for the messages that are meant for the reader.
    words: Option<Words>,
}

impl Search {
    /// Creates a search.
    ///
    /// # Errors
    /// [`Problem::SearchTooLong`] if there is too much to look for.
    pub(crate) fn new(reader: UserId, sought: &Sought) -> Result<Self, Problem> {
        let words = match sought {
            Sought::Words(typed) => Some(Words::parse(typed)?),
            Sought::Mentions => None,
        };
        Ok(Self { reader, words })
    }

    /// Reads a slice of a chat, from before a sequence number back, without the messages of `hidden` users.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub(crate) fn read(
        &self,
        view: &Snapshot,
        chat: &Chat,
        before: Seq,
        hidden: &[UserId],
    ) -> Result<Found, StoreError> {
        let Self { reader, words } = self;
        let (mut hits, mut found) = (Vec::new(), Found::default());
        let (mut count, mut bytes, mut bytes_of_hits) = (0, 0, 0);
        let (mut looked_to, mut folded) = (before, String::new());
        let mut visit = |event: Event, size: usize| {
            let is_over = hits.len() >= HITS_LIMIT
                || bytes_of_hits >= BATCH_BYTES
                || count >= SLICE_EVENTS
                || bytes >= SLICE_BYTES;
            if is_over {
                found.next = Some(looked_to);
                return ControlFlow::Break(());
            }
            (count, bytes, looked_to) = (count + 1, bytes + size, event.seq);
            found.looked_to = Some(event.at);
            let is_hit = |message: &Message| {
                !hidden.contains(&message.author)
                    && words.as_ref().is_none_or(|words| words.occur_in(message, &mut folded))
            };
            if event.kind.message().is_some_and(is_hit) {
                bytes_of_hits += size;
                hits.push(event.seq);
            }
            ControlFlow::Continue(())
        };
        match words {
            Some(Words(words)) if words.is_empty() => {}
            Some(_) => view.scan_events_before(chat.id, before, &mut visit)?,
            None => view.scan_mentions_before(*reader, chat.id, before, &mut visit)?,
        }
        for seq in hits {
            found.hits.extend(hit(view, chat.id, seq, words.as_ref(), hidden)?);
        }
        Ok(found)
    }
}

/// Returns a message that was found, with what is shown of it. `None` if it is not there.
fn hit(
    view: &Snapshot,
    chat: ChatId,
    seq: Seq,
    words: Option<&Words>,
    hidden: &[UserId],
) -> Result<Option<Hit>, StoreError> {
    // Read again, since it is complete then.
    let Some(event) = view.event(chat, seq)? else { return Ok(None) };
    let shown = event.kind.message().map(shown).unwrap_or_default();
    let (before, _) = view.events_before(chat, seq, NEIGHBOR_EVENTS)?;
    let after = view.events_after(chat, seq, NEIGHBOR_EVENTS)?;
    Ok(Some(Hit {
        excerpt: excerpt::excerpt(&shown, words),
        before: before.iter().rev().find_map(|event| neighbor(event, hidden)),
        after: after.iter().find_map(|event| neighbor(event, hidden)),
        event,
    }))
}

/// Returns an event as the message beside another one. `None` if it is no message, or one that is not shown.
fn neighbor(event: &Event, hidden: &[UserId]) -> Option<Neighbor> {
    let message = event.kind.message().filter(|message| !hidden.contains(&message.author))?;
    Some(Neighbor {
        seq: event.seq,
        author: message.author,
        nickname: message.nickname.clone(),
        at: event.at,
        line: Line::beginning(&shown(message)),
    })
}

/// Returns what is shown of a message, its pictures in words.
fn shown(message: &Message) -> String {
    let mut shown = message.marks.shown(message.body.as_str());
    for picture in &message.pictures {
        if !shown.is_empty() {
            shown.push_str(" · ");
        }
        shown.push_str("Picture");
        if !picture.alt.as_str().is_empty() {
            shown.push_str(": ");
            shown.push_str(picture.alt.as_str());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use domain::{Body, ClientId, Nickname, Picture, PictureId, id::ID_BYTES, text::Alt};

    use super::*;

    fn message(body: &str, alt: Option<&str>) -> Message {
        let (author, client_id) = (UserId::from_bytes([1; ID_BYTES]), ClientId::from_bytes([1; ID_BYTES]));
        let picture = |alt| Picture {
            id: PictureId::from_bytes([1; ID_BYTES]),
            width: 4,
            height: 3,
            small: (4, 3),
            bytes: 100,
            alt: Alt::parse(alt).unwrap(),
        };
        let pictures = alt.map(picture).into_iter().collect();
        let plain = Message::plain(
            author,
            Nickname::parse("Ana").unwrap(),
            client_id,
            Body::try_from(body.to_owned()).unwrap(),
        );
        Message { pictures, ..plain }
    }

    fn is_found(typed: &str, message: &Message) -> bool {
        Words::parse(typed).unwrap().occur_in(message, &mut "of another message".to_owned())
    }

    #[test]
    fn all_words_have_to_occur_wherever_and_however_they_are_written() {
        let tea = message("Tea at **Café** FIVE,\nor six", Some("A black Cat"));
        for typed in
            ["tea", "five TEA", "cafe\u{301}", "afé", "CAT tea", "ana six", "**café**", "  ", "pm cat", "or"]
        {
            assert_eq!(is_found(typed, &tea), typed != "pm cat", "{typed}");
        }
        for typed in ["coffee", "tea coffee", "sixa", "catana", "another"] {
            assert!(!is_found(typed, &tea), "{typed}");
        }
    }

    #[test]
    fn too_many_words_are_refused() {
        assert_eq!(Words::parse(&"x ".repeat(9)).err(), Some(Problem::SearchTooLong));
    }

    #[test]
    fn pictures_are_shown_in_words() {
        assert_eq!(shown(&message("Look", Some("A cat"))), "Look · Picture: A cat");
        assert_eq!(shown(&message("", Some(""))), "Picture");
        assert_eq!(shown(&message("Look", None)), "Look");
    }
}
