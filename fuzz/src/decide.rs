//! The fuzz target of the rules, on arbitrary logs: the same log gives the same state, the events of a chat are chained
//! without a gap, and no user does what they may not.

use std::collections::HashMap;

use domain::{
    Alt, Answer, Attached, Body, Change, ChatId, ClientId, Command, Decision, Emoji, Event, EventKind, Mark,
    MarkKind, Marks, Nickname, Picture, PictureId, Problem, Proposal, Restored, Seq, Timestamp, Title,
    UserId, Visibility, Wording, chat::REMOVED_LIMIT, id::ID_BYTES, model::Model, reaction::REACTIONS_LIMIT,
    user::HIDDEN_LIMIT,
};

/// The maximum number of steps of one input: each takes longer the longer the log is.
const STEPS: usize = 400;

/// Returns one of a few ids, so that the same users and chats occur together.
fn id(number: u8, of: u8) -> [u8; ID_BYTES] {
    [number % of; ID_BYTES]
}

fn user(number: u8) -> UserId {
    UserId::from_bytes(id(number, 5))
}

fn chat(number: u8) -> ChatId {
    ChatId::from_bytes(id(number, 4))
}

/// Returns words with marks and mentions, which fit the text or not.
fn words(with: u8) -> Option<Wording> {
    let body = Body::parse(&format!("@{with}")).ok()?;
    let marks = Marks::checked(&body, vec![Mark(MarkKind::Mention, 0, 2)]).unwrap_or_default();
    let body = if with.is_multiple_of(3) { Body::parse("x").ok()? } else { body };
    Some(Wording { body, marks, mentions: vec![user(with); usize::from(with % 2)] })
}

/// Returns a picture that was uploaded some time ago.
fn attached(number: u8, now: u64) -> Option<Attached> {
    let (id, alt) = (PictureId::from_bytes(id(number, 50)), Alt::parse("A cat").ok()?);
    let picture = Picture { id, width: 2, height: 1, small: (2, 1), bytes: 9, alt };
    Some(Attached { picture, uploaded_at: Timestamp(now.saturating_sub(u64::from(number) * 5_000)) })
}

