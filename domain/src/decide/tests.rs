//! What the rules decide, by topic, over an in-memory state.

mod messages;
mod rules_1;

use std::collections::{BTreeSet, HashMap};

use proptest::{collection::vec, prelude::*};

use super::*;

use crate::{
    Answer, Body, Nickname, RemovedBy, Span, Title, Visibility,
    chat::REMOVED_LIMIT,
    id::ID_BYTES,
    invite::{
        DECLINE_COOLDOWN_MILLIS, DIRECT_CHATS_LIMIT, DIRECT_CHATS_WITH_ONE_LIMIT, INVITES_FROM_AFAR_LIMIT,
        INVITES_LIMIT,
    },
    model::{LIFETIMES, Model},
    user::HIDDEN_LIMIT,
};

impl Model {
    fn chat(&self, number: u8) -> &Chat {
        &self.chats[&chat(number)].value
    }

    fn invited(&self, number: u8) -> Option<UserId> {
        self.chat(number).invited()
    }
}

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; ID_BYTES])
}

fn chat(number: u8) -> ChatId {
    ChatId::from_bytes([number; ID_BYTES])
}

fn start(number: u8) -> Command {
    Command::StartChat { chat: chat(number), title: None, visibility: Visibility::Public }
}

fn post(number: u8, client_id: u8) -> Command {
    Command::Post {
        chat: chat(number),
        client_id: ClientId::from_bytes([client_id; ID_BYTES]),
        body: Body::parse("hello").unwrap(),
        waited_millis: 0,
    }
}

fn retry(number: u8, client_id: u8, waited: Span) -> Command {
    let Command::Post { chat, client_id, body, .. } = post(number, client_id) else { panic!("no message") };
    Command::Post { chat, client_id, body, waited_millis: waited.millis() }
}

fn bodies(model: &Model) -> usize {
    model.events.iter().filter(|event| event.kind.message().is_some()).count()
}

fn privately(with: u8, fresh: u8) -> Command {
    Command::ChatPrivately { with: user(with), chat: chat(fresh), is_there: false, is_near: true }
}

fn answer(number: u8, answer: Answer) -> Command {
    Command::AnswerInvite { chat: chat(number), answer }
}

fn is_accepted(decision: &Decision) -> bool {
    matches!(decision, Decision::Accepted(_))
}

#[test]
fn a_direct_chat_has_two_members_and_is_used_again_in_either_direction() {
    let mut model = Model::default();
    assert!(is_accepted(&model.run(user(1), privately(2, 5))));
    assert_eq!(model.chat(5).visibility, Visibility::Private);
    assert_eq!(model.invited(5), Some(user(2)));
    assert_eq!(model.run(user(1), privately(2, 6)), Decision::Accepted(vec![]), "invited already");
    assert!(is_accepted(&model.run(user(2), privately(1, 7))), "asking for the same is saying yes");
    assert_eq!(model.invited(5), None);
    assert_eq!(model.chats.len(), 1);
    for (who, admitted) in [(1, true), (2, true), (3, false)] {
        let decision = model.run(user(who), post(5, who));
        assert_eq!(is_accepted(&decision), admitted, "{decision:?}");
    }
    assert_eq!(model.run(user(3), post(5, 3)), Decision::Rejected(Problem::NotAdmitted));
    let list = Command::SetVisibility { chat: chat(5), visibility: Visibility::Public };
    assert_eq!(model.run(user(1), list), Decision::Rejected(Problem::ChatOfTwo));
    assert_eq!(model.run(user(1), privately(1, 8)), Decision::Rejected(Problem::ChatWithOneself));
}

#[test]
fn an_invite_is_answered_once_and_by_its_guest_alone() {
    let mut model = Model::default();
    model.run(user(1), privately(2, 5));
    for (who, problem) in [(1, None), (3, Some(Problem::InviteGone))] {
        let decision = model.run(user(who), answer(5, Answer::Accept));
        let expected = problem.map_or(Decision::Accepted(vec![]), Decision::Rejected);
        assert_eq!(decision, expected, "nothing changes");
    }
    assert_eq!(model.invited(5), Some(user(2)));
    assert!(is_accepted(&model.run(user(2), answer(5, Answer::Decline))));
    assert_eq!(model.invited(5), None);
    assert_eq!(model.run(user(2), answer(5, Answer::Decline)), Decision::Accepted(vec![]));
    assert_eq!(model.run(user(2), answer(6, Answer::Accept)), Decision::Rejected(Problem::InviteGone));
    assert_eq!(model.run(user(1), privately(2, 9)), Decision::Accepted(vec![]), "a no is a no for a while");
    model.run(user(2), privately(1, 7));
    assert_eq!(model.invited(5), Some(user(1)), "the same chat, the other way round");
    let there = Command::ChatPrivately { with: user(2), chat: chat(8), is_there: true, is_near: true };
    model.run(user(1), there.clone());
    assert_eq!(model.invited(5), None, "that was a yes");
    assert_eq!(model.run(user(1), there), Decision::Accepted(vec![]), "nobody is invited who is there");
}

