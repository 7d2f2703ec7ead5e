//! Preparing drafts: fills in what a command says beside what its user typed.

use std::ops::ControlFlow;

use domain::{
    Chat, ChatId, Command, Draft, Emoji, EventKind, Problem, Restored, Roster, Rules, Seq, UserId, Wording,
    draft::DraftText,
};

use super::{Engine, not_readable};
use crate::{
    formatting,
    mentions::Names,
    storage::{BATCH_BYTES, Snapshot, StoreError},
};

/// How many of the newest events of a chat are looked at for authors who may be mentioned.
const EVENTS_LOOKED_AT: usize = 50;

/// Where a text is to be, by which is known whom it may mention.
struct Place {
    by: UserId,
    chat: ChatId,
    /// The message that is to be edited. `None` for another message.
    edited: Option<Seq>,
}

impl Engine {
    /// Makes a command of a draft by a user: marks and mentions of texts, pictures of tickets and emoji of reactions are filled in. As
    /// long as the nodes of a cluster decide by older rules, a message that is a text alone is posted as these know it.
    ///
    /// # Errors
    /// [`Problem::NotYet`] if the rules in force do not know what is asked for, [`Problem::TooManyPictures`],
    /// [`Problem::PictureExpired`] or [`Problem::PicturesOff`] for pictures that cannot be posted,
    /// [`Problem::NotAnEmoji`] for a reaction that is none, and [`Problem::NotReadable`] if the database cannot be read.
    pub fn prepare(&self, by: UserId, draft: Draft) -> Result<Command, Problem> {
        let draft = match (draft, self.store.settings().rules >= Rules::OF_MESSAGES) {
            (Draft::Command(command), _) => return Ok(command),
            (draft, true) => draft,
            (draft, false) => return plain_post(draft).ok_or(Problem::NotYet),
        };
        Ok(match draft {
            Draft::Command(command) => command,
            Draft::Say { chat, client_id, text, reply_to, pictures, is_action, waited_millis } => {
                let words = self.words(text, Place { by, chat, edited: None })?;
                let pictures = self.attached(by, chat, pictures)?;
                Command::Say { chat, client_id, words, reply_to, pictures, is_action, waited_millis }
            }
            Draft::EditMessage { chat, message, text } => {
                let words = self.words(text, Place { by, chat, edited: Some(message) })?;
                Command::EditMessage { chat, message, words }
            }
            Draft::RestoreMessage { chat, message, removal, text, reply_to, is_action, alts } => {
                let words = self.words(text, Place { by, chat, edited: None })?;
                let said = Box::new(Restored { words, reply_to, is_action, alts });
                Command::RestoreMessage { chat, message, removal, said }
            }
            Draft::React { chat, message, emoji, is_on } => {
                let emoji = emoji_of(&emoji)?;
                Command::React { chat, message, emoji, is_on }
            }
        })
    }

    /// Returns the words of a text: formatted, and with the users that it mentions. Nobody is mentioned in a chat that the author
    /// may not enter, which is refused when it is decided.
    ///
    /// # Errors
    /// [`Problem::NotReadable`] if the database cannot be read.
    fn words(&self, DraftText { body, mentions }: DraftText, place: Place) -> Result<Wording, Problem> {
        let names = if body.as_str().contains('@') {
            let view = self.read()?;
            match self.enter(&view, place.chat, place.by) {
                Ok(chat) => {
                    self.names(&view, &chat, mentions, &place).map_err(|error| not_readable(&error))?
                }
                Err(_) => Names::default(),
            }
        } else {
            Names::default()
        };
        let mentions = names.mentions(body.as_str());
        Ok(formatting::words(body, &mentions))
    }

