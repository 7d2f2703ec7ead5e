//! The rules: what follows from a command.

use std::collections::BTreeSet;

use crate::{
    Change, Chat, ChatId, ClientId, Command, Entry, Event, Message, Problem, Seq, Title, User, UserId, What,
};

/// What the rules need to know of the state before a command. Whoever holds the state answers, and may fail to.
pub trait State {
    /// Why an answer could not be given.
    type Error;

    /// The user, where one was ever stored.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn user(&self, id: UserId) -> Result<Option<User>, Self::Error>;

    /// The chat, where there is one.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn chat(&self, id: ChatId) -> Result<Option<Chat>, Self::Error>;

    /// Where this message of this author went, if it was posted before.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn posted(&self, chat: ChatId, author: UserId, client_id: ClientId) -> Result<Option<Seq>, Self::Error>;
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is done by storing these changes, all or none.
    Accepted(Vec<Change>),
    /// It had been done before, at this place; nothing changes, and the asker gets the first answer again.
    Repeated(Seq),
    /// It cannot be done; nothing changes.
    Refused(Problem),
}

/// Decides what an entry of the log does to the state before it. The same state and entry always give the same
/// verdict, on every machine.
///
/// # Errors
/// When the state cannot be read; nothing is decided then.
pub fn decide<S: State>(state: &S, entry: &Entry) -> Result<Verdict, S::Error> {
    let event = |chat, prev, what| Change::Chat(Event { chat, seq: entry.seq, prev, at: entry.at, what });
    Ok(match &entry.command {
        Command::SetNickname { nickname, chats } => {
            let User { id: user, nickname: from } = user_or_new(state, entry.by)?;
            let mut changes = vec![Change::User(User { id: user, nickname: nickname.clone() })];
            if from != *nickname {
                for id in chats.iter().collect::<BTreeSet<_>>() {
                    let Some(Chat { seq: prev, .. }) = state.chat(*id)? else { continue };
                    let (from, to) = (from.clone(), nickname.clone());
                    changes.push(event(*id, prev, What::Renamed { user, from, to }));
                }
            }
            Verdict::Accepted(changes)
        }
        Command::StartChat { chat, title, visibility } => {
            if state.chat(*chat)?.is_some() {
                return Ok(Verdict::Refused(Problem::ChatExists));
            }
            let User { nickname, .. } = user_or_new(state, entry.by)?;
            let title = title.clone().unwrap_or_else(|| Title::for_chat_of(&nickname));
            let started = What::Started { owner: entry.by, nickname, title, visibility: *visibility };
            Verdict::Accepted(vec![event(*chat, Seq::ZERO, started)])
        }
        Command::EditTitle { chat, title } => match owned(state, *chat, entry.by)? {
            Ok(chat) if chat.title == *title => Verdict::Accepted(Vec::new()),
            Ok(chat) => {
                let User { nickname, .. } = user_or_new(state, entry.by)?;
                let what = What::TitleEdited { nickname, title: title.clone() };
                Verdict::Accepted(vec![event(chat.id, chat.seq, what)])
            }
            Err(problem) => Verdict::Refused(problem),
        },
        Command::SetVisibility { chat, visibility } => match owned(state, *chat, entry.by)? {
            Ok(chat) if chat.visibility == *visibility => Verdict::Accepted(Vec::new()),
            Ok(chat) => {
                let User { nickname, .. } = user_or_new(state, entry.by)?;
                let what = What::VisibilitySet { nickname, visibility: *visibility };
                Verdict::Accepted(vec![event(chat.id, chat.seq, what)])
            }
            Err(problem) => Verdict::Refused(problem),
        },
        Command::Post { chat, client_id, body } => {
            let Some(Chat { seq: prev, .. }) = state.chat(*chat)? else {
                return Ok(Verdict::Refused(Problem::UnknownChat));
            };
            if let Some(first) = state.posted(*chat, entry.by, *client_id)? {
                return Ok(Verdict::Repeated(first));
            }
            let User { id: author, nickname } = user_or_new(state, entry.by)?;
            let message = Message { author, nickname, client_id: *client_id, body: body.clone() };
            Verdict::Accepted(vec![event(*chat, prev, What::Posted(message))])
        }
    })
}

/// The chat, for what only its owner may do.
fn owned<S: State>(state: &S, id: ChatId, by: UserId) -> Result<Result<Chat, Problem>, S::Error> {
    Ok(match state.chat(id)? {
        None => Err(Problem::UnknownChat),
        Some(chat) if chat.owner != by => Err(Problem::NotOwner),
        Some(chat) => Ok(chat),
    })
}