#[test]
fn a_user_who_declined_may_be_asked_again_later() {
    let mut model = Model::default();
    model.run(user(1), privately(2, 5));
    model.run(user(2), answer(5, Answer::Decline));
    model.now += DECLINE_COOLDOWN_MILLIS - 1_500;
    assert_eq!(model.run(user(1), privately(2, 6)), Decision::Accepted(vec![]));
    assert_eq!(model.invited(5), None);
    model.run(user(1), privately(2, 6));
    assert_eq!(model.invited(5), Some(user(2)));
}

#[test]
fn invites_are_withdrawn_when_their_author_leaves() {
    let mut model = Model::default();
    model.run(user(1), privately(2, 5));
    model.run(user(3), privately(1, 6));
    model.propose(Proposal::UserLeft(user(1)));
    assert_eq!((model.invited(5), model.invited(6)), (None, Some(user(1))));
    model.propose(Proposal::UserLeft(user(1)));
    assert_eq!(model.events.len(), 3, "one event for it");
    model.run(user(1), privately(2, 7));
    model.run(user(1), Command::SetNickname { nickname: Nickname::friendly(1), chats: vec![] });
    model.now += LIFETIMES.user.millis();
    model.chats.values_mut().for_each(|kept| kept.active_at = Timestamp(model.now));
    model.propose(Proposal::Expire { users: vec![user(1)], chats: vec![], events: vec![] });
    assert_eq!(model.invited(5), None, "with an expired user as well");
}

#[test]
fn open_invites_to_a_user_are_limited() {
    let mut model = Model::default();
    for number in 1..=INVITES_LIMIT as u8 {
        assert!(is_accepted(&model.run(user(100 + number), privately(1, number))));
    }
    assert_eq!(model.run(user(99), privately(1, 99)), Decision::Rejected(Problem::TooManyInvites));
    let mut model_of_few = model.clone();
    let afar = Command::ChatPrivately { with: user(1), chat: chat(99), is_there: false, is_near: false };
    for number in INVITES_FROM_AFAR_LIMIT as u8..=INVITES_LIMIT as u8 {
        assert_eq!(
            model_of_few.run(user(99), afar.clone()),
            Decision::Rejected(Problem::TooManyInvites),
            "places are kept for those who are near"
        );
        model_of_few.run(user(1), answer(number, Answer::Decline));
    }
    assert!(is_accepted(&model_of_few.run(user(99), afar)));
    let hide = |is_hidden| Command::SetHidden { person: user(102), is_hidden };
    model.run(user(1), hide(true));
    let mut hiding = model.clone();
    assert!(is_accepted(&hiding.run(user(99), privately(1, 99))), "a hidden user is not in the way");
    model.run(user(1), hide(false));
    model.run(user(1), answer(1, Answer::Decline));
    assert!(is_accepted(&model.run(user(99), privately(1, 99))));
}

#[test]
fn a_user_who_takes_no_invites_gets_none_and_may_invite() {
    let mut model = Model::default();
    model.run(user(3), privately(1, 3));
    model.run(user(1), answer(3, Answer::Accept));
    let set = |are_taken| Command::SetInvites { are_taken };
    assert_eq!(model.run(user(1), set(true)), Decision::Accepted(vec![]));
    assert!(is_accepted(&model.run(user(1), set(false))));
    assert_eq!(model.run(user(1), set(false)), Decision::Accepted(vec![]));
    for (who, place) in [(2, 2), (3, 3)] {
        assert_eq!(model.run(user(who), privately(1, place)), Decision::Rejected(Problem::InvitesNotTaken));
    }
    assert!(is_accepted(&model.run(user(1), privately(2, 2))));
    model.run(user(1), set(true));
    assert!(is_accepted(&model.run(user(3), privately(1, 3))));
    // the setting is forgotten when the user expires
    model.run(user(1), set(false));
    model.now += LIFETIMES.user.millis();
    assert!(is_accepted(&model.run(user(4), privately(1, 4))));
    model.propose(Proposal::Expire { users: vec![user(1)], chats: vec![], events: vec![] });
    assert!(model.uninvited.is_empty());
}