    /// Returns whom a text may mention: the users who were chosen, as far as they are or were part of the chat, by their nicknames and
    /// by earlier ones in the newest events; and then, unless the choice was nobody, those whom it mentioned before it was edited, the
    /// members, and the authors of the newest messages. Of users with one name, the first counts.
    fn names(
        &self,
        view: &Snapshot,
        chat: &Chat,
        chosen: Option<Vec<UserId>>,
        place: &Place,
    ) -> Result<Names, StoreError> {
        let mut names = Names::default();
        let roster: Roster = self.presence.roster(chat.id);
        let mut chosen_here = Vec::new();
        for user in chosen.iter().flatten() {
            let here = roster.members.iter().find(|member| member.id == *user);
            match here {
                Some(member) => names.add(*user, member.nickname.as_str()),
                None if self.has_met(view, chat, *user)? => {
                    names.add(*user, view.user(*user)?.nickname.as_str());
                }
                None => continue,
            }
            chosen_here.push(*user);
        }
        if chosen.is_some_and(|chosen| chosen.is_empty()) {
            return Ok(names);
        }
        let (mut looked_at, mut bytes, mut authors) = (0, 0, Vec::new());
        view.scan_events_before(chat.id, Seq(u64::MAX), |event, size| {
            if looked_at == EVENTS_LOOKED_AT || bytes >= BATCH_BYTES {
                return ControlFlow::Break(());
            }
            (looked_at, bytes) = (looked_at + 1, bytes + size);
            let named = match &event.kind {
                EventKind::Renamed { user, from, .. } if chosen_here.contains(user) => Some((*user, from)),
                kind => kind.message_or_tombstone().map(|message| (message.author, message.nickname)),
            };
            match named {
                // The text may have a name from before a user was renamed: it waited, or was removed and is restored. They are
                // meant, though somebody else may have that name by now.
                Some((user, nickname)) if chosen_here.contains(&user) => names.add(user, nickname.as_str()),
                other => authors.extend(other.map(|(author, nickname)| (author, nickname.clone()))),
            }
            ControlFlow::Continue(())
        })?;
        if let Some(message) = place.edited
            && let Some(event) = view.event(chat.id, message)?
            && let Some(said) = event.kind.message().filter(|said| said.author == place.by)
        {
            names.add_mentioned(said);
        }
        for member in &roster.members {
            names.add(member.id, member.nickname.as_str());
        }
        authors.iter().for_each(|(author, nickname)| names.add(*author, nickname.as_str()));
        Ok(names)
    }
}

/// Returns the command that posts a message by the oldest rules. `None` if it is more than a text, or no message.
fn plain_post(draft: Draft) -> Option<Command> {
    let Draft::Say { chat, client_id, text, reply_to, pictures, is_action, waited_millis } = draft else {
        return None;
    };
    let DraftText { body, mentions } = text;
    let mentions_nobody = mentions.is_none_or(|mentions| mentions.is_empty());
    let is_plain = mentions_nobody && reply_to.is_none() && pictures.is_empty() && !is_action;
    is_plain.then_some(Command::Post { chat, client_id, body, waited_millis })
}

/// Returns an emoji in its usual form, of a text that is one: with the sign that shows it in colour, where it needs one.
///
/// # Errors
/// [`Problem::NotAnEmoji`] if the text is none, or one with something beside it.
fn emoji_of(text: &str) -> Result<Emoji, Problem> {
    emojis::get(text).ok_or(Problem::NotAnEmoji)?.as_str().to_owned().try_into()
}

#[cfg(test)]
mod tests {
    use domain::reaction::EMOJI_BYTES;

    use super::*;

    #[test]
    fn an_emoji_is_one_of_unicode_in_its_usual_form() {
        let shown = |text| emoji_of(text).map(String::from);
        for emoji in ["\u{1f44d}", "\u{1f44d}\u{1f3fd}", "\u{1f1eb}\u{1f1ee}", "#\u{fe0f}\u{20e3}"] {
            assert_eq!(shown(emoji).as_deref(), Ok(emoji));
        }
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}";
        assert_eq!(shown(family).as_deref(), Ok(family));
        assert_eq!(shown("\u{2764}").as_deref(), Ok("\u{2764}\u{fe0f}"), "in colour");
        for other in ["", "abc", "1", "\u{1f44d} ", "\u{1f44d}\u{1f44d}", "\u{200d}", "<b>", "\u{fe0f}"] {
            assert_eq!(shown(other), Err(Problem::NotAnEmoji), "{other:?}");
        }
    }

    #[test]
    fn every_emoji_fits() {
        let tones = |emoji: &'static emojis::Emoji| emoji.skin_tones().into_iter().flatten();
        let longest = emojis::iter().flat_map(|emoji| tones(emoji).chain([emoji]));
        assert!(longest.map(|emoji| emoji.as_str().len()).max().is_some_and(|length| length <= EMOJI_BYTES));
    }
}