/// Returns the next proposal: the four bytes choose the kind, the user, the chat and an argument. `None` if they make
/// no proposal.
fn proposal(step: &[u8; 4], model: &Model) -> Option<Proposal> {
    let [kind, who, place, with] = *step;
    let (by, at) = (user(who), chat(place));
    let message = || Seq(u64::from(with) % (model.last + 2));
    let command = match kind % 16 {
        0 => Command::StartChat { chat: at, title: None, visibility: Visibility::Public },
        1 => Command::SetNickname {
            nickname: Nickname::friendly(with.into()),
            chats: vec![at, chat(with), at],
        },
        2 => Command::EditTitle { chat: at, title: Title::for_chat_of(&Nickname::friendly(with.into())) },
        3 => {
            let visibility = if with % 2 == 0 { Visibility::Public } else { Visibility::Private };
            Command::SetVisibility { chat: at, visibility }
        }
        4 => Command::ChatPrivately {
            with: user(with),
            chat: at,
            is_there: kind > 127,
            is_near: kind % 2 == 0,
        },
        5 => {
            let answer = if with % 2 == 0 { Answer::Accept } else { Answer::Decline };
            Command::AnswerInvite { chat: at, answer }
        }
        6 => Command::RemoveMessage { chat: at, message: message() },
        7 if kind > 191 => Command::RemoveNewcomers {
            chat: at,
            seconds: with.into(),
            people: vec![user(with), user(with.wrapping_add(1)), user(with), by],
        },
        7 if kind < 64 => Command::RemovePerson { chat: at, person: user(with) },
        15 if kind > 191 => Command::RemoveOwn { chat: at },
        14 if kind > 191 => {
            let by = (i64::from(with) - 128) * 60_000;
            return Some(Proposal::ClockSet(by));
        }
        7 => Command::SetRemoved { chat: at, person: user(with), is_removed: kind > 127 },
        8 if kind > 191 => Command::SetInvites { are_taken: with % 2 == 0 },
        8 => Command::SetLock { chat: at, is_locked: with % 2 == 0 },
        9 => Command::SetHidden { person: user(with), is_hidden: kind > 127 },
        10 => return Some(Proposal::UserLeft(by)),
        11 => {
            let at_time = Timestamp(model.now.saturating_sub(u64::from(with) * 1_000));
            return Some(Proposal::Touch { users: vec![(by, at_time)], chats: vec![(at, at_time)] });
        }
        12 => {
            let events = vec![(at, message())];
            return Some(Proposal::Expire {
                users: vec![by, user(with)],
                chats: vec![at, chat(with)],
                events,
            });
        }
        13 if who > 250 => return Some(Proposal::End { chat: at, through: message() }),
        13 if kind > 63 => Command::Say {
            chat: at,
            client_id: ClientId::from_bytes(id(with, 50)),
            words: words(with)?,
            reply_to: (kind > 127).then(message),
            pictures: (kind > 191).then(|| attached(with, model.now)).flatten().into_iter().collect(),
            is_action: with % 2 == 0,
            waited_millis: 0,
        },
        14 if kind > 127 => {
            let removal = || Seq(model.last.saturating_sub(u64::from(with) % 4));
            let alts = vec![(attached(with, model.now)?.picture.id, Alt::parse("").ok()?)];
            let alts = if with % 2 == 0 { alts } else { Vec::new() };
            let said = Restored { words: words(with)?, reply_to: Some(message()), is_action: false, alts };
            Command::RestoreMessage { chat: at, message: message(), removal: removal(), said: Box::new(said) }
        }
        14 if kind > 63 => Command::EditMessage { chat: at, message: message(), words: words(with)? },
        15 if kind > 63 => {
            let emoji = Emoji::try_from(char::from(b'a' + with % 26).to_string()).ok()?;
            Command::React { chat: at, message: message(), emoji, is_on: kind > 127 }
        }
        _ => {
            let body = Body::parse(&format!("{with}")).ok()?;
            Command::Post { chat: at, client_id: ClientId::from_bytes(id(with, 50)), body, waited_millis: 0 }
        }
    };
    Some(Proposal::Command { by, command })
}

/// Decides a log of proposals, twice.
pub fn decide(bytes: &[u8]) {
    let mut models = [Model::default(), Model::default()];
    for step in bytes.as_chunks::<4>().0.iter().take(STEPS) {
        let decisions = models.each_mut().map(|model| {
            // Time passes in small and large steps.
            model.now += u64::from(step[3]) * if step[0] % 16 == 12 { 20_000 } else { 100 };
            let proposal = proposal(step, model)?;
            let before = model.clone();
            let decision = model.propose(proposal.clone());
            check(&before, &proposal, &decision);
            Some(decision)
        });
        assert_eq!(decisions[0], decisions[1], "the same log is decided in the same way");
    }
    let [model, again] = models;
    assert_eq!(model, again, "the same log gives the same state");
    check_state(&model);
}