#[test]
fn direct_chats_of_a_user_are_limited() {
    let mut model = Model::default();
    for number in 0..DIRECT_CHATS_LIMIT as u8 {
        assert!(is_accepted(&model.run(user(100 + number), privately(1, number))));
        model.run(user(1), answer(number, Answer::Decline));
    }
    let id = |number: u32| {
        let mut id = [77; ID_BYTES];
        id[..4].copy_from_slice(&number.to_be_bytes());
        (UserId::from_bytes(id), ChatId::from_bytes(id))
    };
    for number in 0..DIRECT_CHATS_LIMIT as u32 {
        let (with, chat) = id(1_000_000 + number);
        let began = model.run(user(1), Command::ChatPrivately { with, chat, is_there: false, is_near: true });
        assert!(is_accepted(&began), "others do not use up what one may do oneself");
    }
    assert_eq!(model.run(user(1), privately(99, 250)), Decision::Rejected(Problem::TooManyOwn));
    assert!(is_accepted(&model.run(user(99), privately(1, 250))), "nor the other way round");
    // many users who come and go
    let refused = (0..DIRECT_CHATS_WITH_ONE_LIMIT as u32).find(|number| {
        let (stranger, chat) = id(*number);
        let asked = model
            .run(stranger, Command::ChatPrivately { with: user(1), chat, is_there: false, is_near: true });
        model.propose(Proposal::UserLeft(stranger));
        !is_accepted(&asked)
    });
    assert_eq!(refused, Some((DIRECT_CHATS_WITH_ONE_LIMIT - 2 * DIRECT_CHATS_LIMIT - 1) as u32));
}

#[test]
fn what_has_expired_is_not_there_even_before_it_is_swept() {
    let mut model = Model::default();
    model.run(user(1), Command::SetNickname { nickname: Nickname::parse("Ana").unwrap(), chats: vec![] });
    model.run(user(1), privately(2, 5));
    model.run(user(1), start(1));
    model.now += LIFETIMES.chat.millis() - 2_000;
    assert!(is_accepted(&model.run(user(2), post(1, 1))), "in the last second it is there");
    assert_eq!(model.run(user(2), post(5, 1)), Decision::Rejected(Problem::UnknownChat));
    assert_eq!(model.run(user(2), answer(5, Answer::Accept)), Decision::Rejected(Problem::InviteGone));
    assert!(is_accepted(&model.run(user(2), privately(1, 6))), "a new one, since the old one expired");
    assert_eq!(model.chat(6).owner, user(2));
    model.run(user(1), post(1, 2));
    let Some(EventKind::Said(message)) = model.events.last().map(|event| &event.kind) else { panic!() };
    assert_eq!(message.nickname, User::new(user(1)).nickname, "nobody remembers the name");
}

