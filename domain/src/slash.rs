//! Parses a line from the composer: a message to post, or a slash command.

use crate::{Body, Nickname, Problem};

/// A parsed line from the composer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComposerInput {
    /// A message to post.
    Post(Body),
    /// `/me WHAT`: a message that says what its author does.
    Action(Body),
    /// `/nick NAME`: a new nickname.
    Nick(Nickname),
}

/// Returns how many more characters the message may have, or as `Err` how many too many it has. `None` for another command.
pub fn characters_left(line: &str) -> Option<Result<usize, usize>> {
    message_part(line).map(Body::characters_left)
}

/// Whether writing this line is shown to others as typing: it is neither empty nor a command.
pub fn counts_as_typing(line: &str) -> bool {
    !line.is_empty() && message_part(line).is_some()
}

/// Returns the part of a line that is posted, or `None` if the line is a command.
fn message_part(line: &str) -> Option<&str> {
    match line.strip_prefix('/') {
        None => Some(line),
        Some(rest) if rest.starts_with('/') => Some(rest),
        Some(_) => action_part(line),
    }
}

/// Returns what follows `/me` and white space. `None` for other lines.
fn action_part(line: &str) -> Option<&str> {
    let what = line.strip_prefix("/me")?;
    what.starts_with(char::is_whitespace).then(|| what.trim_start()).filter(|what| !what.is_empty())
}

/// Returns the line to type in order to post a message: one that says what its author does follows `/me`, and of others a
/// leading slash is doubled.
pub fn to_line(body: &Body, is_action: bool) -> String {
    let body = body.as_str();
    match is_action {
        true => format!("/me {body}"),
        false if body.starts_with('/') => format!("/{body}"),
        false => body.to_owned(),
    }
}

/// Parses a line: `/nick NAME`, `/me WHAT` and `/help` are commands, `//` begins a message with a slash, and any other line that
/// begins with a slash is refused with an explanation instead of being posted.
///
/// # Errors
/// The [`Problem`] of the message or the nickname if it is not valid; [`Problem::NickWithoutName`] if `/nick` stands
/// alone, [`Problem::MeWithoutWords`] if `/me` does, [`Problem::SlashHelp`] for `/help`, [`Problem::UnknownSlash`] for other commands.
pub fn parse(line: &str) -> Result<ComposerInput, Problem> {
    if let Some(what) = action_part(line) {
        return Body::parse(what).map(ComposerInput::Action);
    }
    if let Some(body) = message_part(line) {
        return Body::parse(body).map(ComposerInput::Post);
    }
    let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match command {
        "/nick" if argument.trim().is_empty() => Err(Problem::NickWithoutName),
        "/nick" => Nickname::parse(argument).map(ComposerInput::Nick),
        "/me" => Err(Problem::MeWithoutWords),
        "/help" => Err(Problem::SlashHelp),
        _ => Err(Problem::UnknownSlash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(text: &str) -> Result<ComposerInput, Problem> {
        Ok(ComposerInput::Post(Body::parse(text).unwrap()))
    }

    #[test]
    fn most_lines_are_posted_as_they_are() {
        for line in ["hello", " /nick is a command", "a/b", "1 / 2"] {
            assert_eq!(parse(line), post(line));
        }
        assert_eq!(parse(" "), Err(Problem::MessageEmpty));
    }

    #[test]
    fn two_slashes_post_one() {
        assert_eq!(parse("//nick Ana"), post("/nick Ana"));
        assert_eq!(parse("///"), post("//"));
        assert_eq!(parse("//"), post("/"));
        for text in ["/nick Ana", "hello", "// a"] {
            assert_eq!(parse(&to_line(&Body::parse(text).unwrap(), false)), post(text), "{text}");
        }
    }

    #[test]
    fn what_somebody_does_follows_a_command() {
        let waves = Body::parse("waves").unwrap();
        for line in ["/me waves", "/me  waves ", "/me\nwaves"] {
            assert_eq!(parse(line), Ok(ComposerInput::Action(waves.clone())), "{line:?}");
            assert!(counts_as_typing(line));
        }
        assert_eq!(parse(&to_line(&waves, true)), Ok(ComposerInput::Action(waves)));
        assert_eq!(characters_left("/me waves"), characters_left("waves"));
        for line in ["/me", "/me ", "/me \n"] {
            assert_eq!(parse(line), Err(Problem::MeWithoutWords), "{line:?}");
            assert!(!counts_as_typing(line));
        }
        assert_eq!(parse("/menu"), Err(Problem::UnknownSlash));
        assert_eq!(parse("//me waves"), post("/me waves"));
    }

    #[test]
    fn the_counter_agrees_with_what_is_accepted() {
        let (family, limit) = ("👨‍👩‍👧‍👦", crate::text::BODY_LIMIT);
        for (line, expected) in [
            ("x".repeat(limit) + "\n", Ok(0)),
            ("/".to_owned() + &"/".repeat(limit), Ok(0)),
            ("/".to_owned() + &"/".repeat(limit + 1), Err(1)),
            ("x\r\n".repeat(limit / 2), Ok(1)),
            (family.repeat(2_390), Ok(10)),
            (family.repeat(3_000), Err(600)),
        ] {
            assert_eq!(
                (characters_left(&line), parse(&line).is_ok()),
                (Some(expected), expected.is_ok()),
                "{line:.9}"
            );
        }
        assert_eq!(
            (characters_left("/nick Ana"), characters_left("/help"), characters_left("/")),
            (None, None, None)
        );
    }

    #[test]
    fn others_are_shown_who_writes_a_message_and_not_who_writes_a_command() {
        for line in ["h", " ", "a/b", " /nick Ana", "//", "//nick Ana"] {
            assert!(counts_as_typing(line), "{line:?}");
        }
        for line in ["", "/", "/n", "/nick Ana", "/help"] {
            assert!(!counts_as_typing(line), "{line:?}");
        }
    }

    #[test]
    fn commands_are_understood_or_explained_and_never_posted() {
        assert_eq!(
            parse("/nick  Ana  Maria "),
            Ok(ComposerInput::Nick(Nickname::parse("Ana Maria").unwrap()))
        );
        assert_eq!(parse("/nick"), Err(Problem::NickWithoutName));
        assert_eq!(parse("/nick  "), Err(Problem::NickWithoutName));
        assert_eq!(parse(&format!("/nick {}", "x".repeat(21))), Err(Problem::NicknameTooLong));
        assert_eq!(parse("/help"), Err(Problem::SlashHelp));
        for line in ["/", "/ hello", "/nickname Ana", "/Help", "/usr/bin"] {
            assert_eq!(parse(line), Err(Problem::UnknownSlash), "{line}");
        }
    }
}
