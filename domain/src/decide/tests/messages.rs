//! What is decided about messages with all that belongs to them, and about reactions.

use super::*;
use crate::{
    Alt, Attached, Emoji, Lifetimes, Mark, MarkKind, Marks, Message, Picture, PictureId, Reaction, Restored,
    Wording,
    picture::{PICTURE_WAITS_MILLIS, PICTURES_LIMIT},
    reaction::REACTIONS_LIMIT,
};

/// A change of a [`Command::Say`] before it is proposed.
type With<'a> = &'a dyn Fn(&mut Said);

/// The fields of a [`Command::Say`] that tests set.
struct Said {
    text: String,
    reply_to: Option<Seq>,
    pictures: Vec<Attached>,
    is_action: bool,
    waited: Span,
}

fn words(text: &str) -> Wording {
    Wording::plain(Body::try_from(text.to_owned()).unwrap())
}

fn say(client_id: u8, with: With<'_>) -> Command {
    let mut said = Said {
        text: format!("message {client_id}"),
        reply_to: None,
        pictures: Vec::new(),
        is_action: false,
        waited: Span::seconds(0),
    };
    with(&mut said);
    Command::Say {
        chat: chat(1),
        client_id: ClientId::from_bytes([client_id; ID_BYTES]),
        words: words(&said.text),
        reply_to: said.reply_to,
        pictures: said.pictures,
        is_action: said.is_action,
        waited_millis: said.waited.millis(),
    }
}

fn edit(message: Seq, text: &str) -> Command {
    Command::EditMessage { chat: chat(1), message, words: words(text) }
}

fn remove(message: Seq) -> Command {
    Command::RemoveMessage { chat: chat(1), message }
}

fn restore(message: Seq, removal: Seq, text: &str) -> Command {
    let said = Restored { words: words(text), reply_to: None, is_action: false, alts: Vec::new() };
    Command::RestoreMessage { chat: chat(1), message, removal, said: Box::new(said) }
}

fn react(message: Seq, emoji: &str, is_on: bool) -> Command {
    Command::React { chat: chat(1), message, emoji: Emoji::try_from(emoji.to_owned()).unwrap(), is_on }
}

fn picture(number: u8) -> Picture {
    let (id, alt) = (PictureId::from_bytes([number; ID_BYTES]), Alt::parse("A cat").unwrap());
    Picture { id, width: 20, height: 10, small: (2, 1), bytes: 300, alt }
}

/// A chat of user 1 in which users 1 and 2 have said something, and the sequence numbers of that.
fn talk() -> (Model, Seq, Seq) {
    let mut model = Model { now: 1_000_000, ..Model::default() };
    model.run(user(1), start(1));
    let said = [1, 2].map(|who| {
        assert!(is_accepted(&model.run(user(who), say(who, &|_| {}))));
        Seq(model.last)
    });
    (model, said[0], said[1])
}

impl Model {
    /// Returns the message at a position, or `None` if there is none.
    fn said(&self, seq: Seq) -> Option<&Message> {
        self.events.iter().find(|event| event.seq == seq)?.kind.message()
    }

    fn rejects(&mut self, by: u8, command: Command, problem: Problem) {
        let before = self.clone();
        assert_eq!(self.run(user(by), command), Decision::Rejected(problem));
        assert_eq!(Model { now: before.now, last: before.last, ..self.clone() }, before, "nothing changes");
    }

    fn accepts(&mut self, by: u8, command: Command) -> Seq {
        let decision = self.run(user(by), command);
        assert!(matches!(&decision, Decision::Accepted(changes) if !changes.is_empty()), "{decision:?}");
        Seq(self.last)
    }

    fn nothing_new(&mut self, by: u8, command: Command) {
        assert_eq!(self.run(user(by), command), Decision::Accepted(vec![]));
    }

    /// Lets all messages expire, and keeps the chat.
    fn expire_messages(&mut self) {
        self.now += LIFETIMES.message.millis();
        self.propose(Proposal::Touch { users: vec![], chats: vec![(chat(1), Timestamp(self.now))] });
    }
}