#[test]
fn what_was_touched_stays_and_nothing_goes_that_has_not_expired() {
    let mut model = Model::default();
    model.run(user(1), Command::SetNickname { nickname: Nickname::parse("Ana").unwrap(), chats: vec![] });
    model.run(user(1), start(1));
    model.run(user(1), start(2));
    let through = model.events.last().unwrap().seq;
    let sweep = || Proposal::Expire {
        users: vec![user(1), user(7)],
        chats: vec![chat(1), chat(2), chat(9)],
        events: vec![(chat(1), through), (chat(2), through)],
    };
    assert_eq!(model.propose(sweep()), Decision::Accepted(vec![]));
    model.now += LIFETIMES.user.millis() - 2_500;
    let seen = Timestamp(model.now - 1);
    let note = |user| Proposal::Touch { users: vec![(user, seen)], chats: vec![] };
    model.propose(note(user(1)));
    assert_eq!(model.users[&user(1)].active_at, seen);
    model.now += LIFETIMES.chat.millis();
    assert_eq!(model.propose(note(user(1))), Decision::Accepted(vec![]));
    let late = Timestamp(model.now);
    let again = Proposal::Touch { users: vec![(user(1), late)], chats: vec![] };
    assert_eq!(model.propose(again), Decision::Accepted(vec![]), "a forgotten name stays forgotten");
    let touch = || Proposal::Touch {
        users: vec![(user(7), seen)],
        chats: vec![(chat(1), Timestamp(u64::MAX)), (chat(9), seen)],
    };
    model.propose(touch());
    assert_eq!(model.chats[&chat(1)].active_at, Timestamp(model.now), "never in the future");
    assert_eq!(model.propose(touch()), Decision::Accepted(vec![]), "nothing is touched twice");
    model.propose(sweep());
    assert!(!model.users.contains_key(&user(1)));
    assert!(model.chats.contains_key(&chat(1)) && !model.chats.contains_key(&chat(2)));
    assert!(model.events.iter().all(|event| event.chat == chat(1)));
    model.now += LIFETIMES.message.millis();
    model.propose(Proposal::Touch { users: vec![], chats: vec![(chat(1), Timestamp(model.now))] });
    let seq = model.chat(1).seq;
    model.propose(Proposal::Expire { users: vec![], chats: vec![chat(1)], events: vec![(chat(1), seq)] });
    assert!(model.events.is_empty(), "messages go even where people are");
    assert!(is_accepted(&model.run(user(1), post(1, 1))));
    assert_eq!(model.events[0].prev, seq, "and what comes then goes on from there");
}

#[test]
fn a_chat_without_a_title_is_named_after_its_owner() {
    let mut model = Model::default();
    model.run(user(1), Command::SetNickname { nickname: Nickname::parse("Ana").unwrap(), chats: vec![] });
    model.run(user(1), start(1));
    assert_eq!(model.chat(1).title.as_str(), "Ana’s chat");
    assert_eq!(model.chat(1).owner, user(1));
}

#[test]
fn a_chat_is_started_once() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    assert_eq!(model.run(user(2), start(1)), Decision::Rejected(Problem::ChatExists));
    assert_eq!(model.run(user(1), start(1)), Decision::Accepted(vec![]), "the same form once more");
    assert_eq!(model.chat(1).owner, user(1));
    model.run(user(1), privately(2, 5));
    assert_eq!(model.run(user(1), start(5)), Decision::Rejected(Problem::ChatExists), "not one of two");
}

#[test]
fn nothing_is_posted_to_a_chat_that_does_not_exist() {
    assert_eq!(Model::default().run(user(1), post(1, 1)), Decision::Rejected(Problem::UnknownChat));
}

#[test]
fn a_retry_gets_the_first_answer_and_changes_nothing() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    model.run(user(1), post(1, 9));
    let Some(Event { seq: first, .. }) = model.events.last().cloned() else { panic!("no event") };
    let before = model.events.clone();
    assert_eq!(model.run(user(1), post(1, 9)), Decision::Duplicate(first));
    assert_eq!(model.events, before);
    assert!(
        matches!(model.run(user(2), post(1, 9)), Decision::Accepted(_)),
        "ids of others are not in the way"
    );
}

#[test]
fn a_message_keeps_the_name_it_was_written_under() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    model.run(user(1), Command::SetNickname { nickname: Nickname::parse("Ana").unwrap(), chats: vec![] });
    model.run(user(1), post(1, 1));
    model.run(user(1), Command::SetNickname { nickname: Nickname::parse("Bea").unwrap(), chats: vec![] });
    let names = model.events.iter().filter_map(|event| match &event.kind {
        EventKind::Said(message) => Some(message.nickname.as_str()),
        _ => None,
    });
    assert_eq!(names.collect::<Vec<_>>(), ["Ana"]);
}

#[test]
fn a_rename_is_noted_where_the_user_is_and_once() {
    let mut model = Model::default();
    for number in [1, 2, 3] {
        model.run(user(1), start(number));
    }
    let rename = |name: &str| Command::SetNickname {
        nickname: Nickname::parse(name).unwrap(),
        chats: vec![chat(1), chat(3), chat(1), chat(9)],
    };
    let before = model.events.len();
    model.run(user(1), rename("Ana"));
    let noted: Vec<_> = model.events[before..].iter().map(|event| event.chat).collect();
    assert_eq!(noted, [chat(1), chat(3)]);
    model.run(user(1), rename("Ana"));
    assert_eq!(model.events.len(), before + 2, "the same name again is nothing to note");
}

