//! The log of a cluster that one version writes can be read by the next. `log_formats` contains the messages of each format in
//! [`FORMATS`], as they are in the stream, each after its size as 32 bits, little endian.
//!
//! A format that says something else adds an entry to [`FORMATS`]. Then `cargo test -p engine --test log_formats -- --ignored`
//! makes its fixture. Those of versions that were released never change.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{fs, path::PathBuf};

use domain::{
    Alt, Answer, Attached, Body, ChatId, ClientId, Command, Emoji, Epoch, Lifetimes, LogSettings, Mark,
    MarkKind, Marks, Nickname, Picture, PictureId, Proposal, Restored, Rules, Seq, Timestamp, Title, UserId,
    Visibility, Wording, id::ID_BYTES,
};
use engine::command_log::{
    envelope::{self, Content, Decoded, Envelope, FORMAT, Founding, OLDEST_FORMAT},
    transport::Incarnation,
};

const EPOCH: Epoch = Epoch::from_bytes([9; ID_BYTES]);
const FROM: Incarnation = Incarnation::from_bytes([5; ID_BYTES]);
const CHAT: ChatId = ChatId::from_bytes([1; ID_BYTES]);

/// The formats of the log, oldest first, each with what it added: every kind of content, of proposal and of command.
const FORMATS: &[(u8, Contents)] = &[(1, in_format_1), (2, in_format_2)];

/// Returns what the messages of a format say.
type Contents = fn() -> Vec<Content>;

const fn user(number: u8) -> UserId {
    UserId::from_bytes([number; ID_BYTES])
}

/// Returns what messages of format 1 say.
fn in_format_1() -> Vec<Content> {
    let title = || Title::parse("Tea at five").unwrap();
    let client_id = ClientId::from_bytes([4; ID_BYTES]);
    let body = Body::parse("Nº 1 👋🏽").unwrap();
    let of_ana = [
        Command::SetNickname { nickname: Nickname::parse("Ana").unwrap(), chats: vec![CHAT] },
        Command::StartChat { chat: CHAT, title: Some(title()), visibility: Visibility::Public },
        Command::StartChat { chat: CHAT, title: None, visibility: Visibility::Private },
        Command::EditTitle { chat: CHAT, title: title() },
        Command::SetVisibility { chat: CHAT, visibility: Visibility::Private },
        Command::Post { chat: CHAT, client_id, body, waited_millis: 1_500 },
        Command::ChatPrivately { with: user(2), chat: CHAT, is_there: true, is_near: false },
        Command::AnswerInvite { chat: CHAT, answer: Answer::Accept },
        Command::AnswerInvite { chat: CHAT, answer: Answer::Decline },
        Command::SetInvites { are_taken: false },
        Command::RemoveMessage { chat: CHAT, message: Seq(300) },
        Command::SetRemoved { chat: CHAT, person: user(2), is_removed: true },
        Command::RemovePerson { chat: CHAT, person: user(2) },
        Command::RemoveNewcomers { chat: CHAT, seconds: 600, people: vec![user(2), user(3)] },
        Command::RemoveOwn { chat: CHAT },
        Command::SetLock { chat: CHAT, is_locked: true },
        Command::SetHidden { person: user(2), is_hidden: true },
    ];
    let of_ana = of_ana.map(|command| Proposal::Command { by: user(1), command });
    let others = vec![
        Proposal::Touch { users: vec![(user(1), Timestamp(1_900))], chats: vec![(CHAT, Timestamp(1_901))] },
        Proposal::Expire { users: vec![user(1)], chats: vec![CHAT], events: vec![(CHAT, Seq(301))] },
        Proposal::UserLeft(user(1)),
        Proposal::End { chat: CHAT, through: Seq(302) },
        Proposal::ClockSet(-1_000),
    ];
    let settings = LogSettings { lifetimes: Lifetimes::default(), rules: Rules(1) };
    let founded = |base| Founding { settings, seq: Seq(8), at: Timestamp(1_900), base, clock_offset: -1 };
    vec![
        Content::Founded(founded(None)),
        Content::Founded(founded(Some(7))),
        Content::Proposals(of_ana.into()),
        Content::Proposals(others),
        Content::Proposals(Vec::new()),
        Content::Rules(Rules(1)),
    ]
}

