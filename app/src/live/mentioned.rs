//! The users whom a message being written mentions, as chosen from a list: two users may have the same nickname.

use domain::{UserId, message::MENTIONS_LIMIT};

/// The maximum number of users that are remembered. More than a message can mention, since a mention may be deleted again.
const REMEMBERED: usize = 3 * MENTIONS_LIMIT;

/// The users who were chosen from a list while a message is being written, each with the name that was put into the text.
#[derive(Debug, Default)]
pub(super) struct Mentioned(Vec<(UserId, String)>);

impl Mentioned {
    /// Remembers that `@` and this name mean this user. Of two users of one name it is the one who was chosen last. Beyond
    /// [`REMEMBERED`] the oldest are forgotten: the server finds them by their names.
    pub(super) fn add(&mut self, user: UserId, name: &str) {
        self.0.retain(|(_, other)| other != name);
        if self.0.len() >= REMEMBERED {
            self.0.remove(0);
        }
        self.0.push((user, name.to_owned()));
    }

    /// Returns those who are mentioned in this text, in the order in which they were chosen, each once. `None` if none are:
    /// then the server looks for whom it mentions.
    pub(super) fn of(&self, text: &str) -> Option<Vec<UserId>> {
        let mut mentions: Vec<UserId> = Vec::new();
        for (user, name) in &self.0 {
            if mentions.len() < MENTIONS_LIMIT && !mentions.contains(user) && mentions_name(text, name) {
                mentions.push(*user);
            }
        }
        (!mentions.is_empty()).then_some(mentions)
    }
}

/// Whether a text has `@` and this name somewhere.
fn mentions_name(text: &str, name: &str) -> bool {
    text.split('@').skip(1).any(|after| after.starts_with(name))
}

#[cfg(test)]
mod tests {
    use domain::id::ID_BYTES;

    use super::*;

    fn user(number: u8) -> UserId {
        UserId::from_bytes([number; ID_BYTES])
    }

    #[test]
    fn who_was_chosen_is_mentioned_while_the_name_is_still_in_the_text() {
        let mut mentioned = Mentioned::default();
        assert_eq!(mentioned.of("@Ana"), None, "the server looks for her");
        mentioned.add(user(1), "Ana");
        mentioned.add(user(2), "Bea Maria");
        assert_eq!(mentioned.of("hello @Bea Maria, and @Ana."), Some(vec![user(1), user(2)]));
        assert_eq!(mentioned.of("hello @Bea"), None);
        assert_eq!(mentioned.of("Ana, hello @Bea Maria"), Some(vec![user(2)]));
    }

    #[test]
    fn of_two_people_with_one_name_it_is_the_one_who_was_chosen_last() {
        let mut mentioned = Mentioned::default();
        mentioned.add(user(1), "Ana");
        mentioned.add(user(2), "Ana");
        assert_eq!(mentioned.of("@Ana @Ana"), Some(vec![user(2)]));
    }

    #[test]
    fn no_more_are_remembered_and_mentioned_than_may_be() {
        let mut mentioned = Mentioned::default();
        let names: Vec<String> = (0..100).map(|number| format!("N{number:03}")).collect();
        for (number, name) in names.iter().enumerate() {
            mentioned.add(user(number as u8), name);
        }
        let text: String = names.iter().map(|name| format!("@{name} ")).collect();
        assert_eq!(mentioned.0.len(), REMEMBERED);
        assert_eq!(mentioned.of(&text).map(|mentions| mentions.len()), Some(MENTIONS_LIMIT));
    }
}
