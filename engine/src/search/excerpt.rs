//! Excerpts of messages that were found: a part of what is shown of a message, with the words that were looked for.

use domain::{search::Part, unicode};

use super::Words;
use crate::folding::fold_onto;

/// The maximum length of an excerpt, in grapheme clusters.
const LENGTH: usize = 240;
/// The maximum length of an excerpt, in bytes.
const BYTES: usize = 4 * LENGTH;
/// How many grapheme clusters of a longer text are shown before the first word, at most.
const LEAD: usize = 60;
/// What stands for the text that is left out.
const CUT: &str = "…";

/// Returns an excerpt of a text on one line: around the first of the words, or its beginning if there are no words or none
/// is shown.
pub(super) fn excerpt(shown: &str, words: Option<&Words>) -> Vec<Part> {
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let characters = unicode::split(&line);
    let found = words.map_or_else(|| vec![false; characters.len()], |words| found(&characters, words));
    let first = found.iter().position(|is_found| *is_found).unwrap_or_default();
    let from = if characters.len() > LENGTH { start(&characters, first) } else { 0 };

    let mut parts = Vec::new();
    if from > 0 {
        push(&mut parts, CUT, false);
    }
    let mut bytes = 0;
    for (place, (character, is_found)) in characters.iter().zip(found).enumerate().skip(from) {
        bytes += character.len();
        if place - from >= LENGTH || bytes > BYTES {
            push(&mut parts, CUT, false);
            break;
        }
        push(&mut parts, character, is_found);
    }
    parts
}

/// Returns which characters of a text are in one of the words.
fn found(characters: &[&str], Words(words): &Words) -> Vec<bool> {
    // Folding changes lengths, so that it is kept where each character begins.
    let (mut folded, mut begins) = (String::new(), Vec::with_capacity(characters.len()));
    for character in characters {
        begins.push(folded.len());
        fold_onto(character, &mut folded);
    }
    let mut found = vec![false; characters.len()];
    for word in words {
        let length = word.needle().len();
        for at in word.find_iter(folded.as_bytes()) {
            let first = begins.partition_point(|begin| *begin <= at).saturating_sub(1);
            let end = begins.partition_point(|begin| *begin < at + length);
            found.get_mut(first..end).unwrap_or_default().fill(true);
        }
    }
    found
}

/// Returns where an excerpt begins whose first word begins at `first`: at the beginning of a word, if one is near.
fn start(characters: &[&str], first: usize) -> usize {
    let earliest = first.saturating_sub(LEAD);
    if earliest == 0 {
        return 0;
    }
    let lead = characters.get(earliest..first).unwrap_or_default();
    lead.iter().position(|character| *character == " ").map_or(earliest, |space| earliest + space + 1)
}

/// Adds a text to the parts, to the last one if that is of the same kind.
fn push(parts: &mut Vec<Part>, text: &str, is_found: bool) {
    match parts.last_mut() {
        Some(last) if last.is_found == is_found => last.text.push_str(text),
        _ => parts.push(Part { text: text.to_owned(), is_found }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// Returns an excerpt with brackets around what was found.
    fn shown(text: &str, typed: &str) -> String {
        let words = Words::parse(typed).unwrap();
        let bracketed = |Part { text, is_found }| if is_found { format!("[{text}]") } else { text };
        excerpt(text, Some(&words)).into_iter().map(bracketed).collect()
    }

    #[test]
    fn words_are_found_in_what_is_shown() {
        for (text, typed, expected) in [
            ("Tea at five", "at TEA", "[Tea] [at] five"),
            ("a  tea\n\nteapot", "tea", "a [tea] [tea]pot"),
            ("Straße", "ss", "Stra[ß]e"),
            ("cafe\u{301}!", "é", "caf[e\u{301}]!"),
            ("ﬁne", "i", "[ﬁ]ne"),
            ("ananas", "ana nas", "[ananas]"),
            ("Tea", "coffee", "Tea"),
            ("", "tea", ""),
            ("İstanbul", "stan", "İ[stan]bul"),
        ] {
            assert_eq!(shown(text, typed), expected);
        }
        let parts = excerpt("Tea", None);
        assert_eq!(parts, [Part { text: "Tea".to_owned(), is_found: false }]);
    }

    #[test]
    fn a_long_text_is_cut_around_the_first_word() {
        let text = format!("{}tea {}", "word ".repeat(100), "more ".repeat(100));
        let excerpt = shown(&text, "tea");
        assert!(excerpt.starts_with("…word ") && excerpt.ends_with('…'), "{excerpt}");
        assert!(excerpt.contains("word [tea] more"), "{excerpt}");
        assert_eq!(shown(&"x".repeat(LENGTH + 1), "y"), format!("{}…", "x".repeat(LENGTH)));
        assert_eq!(shown(&"x".repeat(LENGTH), "y"), "x".repeat(LENGTH));
        let tower = format!("a{} tea", "\u{301}".repeat(BYTES));
        assert_eq!(shown(&tower, "tea"), "…", "one character that is too long");
        let last = format!("{}tea", "字".repeat(500));
        assert_eq!(shown(&last, "tea"), format!("…{}[tea]", "字".repeat(LEAD)));
    }

    proptest! {
        #[test]
        fn an_excerpt_is_a_part_of_the_text(text in "[a-cé\u{301}ß \n]{0,600}", typed in "[a-cés]{1,3}") {
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let parts = excerpt(&text, Some(&Words::parse(&typed).unwrap()));
            let whole: String = parts.iter().map(|part| part.text.as_str()).collect();
            prop_assert!(line.contains(whole.trim_matches('…')));
            prop_assert!(parts.iter().all(|part| !part.text.is_empty()));
            prop_assert!(parts.windows(2).all(|pair| matches!(pair, [one, other] if one.is_found != other.is_found)));
            if unicode::characters(&line) <= LENGTH && line.len() <= BYTES {
                prop_assert_eq!(whole, line);
            }
        }
    }
}