#[test]
fn only_the_owner_changes_title_and_visibility() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    let title = |text: &str| Command::EditTitle { chat: chat(1), title: Title::parse(text).unwrap() };
    let private = |number| Command::SetVisibility { chat: chat(number), visibility: Visibility::Private };
    assert_eq!(model.run(user(2), title("Mine")), Decision::Rejected(Problem::NotOwner));
    assert_eq!(model.run(user(2), private(1)), Decision::Rejected(Problem::NotOwner));
    assert_eq!(model.run(user(1), private(2)), Decision::Rejected(Problem::UnknownChat));
    model.run(user(1), title("Tea"));
    model.run(user(1), private(1));
    let Chat { title: now, visibility, seq, .. } = model.chat(1);
    assert_eq!((now.as_str(), *visibility), ("Tea", Visibility::Private));
    assert_eq!(model.events.last().unwrap().seq, *seq);
    assert_eq!(
        model.run(user(1), title("Tea")),
        Decision::Accepted(vec![]),
        "nothing changes, nothing is noted"
    );
    assert_eq!(model.run(user(1), private(1)), Decision::Accepted(vec![]));
}

#[test]
fn a_message_is_removed_by_its_author_or_by_the_owner() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    let say = |model: &mut Model, who| {
        model.run(user(who), post(1, who));
        model.events.last().unwrap().seq
    };
    let (owners, others) = (say(&mut model, 1), say(&mut model, 2));
    let remove = |message| Command::RemoveMessage { chat: chat(1), message };
    assert_eq!(model.run(user(2), remove(owners)), Decision::Rejected(Problem::NotOwner));
    assert_eq!(model.run(user(3), remove(others)), Decision::Rejected(Problem::NotOwner));
    assert_eq!(model.run(user(1), remove(Seq(1))), Decision::Rejected(Problem::MessageGone), "not a message");
    assert_eq!(model.run(user(1), remove(Seq(999))), Decision::Rejected(Problem::MessageGone));
    assert!(is_accepted(&model.run(user(1), remove(others))));
    assert!(is_accepted(&model.run(user(1), remove(owners))));
    let tombstones = model.events.iter().filter_map(|event| match &event.kind {
        EventKind::Tombstone(tombstone) => Some((event.seq, tombstone.by)),
        _ => None,
    });
    assert_eq!(tombstones.collect::<Vec<_>>(), [(owners, RemovedBy::Author), (others, RemovedBy::Owner)]);
    assert_eq!(model.run(user(2), remove(others)), Decision::Accepted(vec![]), "it is gone already");
    assert_eq!(
        model.run(user(2), post(1, 2)),
        Decision::Duplicate(others),
        "a late retry does not bring it back"
    );
    model.now += LIFETIMES.message.millis();
    model.propose(Proposal::Touch { users: vec![], chats: vec![(chat(1), Timestamp(model.now))] });
    assert_eq!(model.run(user(1), remove(owners)), Decision::Rejected(Problem::MessageGone), "expired");
}

#[test]
fn in_a_direct_chat_neither_member_moderates_the_other() {
    let mut model = Model::default();
    model.run(user(1), privately(2, 5));
    model.run(user(2), post(5, 2));
    let message = model.events.last().unwrap().seq;
    let remove = Command::RemoveMessage { chat: chat(5), message };
    assert_eq!(model.run(user(1), remove.clone()), Decision::Rejected(Problem::NotOwner));
    assert!(is_accepted(&model.run(user(2), remove)));
    for command in [
        Command::SetRemoved { chat: chat(5), person: user(2), is_removed: true },
        Command::SetLock { chat: chat(5), is_locked: true },
    ] {
        assert_eq!(model.run(user(1), command), Decision::Rejected(Problem::ChatOfTwo));
    }
}