/// Returns what messages of format 2 add: what is said with more than words, changed and reacted to.
fn in_format_2() -> Vec<Content> {
    let body = Body::parse("*Tea* for @Bea").unwrap();
    let marks = [
        (MarkKind::Emphasis, 0, 5),
        (MarkKind::Hidden, 0, 1),
        (MarkKind::Hidden, 4, 5),
        (MarkKind::Mention, 10, 14),
    ];
    let marks = marks.map(|(kind, from, to)| Mark(kind, from, to)).to_vec();
    let words = || Wording {
        body: body.clone(),
        marks: Marks::checked(&body, marks.clone()).unwrap(),
        mentions: vec![user(2)],
    };
    let id = PictureId::from_bytes([6; ID_BYTES]);
    let alt = Alt::parse("A cup").unwrap();
    let picture =
        Picture { id, width: 4_000, height: 3_000, small: (480, 360), bytes: 300_000, alt: alt.clone() };
    let said = Restored { words: words(), reply_to: Some(Seq(300)), is_action: true, alts: vec![(id, alt)] };
    let of_ana = vec![
        Command::Say {
            chat: CHAT,
            client_id: ClientId::from_bytes([4; ID_BYTES]),
            words: words(),
            reply_to: Some(Seq(300)),
            pictures: vec![Attached { picture, uploaded_at: Timestamp(1_902) }],
            is_action: true,
            waited_millis: 1_500,
        },
        Command::EditMessage { chat: CHAT, message: Seq(303), words: words() },
        Command::RestoreMessage { chat: CHAT, message: Seq(303), removal: Seq(305), said: Box::new(said) },
        Command::React {
            chat: CHAT,
            message: Seq(303),
            emoji: Emoji::try_from("👋🏽".to_owned()).unwrap(),
            is_on: true,
        },
    ];
    let of_ana = of_ana.into_iter().map(|command| Proposal::Command { by: user(1), command });
    vec![Content::Proposals(of_ana.collect())]
}

/// Returns the messages that the fixture of a format contains.
fn messages(contents: Vec<Content>) -> Vec<Envelope> {
    let numbered = (1..).zip(contents);
    numbered
        .map(|(number, content)| Envelope { from: FROM, number, uptime_millis: number * 1_000, content })
        .collect()
}

/// Returns the file with the fixture of a format.
fn fixture(format: u8) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/log_formats/format-{format}.log"))
}

#[test]
fn every_earlier_format_is_read() {
    for (format, contents) in FORMATS {
        let file = fs::read(fixture(*format)).unwrap();
        let mut rest = file.as_slice();
        let mut read = Vec::new();
        while let Some((size, after)) = rest.split_first_chunk() {
            let (message, after) = after.split_at(u32::from_le_bytes(*size) as usize);
            assert_eq!(message[4], *format);
            let Ok(Decoded::Envelope(envelope)) = envelope::decode(EPOCH, message) else {
                panic!("{message:?}")
            };
            read.push(envelope);
            rest = after;
        }
        assert_eq!(read, messages(contents()), "format {format}");
    }
}

#[test]
fn there_is_a_fixture_of_every_format() {
    let formats: Vec<u8> = FORMATS.iter().map(|(format, _)| *format).collect();
    assert_eq!(formats, (OLDEST_FORMAT..=FORMAT).collect::<Vec<_>>());
}

#[test]
#[ignore = "makes the fixture of the newest format"]
fn make_a_fixture() {
    let (format, contents) = FORMATS.last().unwrap();
    let mut file = Vec::new();
    for envelope in messages(contents()) {
        let message = envelope::encode(EPOCH, &envelope).unwrap();
        file.extend(u32::try_from(message.len()).unwrap().to_le_bytes());
        file.extend(message);
    }
    fs::write(fixture(*format), file).unwrap();
}