#[test]
fn what_is_said_is_stored_with_all_that_belongs_to_it() {
    let (mut model, first, _) = talk();
    let command = Command::Say {
        chat: chat(1),
        client_id: ClientId::from_bytes([7; ID_BYTES]),
        words: Wording {
            body: Body::parse("@Bo").unwrap(),
            marks: Marks::checked(&Body::parse("@Bo").unwrap(), vec![Mark(MarkKind::Mention, 0, 3)]).unwrap(),
            mentions: vec![user(3)],
        },
        reply_to: Some(first),
        pictures: vec![Attached { picture: picture(1), uploaded_at: Timestamp(model.now) }],
        is_action: true,
        waited_millis: 0,
    };
    let seq = model.accepts(2, command.clone());
    let said = model.said(seq).unwrap().clone();
    assert_eq!((said.author, said.nickname), (user(2), User::new(user(2)).nickname));
    assert_eq!((said.body.as_str(), said.marks.iter().count(), said.mentions), ("@Bo", 1, vec![user(3)]));
    assert_eq!((said.reply_to, said.reply_author), (Some(first), Some(user(1))));
    assert_eq!((said.pictures, said.is_action, said.edited_at), (vec![picture(1)], true, None));
    assert_eq!(model.mentions, BTreeSet::from([(user(1), chat(1), seq), (user(3), chat(1), seq)]));
    assert_eq!(model.run(user(2), command), Decision::Duplicate(seq), "though its picture is used by now");
    assert_eq!(model.chat(1).said_at, Some(Timestamp(model.now - 1_000)));
}

#[test]
fn marks_that_do_not_fit_are_not_stored() {
    let (mut model, ..) = talk();
    let mut command = say(8, &|said| said.text = "short".into());
    let Command::Say { words, .. } = &mut command else { panic!() };
    let longer = Body::parse("a longer text").unwrap();
    words.marks = Marks::checked(&longer, vec![Mark(MarkKind::Strong, 0, 13)]).unwrap();
    let seq = model.accepts(2, command);
    assert!(model.said(seq).unwrap().marks.is_empty());
}

#[test]
fn what_may_be_said_is_decided_as_for_a_plain_text_and_by_what_belongs_to_it() {
    let (mut model, first, second) = talk();
    let now = model.now;
    let attached = |number, ago| Attached { picture: picture(number), uploaded_at: Timestamp(now - ago) };
    let answers = |seq| say(9, &move |said| said.reply_to = Some(seq));
    let shows = |pictures: &[Attached]| say(9, &|said| said.pictures = pictures.to_vec());
    let with_one = model.accepts(1, say(3, &|said| said.pictures = vec![attached(1, 0)]));
    let removal = model.accepts(2, remove(second));
    let locked = Command::SetLock { chat: chat(1), is_locked: true };
    let unlocked = Command::SetLock { chat: chat(1), is_locked: false };
    model.rejects(2, say(9, &|said| said.text.clear()), Problem::MessageEmpty);
    model.rejects(2, answers(Seq(999)), Problem::ReplyGone);
    model.rejects(2, answers(second), Problem::ReplyGone);
    model.rejects(2, answers(removal), Problem::ReplyGone);
    model.rejects(2, answers(Seq(1)), Problem::ReplyGone);
    model.rejects(2, shows(&vec![attached(9, 0); PICTURES_LIMIT + 1]), Problem::TooManyPictures);
    model.rejects(2, shows(&[attached(9, 0), attached(9, 0)]), Problem::PictureUsed);
    model.rejects(2, shows(&[attached(1, 0)]), Problem::PictureUsed);
    model.rejects(2, shows(&[attached(9, PICTURE_WAITS_MILLIS)]), Problem::PictureExpired);
    model.rejects(2, say(9, &|said| said.waited = LIFETIMES.message), Problem::WaitedTooLong);
    model.accepts(1, locked);
    model.rejects(2, say(9, &|_| {}), Problem::ChatLocked);
    model.accepts(1, unlocked);
    model.accepts(1, Command::SetRemoved { chat: chat(1), person: user(3), is_removed: true });
    model.rejects(3, say(9, &|_| {}), Problem::Removed);
    let alone = model.accepts(
        2,
        say(9, &|said| {
            said.text.clear();
            said.pictures = vec![attached(9, 1_000)];
        }),
    );
    assert!(model.said(alone).unwrap().body.is_empty());
    model.accepts(2, remove(alone));
    let again = shows(&[attached(9, 1_000)]);
    let Command::Say { client_id, .. } = &again else { panic!() };
    assert_eq!(model.posted[&(chat(1), user(2), *client_id)], alone);
    model.rejects(2, say(10, &|said| said.pictures = vec![attached(9, 1_000)]), Problem::PictureUsed);
    model.accepts(2, say(11, &|said| said.reply_to = Some(with_one)));
    model.expire_messages();
    model.rejects(2, say(12, &|said| said.reply_to = Some(first)), Problem::ReplyGone);
}