#[test]
fn a_removed_user_may_do_nothing_there_until_readmitted() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    model.run(user(2), post(1, 7));
    let message = model.events.last().unwrap().seq;
    model.run(user(1), post(1, 7));
    let others = model.events.last().unwrap().seq;
    let set = |person, is_removed| Command::SetRemoved { chat: chat(1), person: user(person), is_removed };
    assert_eq!(model.run(user(2), set(3, true)), Decision::Rejected(Problem::NotOwner));
    assert_eq!(model.run(user(1), set(1, true)), Decision::Rejected(Problem::OnlyOthers));
    assert!(is_accepted(&model.run(user(1), set(2, true))));
    assert_eq!(model.run(user(1), set(2, true)), Decision::Accepted(vec![]), "once is enough");
    let before = model.events.clone();
    for command in [
        post(1, 8),
        post(1, 7),
        Command::RemoveMessage { chat: chat(1), message: others },
        Command::RemoveMessage { chat: chat(1), message: Seq(999) },
        Command::EditTitle { chat: chat(1), title: Title::parse("Mine").unwrap() },
    ] {
        assert_eq!(model.run(user(2), command), Decision::Rejected(Problem::Removed));
    }
    model.run(user(2), Command::SetNickname { nickname: Nickname::friendly(9), chats: vec![chat(1)] });
    assert_eq!(model.events, before, "and nothing is noted of them");
    assert!(is_accepted(&model.run(user(3), post(1, 9))), "others stay");
    let own = Command::RemoveMessage { chat: chat(1), message };
    assert!(is_accepted(&model.run(user(2), own)), "what they said is theirs to take back");
    assert!(is_accepted(&model.run(user(1), set(2, false))));
    assert!(is_accepted(&model.run(user(2), post(1, 8))));
    for number in 0..REMOVED_LIMIT {
        let person = numbered(number as u32);
        let remove = Command::SetRemoved { chat: chat(1), person, is_removed: true };
        assert!(is_accepted(&model.run(user(1), remove)));
    }
    assert_eq!(model.run(user(1), set(3, true)), Decision::Rejected(Problem::TooManyRemoved));
    let with_all = Command::RemovePerson { chat: chat(1), person: user(3) };
    assert_eq!(model.run(user(1), with_all), Decision::Rejected(Problem::TooManyRemoved));
}

fn numbered(number: u32) -> UserId {
    let mut id = [9; ID_BYTES];
    id[..4].copy_from_slice(&number.to_be_bytes());
    UserId::from_bytes(id)
}

#[test]
fn a_user_is_removed_with_all_their_messages_in_one_act() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    for (who, id) in [(2, 1), (3, 1), (2, 2), (1, 1)] {
        model.run(user(who), post(1, id));
    }
    let remove = |person| Command::RemovePerson { chat: chat(1), person: user(person) };
    assert_eq!(model.run(user(2), remove(3)), Decision::Rejected(Problem::NotOwner));
    assert_eq!(model.run(user(1), remove(1)), Decision::Rejected(Problem::OnlyOthers));
    assert!(is_accepted(&model.run(user(1), remove(2))));
    assert_eq!((bodies(&model), model.chat(1).removed.clone()), (2, vec![user(2)]));
    assert_eq!(model.run(user(1), remove(2)), Decision::Accepted(vec![]), "once is enough");
    assert_eq!(model.run(user(2), post(1, 1)), Decision::Rejected(Problem::Removed));
    // messages of a user who was removed before are removed as well
    let before = Command::SetRemoved { chat: chat(1), person: user(3), is_removed: true };
    model.run(user(1), before);
    assert!(is_accepted(&model.run(user(1), remove(3))));
    assert_eq!((bodies(&model), model.chat(1).removed.clone()), (1, vec![user(2), user(3)]));
}

#[test]
fn all_newcomers_are_removed_in_one_act_as_far_as_there_is_room() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    for who in [1, 2, 3] {
        model.run(user(who), post(1, 1));
    }
    let newcomers = |people| Command::RemoveNewcomers { chat: chat(1), seconds: 600, people };
    let all = vec![user(1), user(2), user(2), user(4)];
    assert_eq!(model.run(user(2), newcomers(all.clone())), Decision::Rejected(Problem::NotOwner));
    assert_eq!(model.run(user(1), newcomers(vec![])), Decision::Accepted(vec![]));
    assert!(is_accepted(&model.run(user(1), newcomers(all))));
    assert_eq!((bodies(&model), model.chat(1).removed.clone()), (2, vec![user(2), user(4)]));
    let many = (0..2 * REMOVED_LIMIT as u32).map(numbered).collect::<Vec<_>>();
    assert!(is_accepted(&model.run(user(1), newcomers(many.clone()))));
    assert_eq!(model.chat(1).removed.len(), REMOVED_LIMIT);
    assert_eq!(model.run(user(1), newcomers(many)), Decision::Rejected(Problem::TooManyRemoved));
}

