//! What rules 1 decide, to the byte: the nodes of a cluster compare what they decided, and an older one has to read what
//! a newer one stored while both decide by these rules.

use std::fmt::Write;

use crate::{
    Answer, Body, ChatId, ClientId, Command, Decision, Nickname, Proposal, Rules, Seq, Timestamp, Title,
    UserId, Visibility,
    id::ID_BYTES,
    model::{LIFETIMES, Model},
};

/// What the last Qchat that knew rules 1 alone decided: the changes as they are stored, in hexadecimal digits.
const DECIDED: &str = include_str!("../../../fixtures/rules_1.txt");

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; ID_BYTES])
}

fn chat(number: u8) -> ChatId {
    ChatId::from_bytes([number; ID_BYTES])
}

fn post(number: u8, text: &str) -> Command {
    Command::Post {
        chat: chat(1),
        client_id: ClientId::from_bytes([number; ID_BYTES]),
        body: Body::parse(text).unwrap(),
        waited_millis: number.into(),
    }
}

fn name(name: &str, chats: Vec<ChatId>) -> Command {
    Command::SetNickname { nickname: Nickname::parse(name).unwrap(), chats }
}

/// Returns commands of all kinds that rules 1 know, and what is decided of them beside commands.
fn steps() -> Vec<Proposal> {
    let title = |title| Title::parse(title).unwrap();
    let set_removed =
        |person, is_removed| Command::SetRemoved { chat: chat(1), person: user(person), is_removed };
    let privately =
        |with, is_there| Command::ChatPrivately { with: user(with), chat: chat(2), is_there, is_near: true };
    let commands = [
        (1, name("Ana", Vec::new())),
        (
            1,
            Command::StartChat {
                chat: chat(1),
                title: Some(title("Tea & cake")),
                visibility: Visibility::Public,
            },
        ),
        (1, Command::StartChat { chat: chat(3), title: None, visibility: Visibility::Private }),
        (1, name("Anna", vec![chat(1), chat(3), chat(9)])),
        (2, post(1, "hello")),
        (2, post(1, "hello again")),
        (3, post(1, "**strong** `code` \u{1f469}\u{200d}\u{1f467}\n> quote\n@Ana https://a.example")),
        (2, post(2, "/ me")),
        (4, post(3, "x")),
        (1, Command::EditTitle { chat: chat(1), title: title("Tea at six") }),
        (1, Command::SetVisibility { chat: chat(1), visibility: Visibility::Private }),
        (1, Command::RemoveMessage { chat: chat(1), message: Seq(5) }),
        (1, Command::RemoveMessage { chat: chat(1), message: Seq(99) }),
        (3, Command::RemoveMessage { chat: chat(1), message: Seq(7) }),
        (1, set_removed(3, true)),
        (3, post(7, "not any more")),
        (1, set_removed(3, false)),
        (1, Command::SetLock { chat: chat(1), is_locked: true }),
        (2, post(8, "locked")),
        (1, Command::SetLock { chat: chat(1), is_locked: false }),
        (2, Command::RemoveOwn { chat: chat(1) }),
        (1, Command::RemovePerson { chat: chat(1), person: user(4) }),
        (1, Command::RemoveNewcomers { chat: chat(1), seconds: 60, people: vec![user(5), user(1), user(6)] }),
        (1, privately(2, false)),
        (2, Command::AnswerInvite { chat: chat(2), answer: Answer::Decline }),
        (2, privately(1, false)),
        (1, Command::AnswerInvite { chat: chat(2), answer: Answer::Accept }),
        (1, privately(2, false)),
        (1, Command::SetHidden { person: user(2), is_hidden: true }),
        (1, Command::SetHidden { person: user(2), is_hidden: false }),
        (2, Command::SetInvites { are_taken: false }),
        (2, Command::SetInvites { are_taken: true }),
    ];
    let commands = commands.into_iter().map(|(by, command)| Proposal::Command { by: user(by), command });
    let touch = Proposal::Touch {
        users: vec![(user(1), Timestamp(1_030_000))],
        chats: vec![(chat(1), Timestamp(1_030_000)), (chat(9), Timestamp(1))],
    };
    let rest = [
        Proposal::UserLeft(user(1)),
        touch,
        Proposal::ClockSet(-5),
        Proposal::End { chat: chat(3), through: Seq(3) },
        Proposal::End { chat: chat(3), through: Seq(999) },
        Proposal::Expire {
            users: vec![user(1), user(2)],
            chats: vec![chat(1), chat(2)],
            events: vec![(chat(1), Seq(999))],
        },
        Proposal::End { chat: chat(1), through: Seq(999) },
    ];
    commands.chain(rest).collect()
}

/// Returns what is decided, a line for each step.
fn decided() -> String {
    let mut model = Model { now: 1_000_000, rules: Rules(1), ..Model::default() };
    let mut lines = String::new();
    for proposal in steps() {
        model.now +=
            if matches!(proposal, Proposal::Expire { .. }) { LIFETIMES.chat.millis() } else { 1_000 };
        match model.propose(proposal) {
            Decision::Accepted(changes) => {
                for byte in postcard::to_stdvec(&changes).unwrap() {
                    write!(lines, "{byte:02x}").unwrap();
                }
            }
            Decision::Duplicate(first) => write!(lines, "duplicate {first}").unwrap(),
            Decision::Rejected(problem) => lines.push_str(problem.code()),
        }
        lines.push('\n');
    }
    lines
}

#[test]
fn rules_1_decide_what_they_always_did() {
    let decided = decided();
    for (step, (now, before)) in decided.lines().zip(DECIDED.lines()).enumerate() {
        assert_eq!(now, before, "step {step}");
    }
    assert_eq!(decided.lines().count(), DECIDED.lines().count());
}