#[test]
fn a_message_is_edited_by_its_author_as_long_as_it_is_there() {
    let (mut model, first, second) = talk();
    let other = edit(second, "other words");
    model.rejects(1, other.clone(), Problem::NotAuthor);
    model.rejects(2, edit(Seq(1), "no message"), Problem::MessageGone);
    model.rejects(2, edit(Seq(99), "nothing"), Problem::MessageGone);
    model.rejects(2, edit(second, ""), Problem::MessageEmpty);
    model.nothing_new(2, edit(second, "message 2"));
    let seq = model.accepts(2, other.clone());
    let event = model.events.last().unwrap();
    assert_eq!(event.kind, EventKind::MessageEdited { message: second, wording: None }, "as it is stored");
    assert_eq!((event.seq, model.chat(1).seq), (seq, seq));
    let at = event.at;
    let said = model.said(second).unwrap();
    assert_eq!((said.body.as_str(), said.edited_at), ("other words", Some(at)));
    assert!(!format!("{model:?}").contains("message 2"), "what it said before is nowhere");
    assert!(model.chat(1).said_at.is_some_and(|said_at| said_at < at), "nothing new was said");
    model.nothing_new(2, other);
    model.accepts(1, Command::SetLock { chat: chat(1), is_locked: true });
    model.rejects(2, edit(second, "locked"), Problem::ChatLocked);
    model.accepts(1, edit(first, "the owner writes"));
    model.accepts(1, Command::SetLock { chat: chat(1), is_locked: false });
    model.accepts(1, Command::SetRemoved { chat: chat(1), person: user(2), is_removed: true });
    model.rejects(2, edit(second, "removed"), Problem::Removed);
    model.accepts(1, Command::SetRemoved { chat: chat(1), person: user(2), is_removed: false });
    model.accepts(2, remove(second));
    model.rejects(2, edit(second, "it is gone"), Problem::MessageGone);
    let attached = vec![Attached { picture: picture(1), uploaded_at: Timestamp(model.now) }];
    let shown = model.accepts(2, say(5, &|said| said.pictures.clone_from(&attached)));
    model.accepts(2, edit(shown, ""));
    assert_eq!(model.said(shown).unwrap().pictures, [picture(1)], "its pictures stay");
    model.expire_messages();
    model.rejects(1, edit(first, "expired"), Problem::MessageGone);
}

#[test]
fn an_edit_changes_who_is_meant() {
    let (mut model, first, _) = talk();
    let seq = model.accepts(2, say(5, &|said| said.reply_to = Some(first)));
    assert_eq!(model.mentions, BTreeSet::from([(user(1), chat(1), seq)]));
    let mut command = edit(seq, "@Bo");
    let Command::EditMessage { words, .. } = &mut command else { panic!() };
    words.marks = Marks::checked(&words.body, vec![Mark(MarkKind::Mention, 0, 3)]).unwrap();
    words.mentions = vec![user(3)];
    model.accepts(2, command);
    assert_eq!(model.mentions, BTreeSet::from([(user(1), chat(1), seq), (user(3), chat(1), seq)]));
    model.accepts(2, edit(seq, "nobody"));
    assert_eq!(model.mentions, BTreeSet::from([(user(1), chat(1), seq)]));
    model.accepts(2, remove(seq));
    assert_eq!(model.mentions, BTreeSet::new());
}