#[test]
fn users_take_back_all_their_messages_whether_removed_or_not() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    for (who, id) in [(2, 1), (2, 2), (3, 1)] {
        model.run(user(who), post(1, id));
    }
    let own = || Command::RemoveOwn { chat: chat(1) };
    model.run(user(1), Command::SetRemoved { chat: chat(1), person: user(2), is_removed: true });
    assert!(is_accepted(&model.run(user(2), own())));
    assert_eq!(model.run(user(2), own()), Decision::Accepted(vec![]));
    assert_eq!(bodies(&model), 1);
    assert!(is_accepted(&model.run(user(3), own())));
    assert_eq!((bodies(&model), model.chat(1).removed.len()), (0, 1));
    model.run(user(1), privately(2, 5));
    let of_two = Command::RemoveOwn { chat: chat(5) };
    assert_eq!(model.run(user(3), of_two), Decision::Rejected(Problem::NotAdmitted));
    assert_eq!(
        model.run(user(3), Command::RemoveOwn { chat: chat(9) }),
        Decision::Rejected(Problem::UnknownChat)
    );
}

#[test]
fn a_message_that_waited_longer_than_ids_are_known_is_not_posted_by_itself() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    model.run(user(1), post(1, 9));
    let first = model.events.last().unwrap().seq;
    let nearly = Span::seconds(LIFETIMES.message.millis() / 1_000 - 1);
    model.now += nearly.millis() - 1_000;
    model.propose(Proposal::Touch { users: vec![], chats: vec![(chat(1), Timestamp(model.now))] });
    assert_eq!(model.run(user(1), retry(1, 9, nearly)), Decision::Duplicate(first));
    model.propose(Proposal::Expire { users: vec![], chats: vec![], events: vec![(chat(1), first)] });
    assert_eq!(
        model.run(user(1), retry(1, 9, nearly)),
        Decision::Duplicate(first),
        "known while it may be asked"
    );
    model.now += 1_000;
    model.propose(Proposal::Expire { users: vec![], chats: vec![], events: vec![(chat(1), first)] });
    let late = retry(1, 9, LIFETIMES.message);
    assert_eq!(model.run(user(1), late), Decision::Rejected(Problem::WaitedTooLong));
    assert!(is_accepted(&model.run(user(1), retry(1, 8, nearly))), "what waited a little is taken");
}

#[test]
fn setting_the_clock_changes_no_age() {
    const DAY: i64 = 86_400_000;
    let begin = || {
        let mut model = Model { now: 10 * DAY as u64, ..Model::default() };
        let ana = Command::SetNickname { nickname: Nickname::parse("Ana").unwrap(), chats: vec![] };
        model.run(user(1), ana);
        model.run(user(1), start(1));
        model
    };
    for leap in [2 * DAY, -2 * DAY] {
        let mut model = begin();
        model.propose(Proposal::ClockSet(leap));
        model.now = Timestamp(model.now).moved(leap).0;
        let sweep = || Proposal::Expire { users: vec![user(1)], chats: vec![chat(1)], events: vec![] };
        assert_eq!(model.propose(sweep()), Decision::Accepted(vec![]), "{leap}");
        model.run(user(2), post(1, 1));
        assert_eq!(model.events.last().unwrap().at, Timestamp(model.now), "stamped as it is now");
        model.now += LIFETIMES.chat.millis();
        assert_eq!(model.run(user(2), post(1, 2)), Decision::Rejected(Problem::UnknownChat), "{leap}");
        model.propose(sweep());
        assert!(model.users.is_empty() && model.chats.is_empty(), "{leap}: no longer than else");
    }
}

#[test]
fn a_declined_invite_from_before_the_clock_was_set_back_does_not_hold_for_days() {
    let mut model = Model { now: 10 * 86_400_000, ..Model::default() };
    model.run(user(1), privately(2, 5));
    model.run(user(2), answer(5, Answer::Decline));
    model.propose(Proposal::ClockSet(-86_400_000));
    model.now -= 86_400_000;
    model.run(user(1), privately(2, 6));
    assert_eq!(model.invited(5), Some(user(2)));
}

