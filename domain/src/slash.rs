//! What a line in the composer asks for: mostly to be posted, and sometimes something else.

use crate::{Body, Nickname, Problem};

/// A line from the composer, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// To be said.
    Post(Body),
    /// `/nick NAME`: to be called differently.
    Nick(Nickname),
}

/// Understands a line: `/nick NAME` and `/help` are commands, `//` begins a message with a slash, and everything else
/// that begins with a slash is explained to whoever wrote it instead of being posted.
///
/// # Errors
/// What is wrong with the text, or an explanation: [`Problem::NickWithoutName`], [`Problem::UnknownSlash`] or
/// [`Problem::SlashHelp`].
pub fn parse(line: &str) -> Result<Line, Problem> {
    let Some(rest) = line.strip_prefix('/') else { return Body::parse(line).map(Line::Post) };
    if rest.starts_with('/') {
        return Body::parse(rest).map(Line::Post);
    }
    let (command, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match command {
        "nick" if argument.trim().is_empty() => Err(Problem::NickWithoutName),
        "nick" => Nickname::parse(argument).map(Line::Nick),
        "help" => Err(Problem::SlashHelp),
        _ => Err(Problem::UnknownSlash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(text: &str) -> Result<Line, Problem> {
        Ok(Line::Post(Body::parse(text).unwrap()))
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
    }

    #[test]
    fn commands_are_understood_or_explained_and_never_posted() {
        assert_eq!(parse("/nick  Ana  Maria "), Ok(Line::Nick(Nickname::parse("Ana Maria").unwrap())));
        assert_eq!(parse("/nick"), Err(Problem::NickWithoutName));
        assert_eq!(parse("/nick  "), Err(Problem::NickWithoutName));
        assert_eq!(parse(&format!("/nick {}", "x".repeat(21))), Err(Problem::NicknameTooLong));
        assert_eq!(parse("/help"), Err(Problem::SlashHelp));
        for line in ["/", "/ hello", "/nickname Ana", "/Help", "/usr/bin"] {
            assert_eq!(parse(line), Err(Problem::UnknownSlash), "{line}");
        }
    }
}