#[test]
fn a_removal_is_taken_back_soon_after_it_by_whoever_removed_their_own() {
    let (mut model, first, second) = talk();
    let removal = model.accepts(2, remove(second));
    model.rejects(2, restore(second, Seq(99), "message 2"), Problem::MessageGone);
    model.rejects(2, restore(second, first, "message 2"), Problem::MessageGone);
    model.rejects(2, restore(Seq(1), removal, "message 2"), Problem::MessageGone);
    model.rejects(1, restore(second, removal, "words in another's mouth"), Problem::NotAuthor);
    model.rejects(2, restore(second, removal, ""), Problem::MessageEmpty);
    let seq = model.accepts(2, restore(second, removal, "message 2"));
    let said = model.said(second).unwrap().clone();
    let restored_at = Some(Timestamp(model.now));
    assert_eq!((said.body.as_str(), said.author, said.edited_at), ("message 2", user(2), restored_at));
    assert_eq!(said.client_id, ClientId::from_bytes([2; ID_BYTES]));
    let stored = EventKind::MessageRestored { message: second, said: None };
    assert_eq!((model.events.last().unwrap().seq, &model.events.last().unwrap().kind), (seq, &stored));
    model.nothing_new(2, restore(second, removal, "message 2"));
    assert_eq!(model.run(user(2), say(2, &|_| {})), Decision::Duplicate(second));

    let removal = model.accepts(2, remove(second));
    model.accepts(1, Command::SetLock { chat: chat(1), is_locked: true });
    model.rejects(2, restore(second, removal, "message 2"), Problem::ChatLocked);
    model.accepts(1, Command::SetLock { chat: chat(1), is_locked: false });
    model.now = model.events.iter().find(|event| event.seq == removal).unwrap().at.0 + RESTORE_MILLIS - 1_000;
    let mut late = model.clone();
    late.now += 1;
    late.rejects(2, restore(second, removal, "message 2"), Problem::TooLateToUndo);
    let mut set_back = model.clone();
    set_back.now -= 100_000;
    set_back.rejects(2, restore(second, removal, "message 2"), Problem::TooLateToUndo);
    model.accepts(2, restore(second, removal, "message 2"));

    let by_owner = model.accepts(1, remove(second));
    model.rejects(2, restore(second, by_owner, "message 2"), Problem::MessageGone);
    let own = model.accepts(1, Command::RemoveOwn { chat: chat(1) });
    model.rejects(1, restore(first, own, "message 1"), Problem::MessageGone);
}

#[test]
fn what_was_removed_again_or_by_the_owner_is_not_restored_by_an_earlier_removal() {
    let (mut model, _, second) = talk();
    let removal = model.accepts(2, remove(second));
    model.accepts(2, restore(second, removal, "message 2"));
    model.accepts(2, Command::RemoveOwn { chat: chat(1) });
    model.rejects(2, restore(second, removal, "message 2"), Problem::MessageGone);

    let (mut model, _, second) = talk();
    let removal = model.accepts(2, remove(second));
    model.accepts(2, restore(second, removal, "message 2"));
    let again = model.accepts(2, remove(second));
    model.rejects(2, restore(second, removal, "message 2"), Problem::MessageGone);
    model.accepts(2, restore(second, again, "message 2"));

    let removal = model.accepts(2, remove(second));
    let in_between =
        model.accepts(1, Command::SetRemoved { chat: chat(1), person: user(2), is_removed: true });
    model.accepts(1, Command::SetRemoved { chat: chat(1), person: user(2), is_removed: false });
    assert!(in_between > removal);
    model.accepts(2, restore(second, removal, "message 2"));
    let removal = model.accepts(2, remove(second));
    model.accepts(1, Command::RemovePerson { chat: chat(1), person: user(2) });
    model.accepts(1, Command::SetRemoved { chat: chat(1), person: user(2), is_removed: false });
    model.rejects(2, restore(second, removal, "message 2"), Problem::MessageGone);
}

#[test]
fn what_the_owner_removes_after_its_author_is_gone_for_good() {
    let (mut model, first, second) = talk();
    let removal = model.accepts(2, remove(second));
    model.nothing_new(2, remove(second));
    let by_owner = model.accepts(1, remove(second));
    model.nothing_new(1, remove(second));
    model.nothing_new(2, remove(second));
    for removal in [removal, by_owner] {
        model.rejects(2, restore(second, removal, "message 2"), Problem::MessageGone);
    }
    let tombstone = model.events.iter().find(|event| event.seq == second).unwrap();
    let content = tombstone.kind.message_or_tombstone().unwrap().content;
    assert_eq!(content.removed_by(), Some(RemovedBy::Owner));
    model.accepts(1, remove(first));
    model.nothing_new(1, remove(first));
    let (mut by_rules_1, _, second) = talk();
    by_rules_1.rules = Rules(1);
    by_rules_1.accepts(2, remove(second));
    by_rules_1.nothing_new(1, remove(second));
}