#[test]
fn in_a_locked_chat_only_the_owner_writes() {
    let mut model = Model::default();
    model.run(user(1), start(1));
    model.run(user(2), post(1, 7));
    let first = model.events.last().unwrap().seq;
    let lock = |is_locked| Command::SetLock { chat: chat(1), is_locked };
    assert_eq!(model.run(user(2), lock(true)), Decision::Rejected(Problem::NotOwner));
    assert!(is_accepted(&model.run(user(1), lock(true))));
    assert_eq!(model.run(user(1), lock(true)), Decision::Accepted(vec![]));
    assert_eq!(model.run(user(2), post(1, 8)), Decision::Rejected(Problem::ChatLocked));
    assert_eq!(model.run(user(2), post(1, 7)), Decision::Duplicate(first), "what was stored is stored");
    let before = model.events.len();
    model.run(user(2), Command::SetNickname { nickname: Nickname::friendly(9), chats: vec![chat(1)] });
    assert_eq!(model.events.len(), before, "nor says anything by a name");
    assert!(is_accepted(&model.run(user(1), post(1, 9))));
    model.run(user(1), lock(false));
    assert!(is_accepted(&model.run(user(2), post(1, 8))));
}

#[test]
fn hidden_users_are_kept_as_long_as_the_user_who_hid_them() {
    let mut model = Model::default();
    let set = |person, is_hidden| Command::SetHidden { person: user(person), is_hidden };
    assert_eq!(model.run(user(1), set(1, true)), Decision::Rejected(Problem::OnlyOthers));
    model.run(user(1), set(2, true));
    model.run(user(1), set(3, true));
    assert_eq!(model.run(user(1), set(3, true)), Decision::Accepted(vec![]));
    model.run(user(1), set(2, false));
    assert_eq!(model.hidden, BTreeSet::from([(user(1), user(3))]));
    for number in 1..HIDDEN_LIMIT as u8 {
        assert!(is_accepted(&model.run(user(1), set(100 + number, true))));
    }
    assert_eq!(model.run(user(1), set(4, true)), Decision::Rejected(Problem::TooManyHidden));
    model.now += LIFETIMES.user.millis();
    let mut swept = model.clone();
    swept.propose(Proposal::Expire { users: vec![user(1)], chats: vec![], events: vec![] });
    assert!(swept.hidden.is_empty());
    // nor does a late sweep keep it: a user who returns starts without it
    assert!(is_accepted(&model.run(user(1), set(5, true))));
    assert_eq!(model.hidden, BTreeSet::from([(user(1), user(5))]));
}

proptest! {
    /// The same log always gives the same state, the events of every chat are chained without a gap, and no message
    /// is stored twice.
    #[test]
    fn any_log_gives_chained_chats_and_one_state(steps in vec((0_u8..4, 0_u8..3, 0_u8..20), 0..200)) {
        let mut models = [Model::default(), Model::default()];
        for model in &mut models {
            for (who, place, kind) in &steps {
                let command = match kind {
                    0 => start(*place),
                    1 => Command::SetNickname {
                        nickname: Nickname::friendly(u64::from(*place)),
                        chats: vec![chat(*place), chat(0)],
                    },
                    2 => Command::EditTitle { chat: chat(*place), title: Title::parse("Tea").unwrap() },
                    3 => privately(*place, 10 * who + place),
                    4 => answer(10 * place + who, Answer::Decline),
                    5 => {
                        model.propose(Proposal::UserLeft(user(*who)));
                        continue;
                    }
                    6 => Command::SetLock { chat: chat(*place), is_locked: who % 2 == 0 },
                    7 if who % 2 == 0 => Command::RemovePerson { chat: chat(*place), person: user(3) },
                    7 => Command::SetRemoved { chat: chat(*place), person: user(3), is_removed: true },
                    10 => Command::RemoveOwn { chat: chat(*place) },
                    8 | 9 => Command::RemoveMessage { chat: chat(*place), message: Seq((*who * 9).into()) },
                    client_id => post(*place, *client_id),
                };
                model.run(user(*who), command);
            }
        }
        let [model, again] = models;
        prop_assert_eq!(&model, &again);
        let mut newest: HashMap<ChatId, Seq> = HashMap::new();
        for event in &model.events {
            prop_assert_eq!(newest.insert(event.chat, event.seq).unwrap_or_default(), event.prev);
        }
        for (id, seq) in newest {
            prop_assert_eq!(model.chats[&id].value.seq, seq);
        }
        let is_message = |event: &&Event| event.kind.message_or_tombstone().is_some();
        let messages = model.events.iter().filter(is_message).count();
        prop_assert_eq!(messages, model.posted.len());
    }
}