/// The user as stored, or as everybody is before they chose a nickname.
///
/// # Errors
/// When the state cannot be read.
pub fn user_or_new<S: State>(state: &S, id: UserId) -> Result<User, S::Error> {
    Ok(state.user(id)?.unwrap_or_else(|| User::new(id)))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, convert::Infallible};

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{Body, Nickname, Timestamp, Visibility, id::ID_BYTES};

    /// The state as plain maps: what the server keeps in its database.
    #[derive(Debug, Default, Clone, PartialEq)]
    struct Model {
        users: HashMap<UserId, User>,
        chats: HashMap<ChatId, Chat>,
        posted: HashMap<(ChatId, UserId, ClientId), Seq>,
        events: Vec<Event>,
        last: u64,
    }

    impl State for Model {
        type Error = Infallible;

        fn user(&self, id: UserId) -> Result<Option<User>, Infallible> {
            Ok(self.users.get(&id).cloned())
        }

        fn chat(&self, id: ChatId) -> Result<Option<Chat>, Infallible> {
            Ok(self.chats.get(&id).cloned())
        }

        fn posted(
            &self,
            chat: ChatId,
            author: UserId,
            client_id: ClientId,
        ) -> Result<Option<Seq>, Infallible> {
            Ok(self.posted.get(&(chat, author, client_id)).copied())
        }
    }

    impl Model {
        fn run(&mut self, by: UserId, command: Command) -> Verdict {
            self.last += 1;
            let entry = Entry { seq: Seq(self.last), at: Timestamp(self.last * 1000), by, command };
            let Ok(verdict) = decide(self, &entry);
            if let Verdict::Accepted(changes) = &verdict {
                changes.iter().for_each(|change| self.apply(change));
            }
            verdict
        }

        fn apply(&mut self, change: &Change) {
            match change {
                Change::User(user) => {
                    self.users.insert(user.id, user.clone());
                }
                Change::Chat(event) => {
                    let chat = event.apply_to(self.chats.get(&event.chat).cloned()).unwrap();
                    self.chats.insert(event.chat, chat);
                    if let What::Posted(message) = &event.what {
                        self.posted.insert((event.chat, message.author, message.client_id), event.seq);
                    }
                    self.events.push(event.clone());
                }
            }
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
        }
    }

    #[test]
    fn a_chat_without_a_title_is_named_after_its_owner() {
        let mut model = Model::default();
        model.run(user(1), Command::SetNickname { nickname: Nickname::parse("Ana").unwrap(), chats: vec![] });
        model.run(user(1), start(1));
        assert_eq!(model.chats[&chat(1)].title.as_str(), "Ana’s chat");
        assert_eq!(model.chats[&chat(1)].owner, user(1));
    }

    #[test]
    fn a_chat_is_started_once() {
        let mut model = Model::default();
        model.run(user(1), start(1));
        assert_eq!(model.run(user(2), start(1)), Verdict::Refused(Problem::ChatExists));
        assert_eq!(model.chats[&chat(1)].owner, user(1));
    }

    #[test]
    fn nothing_is_posted_where_no_chat_is() {
        assert_eq!(Model::default().run(user(1), post(1, 1)), Verdict::Refused(Problem::UnknownChat));
    }

    #[test]
    fn a_retry_gets_the_first_answer_and_changes_nothing() {
        let mut model = Model::default();
        model.run(user(1), start(1));
        model.run(user(1), post(1, 9));
        let Some(Event { seq: first, .. }) = model.events.last().cloned() else { panic!("no event") };
        let before = model.events.clone();
        assert_eq!(model.run(user(1), post(1, 9)), Verdict::Repeated(first));
        assert_eq!(model.events, before);
        assert!(
            matches!(model.run(user(2), post(1, 9)), Verdict::Accepted(_)),
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
        let names = model.events.iter().filter_map(|event| match &event.what {
            What::Posted(message) => Some(message.nickname.as_str()),
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
    fn title_and_visibility_are_the_owners() {
        let mut model = Model::default();
        model.run(user(1), start(1));
        let title = |text: &str| Command::EditTitle { chat: chat(1), title: Title::parse(text).unwrap() };
        let private = |number| Command::SetVisibility { chat: chat(number), visibility: Visibility::Private };
        assert_eq!(model.run(user(2), title("Mine")), Verdict::Refused(Problem::NotOwner));
        assert_eq!(model.run(user(2), private(1)), Verdict::Refused(Problem::NotOwner));
        assert_eq!(model.run(user(1), private(2)), Verdict::Refused(Problem::UnknownChat));
        model.run(user(1), title("Tea"));
        model.run(user(1), private(1));
        let Chat { title: now, visibility, seq, .. } = &model.chats[&chat(1)];
        assert_eq!((now.as_str(), *visibility), ("Tea", Visibility::Private));
        assert_eq!(model.events.last().unwrap().seq, *seq);
        assert_eq!(
            model.run(user(1), title("Tea")),
            Verdict::Accepted(vec![]),
            "nothing changes, nothing is noted"
        );
        assert_eq!(model.run(user(1), private(1)), Verdict::Accepted(vec![]));
    }

    proptest! {
        /// The same log always gives the same state, every chat's events are chained without a hole, and no message
        /// is there twice.
        #[test]
        fn any_log_gives_chained_chats_and_one_state(steps in vec((0_u8..4, 0_u8..3, 0_u8..12), 0..200)) {
            let mut models = [Model::default(), Model::default()];
            for model in &mut models {
                for (who, place, what) in &steps {
                    let command = match what {
                        0 => start(*place),
                        1 => Command::SetNickname {
                            nickname: Nickname::friendly(u64::from(*place)),
                            chats: vec![chat(*place), chat(0)],
                        },
                        2 => Command::EditTitle { chat: chat(*place), title: Title::parse("Tea").unwrap() },
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
                prop_assert_eq!(model.chats[&id].seq, seq);
            }
            let messages = model.events.iter().filter(|event| matches!(event.what, What::Posted(_))).count();
            prop_assert_eq!(messages, model.posted.len());
        }
    }
}