#[test]
fn a_removal_before_a_great_many_events_is_not_taken_back() {
    let (mut model, _, second) = talk();
    let removal = model.accepts(2, remove(second));
    let said = model.events.iter().find(|event| event.kind.message().is_some()).unwrap().clone();
    let later =
        |number: usize| Event { seq: Seq(removal.0 + u64::try_from(number).unwrap()), ..said.clone() };
    model.events.extend((1..=RESTORE_EVENTS).map(later));
    model.last += u64::try_from(RESTORE_EVENTS).unwrap();
    model.clone().accepts(2, restore(second, removal, "message 2"));
    model.events.push(later(RESTORE_EVENTS + 1));
    model.last += 1;
    model.rejects(2, restore(second, removal, "message 2"), Problem::TooLateToUndo);
}

#[test]
fn a_message_is_restored_with_its_pictures_and_what_it_answers() {
    let (mut model, first, second) = talk();
    let attached = vec![Attached { picture: picture(1), uploaded_at: Timestamp(model.now) }];
    let seq = model.accepts(
        2,
        say(5, &|said| {
            said.pictures.clone_from(&attached);
            said.reply_to = Some(first);
        }),
    );
    let before = model.said(seq).unwrap().clone();
    let removal = model.accepts(2, remove(seq));
    let key = (chat(1), seq, picture(1).id);
    assert!(model.pictures[&key].removed_at.is_some());
    let said = |ids: &[u8], reply_to| {
        let alts = ids.iter().map(|number| (picture(*number).id, Alt::parse("A cat").unwrap())).collect();
        let said = Restored { words: words("message 5"), reply_to, is_action: false, alts };
        Command::RestoreMessage { chat: chat(1), message: seq, removal, said: Box::new(said) }
    };
    model.rejects(2, said(&[2], Some(first)), Problem::TooLateToUndo);
    model.rejects(2, said(&[1, 1], Some(first)), Problem::TooLateToUndo);
    let mut other = model.clone();
    other.accepts(2, said(&[], Some(Seq(99))));
    let without = other.said(seq).unwrap();
    assert_eq!((without.reply_to, &without.pictures), (None, &vec![]), "it answers nothing that came later");
    assert!(other.pictures[&key].removed_at.is_some(), "what it has no more stays removed");
    let mut alone = model.clone();
    alone.accepts(1, remove(first));
    alone.accepts(2, said(&[1], Some(first)));
    let answer = alone.said(seq).unwrap();
    assert_eq!((answer.reply_to, answer.reply_author), (Some(first), None), "what it answers is gone");
    model.accepts(2, said(&[1], Some(first)));
    assert_eq!(model.said(seq), Some(&Message { edited_at: Some(Timestamp(model.now)), ..before }));
    assert_eq!(model.pictures[&key].removed_at, None);
    assert!(model.said(second).is_some());
}

#[test]
fn a_picture_that_a_restored_message_was_without_does_not_come_back() {
    let (mut model, ..) = talk();
    let attached = vec![Attached { picture: picture(1), uploaded_at: Timestamp(model.now) }];
    let seq = model.accepts(2, say(5, &|said| said.pictures.clone_from(&attached)));
    let removal = model.accepts(2, remove(seq));
    model.accepts(2, restore(seq, removal, "without it"));
    // Its files are deleted half a minute after the first removal.
    model.now += 60_000;
    let removal = model.accepts(2, remove(seq));
    let alts = vec![(picture(1).id, Alt::parse("A cat").unwrap())];
    let said = Box::new(Restored { words: words("with it"), reply_to: None, is_action: false, alts });
    let with_it = Command::RestoreMessage { chat: chat(1), message: seq, removal, said };
    model.rejects(2, with_it, Problem::TooLateToUndo);
    model.accepts(2, restore(seq, removal, "without it"));
}

