//! Preparing drafts: fills in what a command says beside what its user typed.

use domain::{Command, Draft, Emoji, Problem, Restored, Rules, Wording, draft::DraftText};

use super::Engine;

impl Engine {
    /// Makes a command of a draft: marks and mentions of texts, pictures of tickets and emoji of reactions are filled in. As
    /// long as the nodes of a cluster decide by older rules, a message that is a text alone is posted as these know it.
    ///
    /// # Errors
    /// [`Problem::NotYet`] if the rules in force do not know what is asked for, [`Problem::PicturesOff`] for pictures, and
    /// [`Problem::NotAnEmoji`] for a reaction that is none.
    pub fn prepare(&self, draft: Draft) -> Result<Command, Problem> {
        let draft = match (draft, self.store.settings().rules >= Rules::OF_MESSAGES) {
            (Draft::Command(command), _) => return Ok(command),
            (draft, true) => draft,
            (draft, false) => return plain_post(draft).ok_or(Problem::NotYet),
        };
        Ok(match draft {
            Draft::Command(command) => command,
            Draft::Say { chat, client_id, text, reply_to, pictures, is_action, waited_millis } => {
                if !pictures.is_empty() {
                    return Err(Problem::PicturesOff);
                }
                let (words, pictures) = (words(text), Vec::new());
                Command::Say { chat, client_id, words, reply_to, pictures, is_action, waited_millis }
            }
            Draft::EditMessage { chat, message, text } => {
                Command::EditMessage { chat, message, words: words(text) }
            }
            Draft::RestoreMessage { chat, message, removal, text, reply_to, is_action, alts } => {
                let said = Box::new(Restored { words: words(text), reply_to, is_action, alts });
                Command::RestoreMessage { chat, message, removal, said }
            }
            Draft::React { chat, message, emoji, is_on } => {
                let emoji = Emoji::try_from(emoji)?;
                Command::React { chat, message, emoji, is_on }
            }
        })
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

/// Returns the words of a text.
fn words(text: DraftText) -> Wording {
    Wording::plain(text.body)
}
