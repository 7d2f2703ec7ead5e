//! Divides a text into what is parsed by itself.

use std::ops::Range;

/// Returns the segments of a text, in order, without the line ends between them. A quote ends with its last line that
/// begins with `>`: people who answer below it do not mean their answer to be part of the quote, as it is in CommonMark.
pub(super) fn segments(text: &str) -> Vec<Range<usize>> {
    let mut segments = Vec::new();
    let (mut begin, mut at, mut was_quote) = (0, 0, false);
    let mut fence = None;
    for line in text.split('\n') {
        if was_quote && !is_of_quote(line) {
            // without the line end before this line
            segments.push(begin..at - 1);
            begin = at;
        }
        // It begins without indentation only, with which it may be code in a list.
        was_quote = fence.is_none() && (was_quote || line.starts_with('>')) && is_of_quote(line);
        fence = match fence {
            None => opened_fence(line),
            Some(open) => (!closes_fence(line, open)).then_some(open),
        };
        at += line.len() + 1;
    }
    segments.push(begin..text.len());
    segments
}

/// Whether a line goes on with a quote.
fn is_of_quote(line: &str) -> bool {
    let unindented = line.trim_start_matches(' ');
    unindented.starts_with('>') && line.len() - unindented.len() <= 3
}

/// Returns the sign and the number of signs with which a line opens code, or `None` if it does not.
fn opened_fence(line: &str) -> Option<(char, usize)> {
    let (sign, length, rest) = fence_of(line)?;
    (sign != '`' || !rest.contains('`')).then_some((sign, length))
}

/// Whether a line closes code that was opened like this.
fn closes_fence(line: &str, (sign, length): (char, usize)) -> bool {
    fence_of(line).is_some_and(|(found, many, rest)| {
        found == sign && many >= length && rest.trim_matches([' ', '\t']).is_empty()
    })
}

/// Returns the sign that a fence consists of, how many there are, and the rest of the line.
fn fence_of(line: &str) -> Option<(char, usize, &str)> {
    let unindented = line.trim_start_matches(' ');
    let sign = unindented.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let rest = unindented.trim_start_matches(sign);
    let length = unindented.len() - rest.len();
    (length >= 3 && line.len() - unindented.len() <= 3).then_some((sign, length, rest))
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[test]
    fn an_answer_below_a_quote_is_a_segment_of_its_own() {
        for (text, expected) in [
            ("", vec![""]),
            ("a\nb", vec!["a\nb"]),
            ("> q\nanswer", vec!["> q", "answer"]),
            ("> q\n> r\n\nanswer\n> s\nanswer", vec!["> q\n> r", "\nanswer\n> s", "answer"]),
            ("```\n> q\ncode\n```\n> q\na", vec!["```\n> q\ncode\n```\n> q", "a"]),
            ("~~~ a`b\n> q\n~~\n~~~~\n> q\na", vec!["~~~ a`b\n> q\n~~\n~~~~\n> q", "a"]),
            ("```a`\n> q\nb", vec!["```a`\n> q", "b"]),
            ("    ```\n> q\nb", vec!["    ```\n> q", "b"]),
            ("> q\n  > r\na", vec!["> q\n  > r", "a"]),
            ("- ```\n  > x\n  y\n  ```", vec!["- ```\n  > x\n  y\n  ```"]),
        ] {
            let found: Vec<_> = segments(text).into_iter().map(|range| &text[range]).collect();
            assert_eq!(found, expected);
        }
    }
}