#[test]
fn a_picture_is_posted_once_however_soon_messages_expire() {
    let (mut model, ..) = talk();
    let lifetimes = Lifetimes { message: Span::seconds(60), ..LIFETIMES };
    let uploaded_at = Timestamp(model.now);
    let attached = vec![Attached { picture: picture(1), uploaded_at }];
    model.accepts(2, say(5, &|said| said.pictures.clone_from(&attached)));
    // Its message is forgotten, and with it that the picture was posted.
    model.apply(&Change::Expired { chat: chat(1), through: Seq(model.last) });
    let mut after = |millis: u64| {
        let command = say(6, &|said| said.pictures.clone_from(&attached));
        let proposal = Proposal::Command { by: user(2), command };
        let entry = Entry { seq: Seq(model.last + 1), at: Timestamp(uploaded_at.0 + millis), proposal };
        model.chats.get_mut(&chat(1)).unwrap().active_at = entry.at;
        let Ok(decision) = decide(&model, &entry, LogSettings { lifetimes, rules: Rules::NEWEST });
        decision
    };
    assert_eq!(after(60_000), Decision::Rejected(Problem::PictureExpired));
    assert!(is_accepted(&after(59_999)));
}

#[test]
fn a_message_is_reacted_to_with_a_number_of_emoji() {
    let (mut model, first, second) = talk();
    let before = (model.events.clone(), model.chats.clone());
    let seq = model.accepts(2, react(first, "👍", true));
    let thumbs = Emoji::try_from("👍".to_owned()).unwrap();
    let tally = &model.tallies[&(chat(1), first)];
    assert_eq!((tally.changed, tally.count_of(&thumbs)), (seq, 1));
    assert_eq!(tally.of[0].newest, [User::new(user(2))]);
    model.nothing_new(2, react(first, "👍", true));
    model.nothing_new(2, react(first, "🎉", false));
    model.accepts(1, react(first, "👍", true));
    assert_eq!(model.tallies[&(chat(1), first)].count_of(&thumbs), 2);
    assert_eq!((&model.events, &model.chats), (&before.0, &before.1), "nothing happens in the chat");
    model.rejects(1, react(Seq(1), "👍", true), Problem::MessageGone);
    model.rejects(1, react(Seq(99), "👍", true), Problem::MessageGone);
    for number in 1..REACTIONS_LIMIT {
        let letter = char::from(b'a' + u8::try_from(number).unwrap());
        model.accepts(1, react(first, letter.encode_utf8(&mut [0; 4]), true));
    }
    model.rejects(2, react(first, "🎉", true), Problem::TooManyReactions);
    model.accepts(2, react(first, "b", true));
    model.accepts(1, react(first, "c", false));
    model.accepts(2, react(first, "🎉", true));
    model.accepts(1, Command::SetLock { chat: chat(1), is_locked: true });
    model.rejects(2, react(first, "👍", false), Problem::ChatLocked);
    model.accepts(1, react(second, "👍", true));
    model.accepts(1, Command::SetLock { chat: chat(1), is_locked: false });
    model.accepts(1, remove(first));
    model.rejects(2, react(first, "👍", true), Problem::MessageGone);
    assert!(model.reactions.iter().all(|(_, message, ..)| *message == second));
    assert_eq!(model.tallies.len(), 1);
    model.expire_messages();
    model.rejects(2, react(second, "👍", true), Problem::MessageGone);
    model.propose(Proposal::Expire {
        users: vec![],
        chats: vec![],
        events: vec![(chat(1), model.chat(1).seq)],
    });
    assert!(model.tallies.is_empty() && model.reactions.is_empty());
}

#[test]
fn by_rules_1_there_are_plain_texts_alone() {
    let (mut model, first, _) = talk();
    model.rules = Rules(1);
    model.accepts(1, post(1, 7));
    assert!(matches!(model.events.last().unwrap().kind, EventKind::Posted(_)));
    let old = Seq(model.last);
    for command in [say(9, &|_| {}), edit(first, "no"), restore(first, first, "no"), react(first, "👍", true)]
    {
        model.rejects(1, command, Problem::NotYet);
    }
    model.rules = Rules(2);
    assert_eq!(model.run(user(1), say(7, &|_| {})), Decision::Duplicate(old), "a retry by the newer rules");
    model.accepts(1, react(old, "👍", true));
    model.accepts(2, say(8, &|said| said.reply_to = Some(old)));
    model.accepts(1, edit(old, "edited"));
    assert_eq!(model.said(old).unwrap().body.as_str(), "edited");
    model.accepts(2, post(1, 9));
    assert_eq!(model.said(Seq(model.last)).unwrap().body.as_str(), "hello", "a post by the newer rules");
}

