//! What later events change of earlier messages: removals, edits, and removals that were taken back.

use std::sync::Arc;

use crate::{Event, EventKind, Expiry, Quote, Seq};

/// Whether an event changes earlier messages.
pub(super) fn is_amendment(event: &Event) -> bool {
    matches!(event.kind, EventKind::MessageRemoved { .. })
        || event.kind.amends().is_some()
        || event.clears().is_some()
}

/// Changes messages, and what others quote of them, as an event says, as far as they are among these events.
pub(super) fn amend(events: &mut [Arc<Event>], amendment: &Event) {
    match &amendment.kind {
        EventKind::MessageRemoved { message, by } => {
            replace(events, *message, |event| event.redact(*by));
            requote(events, |quoted, _| quoted == *message, |_| None);
        }
        EventKind::MessageEdited { message, wording: Some(wording) } => {
            replace(events, *message, |event| event.edit((**wording).clone(), amendment.at));
            let line = wording.marks.first_line(wording.body.as_str());
            let edited = |quote: Option<Quote>| quote.map(|quote| Quote { line: line.clone(), ..quote });
            requote(events, |quoted, quote| quoted == *message && quote.is_some(), edited);
        }
        EventKind::MessageRestored { message, said: Some(said) } => {
            let restored = replace(events, *message, |event| event.restore(said.clone()));
            let quote = restored.and_then(|event| Some(event.kind.message()?.quote(event.at)));
            // If it is not loaded, its time is unknown: what answers it goes without a quote until it is loaded again.
            requote(events, |quoted, _| quoted == *message, |_| quote.clone());
        }
        _ => {}
    }
    let Some((authors, by)) = amendment.clears() else { return };
    for event in events.iter_mut().filter(|event| event.seq < amendment.seq) {
        if event.kind.message().is_some_and(|message| authors.contains(&message.author)) {
            *event = Arc::new(Event::clone(event).redact(by));
        }
    }
    let is_theirs = |quoted: Seq, quote: &Option<Quote>| {
        quoted < amendment.seq && quote.as_ref().is_some_and(|quote| authors.contains(&quote.author))
    };
    requote(events, is_theirs, |_| None);
}

/// Whether any message quotes one that has expired.
pub(super) fn quotes_expired(events: &[Arc<Event>], expiry: Expiry) -> bool {
    let quotes = events.iter().filter_map(|event| event.kind.message()?.quote.as_ref());
    quotes.into_iter().any(|quote| expiry.of_event(quote.at))
}

/// Drops the quotes of messages that have expired.
pub(super) fn drop_expired_quotes(events: &mut [Arc<Event>], expiry: Expiry) {
    let has_expired =
        |_, quote: &Option<Quote>| quote.as_ref().is_some_and(|quote| expiry.of_event(quote.at));
    requote(events, has_expired, |_| None);
}

/// Replaces the event at a position, and returns it. `None` if it is not among these.
fn replace(events: &mut [Arc<Event>], seq: Seq, by: impl FnOnce(Event) -> Event) -> Option<Arc<Event>> {
    let place = events.binary_search_by_key(&seq, |event| event.seq).ok()?;
    let event = events.get_mut(place)?;
    *event = Arc::new(by(Event::clone(event)));
    Some(Arc::clone(event))
}

/// Replaces the quotes of messages that answer certain others.
fn requote(
    events: &mut [Arc<Event>],
    is_meant: impl Fn(Seq, &Option<Quote>) -> bool,
    by: impl Fn(Option<Quote>) -> Option<Quote>,
) {
    for event in events {
        let is_it = |quoted| event.kind.message().is_some_and(|message| is_meant(quoted, &message.quote));
        if !event.kind.message().and_then(|message| message.reply_to).is_some_and(is_it) {
            continue;
        }
        // A new one, by which a view sees that it changed.
        let mut quoting = Event::clone(event);
        if let EventKind::Said(message) = &mut quoting.kind {
            message.quote = by(message.quote.take());
        }
        *event = Arc::new(quoting);
    }
}