/// Checks what has to hold for every decision.
fn check(before: &Model, proposal: &Proposal, decision: &Decision) {
    assert_ne!(*decision, Decision::Rejected(Problem::NotStored), "rules know nothing of storage");
    let Proposal::Command { by, command } = proposal else { return };
    let of = match command {
        Command::Post { chat, .. }
        | Command::Say { chat, .. }
        | Command::EditMessage { chat, .. }
        | Command::RestoreMessage { chat, .. }
        | Command::React { chat, .. }
        | Command::EditTitle { chat, .. }
        | Command::SetVisibility { chat, .. }
        | Command::RemoveMessage { chat, .. }
        | Command::SetRemoved { chat, .. }
        | Command::RemovePerson { chat, .. }
        | Command::RemoveNewcomers { chat, .. }
        | Command::SetLock { chat, .. } => before.chats.get(chat),
        _ => None,
    };
    let Some(chat) = of.map(|kept| &kept.value) else { return };
    let Decision::Accepted(changes) = decision else { return };
    // Users without access can remove their own messages, and do nothing else.
    let is_own = matches!(command, Command::RemoveMessage { .. });
    assert!(is_own || chat.check_access(*by).is_ok(), "a user without access changes nothing");
    for change in changes {
        let is_owner = chat.owner == *by;
        if let Change::Reacted(reaction) = change {
            assert_eq!(reaction.by.id, *by, "a user reacts as another");
            assert!(is_owner || !chat.is_locked, "a user other than the owner reacts in a locked chat");
        }
        let Change::Chat(Event { kind, .. }) = change else { continue };
        if let Some(message) = kind.amends() {
            let event = before.events.iter().find(|event| event.chat == chat.id && event.seq == message);
            let author = event.and_then(|event| event.kind.message_or_tombstone()).map(|said| said.author);
            assert_eq!(author, Some(*by), "a user changes what another said");
            assert!(is_owner || !chat.is_locked, "a user other than the owner edits in a locked chat");
        }
        if let Some(message) = kind.message() {
            assert_eq!(message.author, *by, "a user posts as another");
            assert!(is_owner || !chat.is_locked, "a user other than the owner posts in a locked chat");
        }
        match kind {
            EventKind::TitleEdited { .. }
            | EventKind::VisibilitySet { .. }
            | EventKind::LockSet { .. }
            | EventKind::PersonRemoved { .. }
            | EventKind::PersonAdmitted { .. }
            | EventKind::PeopleRemoved { .. } => assert!(is_owner, "{kind:?} by a user who is not the owner"),
            _ => {}
        }
    }
}

/// Checks what has to hold for every state.
fn check_state(model: &Model) {
    let mut newest: HashMap<ChatId, Seq> = HashMap::new();
    for event in &model.events {
        if let Some(before) = newest.insert(event.chat, event.seq) {
            let starts_over = matches!(event.kind, EventKind::Started { .. });
            assert!(event.prev == before || starts_over, "a hole before {}", event.seq);
        }
    }
    for (id, kept) in &model.chats {
        let chat = &kept.value;
        assert!(chat.removed.len() <= REMOVED_LIMIT && !chat.removed.contains(&chat.owner));
        assert!(newest.get(id).is_none_or(|seq| *seq == chat.seq), "a chat is as new as its newest event");
    }
    let said = |chat: ChatId, seq: Seq| {
        let event = model.events.iter().find(|event| event.chat == chat && event.seq == seq);
        event.and_then(|event| event.kind.message())
    };
    for (user, chat, seq) in &model.mentions {
        assert!(
            said(*chat, *seq).is_some_and(|message| message.meant().contains(user)),
            "nobody else is meant"
        );
    }
    for ((chat, seq), tally) in &model.tallies {
        assert!(said(*chat, *seq).is_some() && tally.of.len() <= REACTIONS_LIMIT);
        for count in &tally.of {
            let of_it = |(of, message, _, emoji): &&(ChatId, Seq, UserId, Emoji)| {
                (of, message, emoji) == (chat, seq, &count.emoji)
            };
            assert_eq!(model.reactions.iter().filter(of_it).count(), count.count as usize);
        }
    }
    for ((chat, seq, picture), record) in &model.pictures {
        let is_shown = said(*chat, *seq)
            .is_some_and(|message| message.pictures.iter().any(|shown| shown.id == *picture));
        assert_eq!(record.removed_at.is_none(), is_shown, "a picture is removed with its message");
    }
    for message in model.events.iter().filter_map(|event| event.kind.message()) {
        assert!(!message.body.is_empty() || !message.pictures.is_empty(), "a message without anything in it");
        let mentioned = message.marks.iter().filter(|mark| mark.0 == MarkKind::Mention).count();
        assert_eq!(mentioned, message.mentions.len());
    }
    for (from, person) in &model.hidden {
        assert_ne!(from, person);
        assert!(model.hidden.iter().filter(|(other, _)| other == from).count() <= HIDDEN_LIMIT);
    }
    for ((chat, author, client_id), seq) in &model.posted {
        let found = model.events.iter().find(|event| event.chat == *chat && event.seq == *seq);
        let said = found.and_then(|event| event.kind.message_or_tombstone());
        let said = said.map(|message| (message.author, message.client_id));
        assert_eq!(said, Some((*author, *client_id)), "what was posted at {seq} is there");
    }
}