/// Returns the first of these texts that is in an event other than that of the message that says it now.
fn left_over<'a>(model: &Model, texts: &'a [String]) -> Option<&'a String> {
    let stored = format!("{:?}", model.events);
    let said = |text: &str| {
        let says = |event: &&Event| event.kind.message().is_some_and(|said| said.body.as_str() == text);
        model.events.iter().filter(says).count()
    };
    texts
        .iter()
        .find(|text| stored.contains(text.as_str()) && stored.matches(text.as_str()).count() != said(text))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is posted, edited, removed, restored and expires: a text that is not the newest of a message that is
    /// there is stored nowhere, and nothing is left of what belongs to a message that is gone.
    #[test]
    fn nothing_is_left_of_what_is_not_said_any_more(steps in vec((0_u8..3, 0_usize..8, 0_u8..12), 0..60)) {
        let mut model = Model { now: 1_000_000, ..Model::default() };
        model.run(user(1), start(1));
        let (mut texts, mut removals) = (Vec::new(), Vec::new());
        for (number, (who, place, kind)) in steps.into_iter().enumerate() {
            let text = format!("<{number}>");
            let said: Vec<_> =
                model.events.iter().filter(|event| event.kind.message_or_tombstone().is_some()).collect();
            let message = said.get(place).map_or(Seq(0), |event| event.seq);
            let uploaded_at = Timestamp(model.now);
            let command = match kind {
                0..4 => say(u8::try_from(number).unwrap(), &|said| {
                    said.text.clone_from(&text);
                    said.reply_to = Some(message).filter(|message| message.0 > 0);
                    let picture = picture(u8::try_from(number).unwrap());
                    said.pictures.extend((kind == 3).then_some(Attached { picture, uploaded_at }));
                }),
                4 | 5 => edit(message, &text),
                6 => {
                    let command = remove(message);
                    if is_accepted(&model.run(user(who), command)) {
                        removals.push((who, message, Seq(model.last)));
                    }
                    continue;
                }
                7 => match removals.last() {
                    Some((_, message, removal)) => restore(*message, *removal, &text),
                    None => continue,
                },
                8 => Command::RemoveOwn { chat: chat(1) },
                9 | 10 => react(message, ["👍", "🎉"][place % 2], kind == 9),
                _ => {
                    let events = vec![(chat(1), message)];
                    model.now += if place == 0 { LIFETIMES.message.millis() } else { 0 };
                    model.propose(Proposal::Touch { users: vec![], chats: vec![(chat(1), Timestamp(model.now))] });
                    model.propose(Proposal::Expire { users: vec![], chats: vec![], events });
                    continue;
                }
            };
            texts.push(text);
            model.run(user(who), command);
            prop_assert_eq!(left_over(&model, &texts), None);
            let is_there = |seq: Seq| model.said(seq).is_some();
            prop_assert!(model.reactions.iter().all(|(_, seq, ..)| is_there(*seq)));
            prop_assert!(model.tallies.keys().all(|(_, seq)| is_there(*seq)));
            prop_assert!(model.mentions.iter().all(|(.., seq)| is_there(*seq)));
            for ((_, seq, id), record) in &model.pictures {
                let is_shown = model.said(*seq).is_some_and(|said| said.pictures.iter().any(|shown| shown.id == *id));
                prop_assert_eq!(record.removed_at.is_none(), is_shown);
            }
            for ((_, seq), tally) in &model.tallies {
                for count in &tally.of {
                    let of_it = model.reactions.iter();
                    let of_it = of_it.filter(|(_, message, _, emoji)| message == seq && *emoji == count.emoji);
                    prop_assert_eq!(count.count as usize, of_it.count());
                }
            }
        }
    }
}

#[test]
fn a_reaction_is_stored_as_it_is_decided() {
    let (mut model, first, _) = talk();
    let Decision::Accepted(changes) = model.run(user(2), react(first, "👍", true)) else {
        panic!("refused")
    };
    let emoji = Emoji::try_from("👍".to_owned()).unwrap();
    let by = User::new(user(2));
    let reaction = Reaction { chat: chat(1), message: first, emoji, by, is_on: true, seq: Seq(model.last) };
    assert_eq!(changes, [Change::Reacted(reaction)]);
}
