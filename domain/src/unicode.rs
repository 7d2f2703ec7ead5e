//! Unicode properties of text: its characters (grapheme clusters), its lower case, and whether any of it is visible.
//! The tables are long: in a browser the browser's own are used, elsewhere they are compiled in.

#[cfg(not(target_arch = "wasm32"))]
use program as tables;

#[cfg(target_arch = "wasm32")]
use browser as tables;

/// Returns the number of characters that a user would count: extended grapheme clusters (Unicode Annex 29).
pub fn characters(text: &str) -> usize {
    if is_plain(text) { text.len() } else { tables::characters(text) }
}

/// Splits a text into its characters (grapheme clusters), in order and without loss.
pub fn split(text: &str) -> Vec<&str> {
    each(text).collect()
}

/// Returns the characters (grapheme clusters) of a text, in order and without loss. Each is looked for when it is asked for,
/// except in a browser.
pub fn each(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    let next = move |length| {
        let (character, others) = rest.split_at_checked(length)?;
        rest = others;
        Some(character)
    };
    tables::lengths(text).filter_map(next)
}

/// Returns the first character (grapheme cluster) of a text in upper case, or `None` if the text is empty.
pub fn first_character(text: &str) -> Option<String> {
    // an ASCII letter can be continued by combining marks, which are beyond ASCII
    match text.as_bytes() {
        [first] | [first, 0..0x80, ..] if is_plain(text) => {
            Some(char::from(first.to_ascii_uppercase()).into())
        }
        _ => tables::first_character(text),
    }
}

/// Returns the beginning of a text, whole characters, at most so many of them and so many bytes.
pub fn beginning(text: &str, most_characters: usize, most_bytes: usize) -> &str {
    // enough to know where the last character that fits ends
    let start = &text[..text.floor_char_boundary(most_bytes.saturating_mul(2))];
    let mut end = 0;
    for length in tables::lengths(start).take(most_characters) {
        if end + length > most_bytes {
            break;
        }
        end += length;
    }
    text.get(..end).unwrap_or_default()
}

/// The longest run, in bytes, in which the browser has to find line breaks by itself.
const RUN: usize = 600;

/// Splits a text into parts, in order and without loss, between which a line may break. Where letters change each
/// other's shape, as in Devanagari or Burmese, and for the marks on one letter, a browser needs time quadratic in the
/// length of a run without white space. So a part ends after at most `RUN` bytes of such a run: between characters,
/// unless a single one is longer than that.
pub fn runs(text: &str) -> Vec<&str> {
    let (mut runs, mut from, mut at) = (Vec::new(), 0, 0);
    for word in text.split_inclusive(char::is_whitespace) {
        let next = at + word.len();
        if word.len() <= RUN || word.chars().all(stands_alone) {
            at = next;
            continue;
        }
        let mut run = 0;
        for mut length in tables::lengths(word.trim_end()) {
            while run + length > RUN {
                // the rest of a character that is longer than a run
                let fits = if run == 0 { text[at..].floor_char_boundary(RUN) } else { 0 };
                at += fits;
                length -= fits;
                runs.push(&text[from..at]);
                (from, run) = (at, 0);
            }
            at += length;
            run += length;
        }
        at = next;
    }
    runs.push(&text[from..]);
    runs
}

/// Whether a character is of a script whose letters do not change each other's shape, or whose lines break anywhere:
/// Latin, Greek, Cyrillic, Thai, Lao, Chinese, Japanese and Korean.
fn stands_alone(c: char) -> bool {
    matches!(c,
        '\0'..='\u{2ff}' | '\u{370}'..='\u{52f}' | '\u{e00}'..='\u{eff}' | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{ff00}'..='\u{ffef}')
}

/// Returns the text in lower case.
pub fn lower(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { tables::lower(text) }
}

/// Whether anything of a text is visible: a character that is not white space, a control, a combining mark, unassigned,
/// or ignored where it is not supported (Unicode's Default_Ignorable_Code_Point).
pub fn is_visible(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_graphic()) || tables::is_visible(text)
}

/// Whether every character may appear in a name: no controls, no line separators, nothing unassigned, and of the
/// default ignorable characters only those that join or select letters and emoji, since the others hide themselves or
/// reorder the text around them. A browser accepts code points that it does not know: the server decides about newer ones.
pub fn is_fit_for_names(text: &str) -> bool {
    if text.is_ascii() { !text.contains(|c: char| c.is_control()) } else { tables::is_fit_for_names(text) }
}

/// Whether each byte is one character: the only ASCII sequence that counts as one character is `\r\n`.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && !text.contains('\r')
}

#[cfg(not(target_arch = "wasm32"))]
mod program {
    use icu_properties::{
        CodePointMapData, CodePointSetData,
        props::{DefaultIgnorableCodePoint, GeneralCategory, JoinControl, VariationSelector, WhiteSpace},
    };
    use unicode_segmentation::UnicodeSegmentation;

    /// Signs that are blank: of Braille, of music, of the Khitan script, and the object replacement character.
    const BLANKS: [char; 4] = ['\u{2800}', '\u{1d159}', '\u{16fe4}', '\u{fffc}'];
    /// Default ignorables that names need: the flags of England, Scotland and Wales are written with these tag
    /// characters, and Mongolian with the vowel separator below.
    const TAGS: std::ops::RangeInclusive<char> = '\u{e0020}'..='\u{e007f}';
    const MONGOLIAN_VOWEL_SEPARATOR: char = '\u{180e}';

    pub(super) fn is_visible(text: &str) -> bool {
        let categories = CodePointMapData::<GeneralCategory>::new();
        let (ignorable, white) =
            (CodePointSetData::new::<DefaultIgnorableCodePoint>(), CodePointSetData::new::<WhiteSpace>());
        text.chars().any(|c| {
            !ignorable.contains(c)
                && !white.contains(c)
                && !BLANKS.contains(&c)
                && !matches!(
                    categories.get(c),
                    GeneralCategory::Control
                        | GeneralCategory::Format
                        | GeneralCategory::NonspacingMark
                        | GeneralCategory::EnclosingMark
                        | GeneralCategory::Unassigned
                )
        })
    }

    pub(super) fn is_fit_for_names(text: &str) -> bool {
        let categories = CodePointMapData::<GeneralCategory>::new();
        let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
        let (joiner, selector) =
            (CodePointSetData::new::<JoinControl>(), CodePointSetData::new::<VariationSelector>());
        text.chars().all(|c| match categories.get(c) {
            GeneralCategory::Control
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::Unassigned => false,
            _ if ignorable.contains(c) => {
                joiner.contains(c)
                    || selector.contains(c)
                    || TAGS.contains(&c)
                    || c == MONGOLIAN_VOWEL_SEPARATOR
            }
            // the object replacement character, and the interlinear annotation marks before it
            _ => !('\u{fff9}'..='\u{fffc}').contains(&c),
        })
    }

    pub(super) fn characters(text: &str) -> usize {
        text.graphemes(true).count()
    }

    pub(super) fn first_character(text: &str) -> Option<String> {
        text.graphemes(true).next().map(str::to_uppercase)
    }

    pub(super) fn lower(text: &str) -> String {
        text.to_lowercase()
    }

    pub(super) fn lengths(text: &str) -> impl Iterator<Item = usize> {
        text.graphemes(true).map(str::len)
    }
}

#[cfg(target_arch = "wasm32")]
mod browser {
    use js_sys::{
        Array, Function, JsString, Reflect, RegExp,
        wasm_bindgen::{JsCast, JsValue},
    };

    pub(super) fn is_visible(text: &str) -> bool {
        has(text, r"[^\s\p{Cc}\p{Cf}\p{Mn}\p{Me}\p{DI}\u2800\ufffc]")
    }

    pub(super) fn is_fit_for_names(text: &str) -> bool {
        !has(text, r"[\p{Cc}\u2028-\u202e\ufff9-\ufffc]")
    }

    fn has(text: &str, pattern: &str) -> bool {
        RegExp::new(pattern, "u").test(text)
    }

    /// Returns the characters of a text by `Intl.Segmenter`, or `None` in a browser without it (before 2024).
    fn segments(text: &str) -> Option<Array> {
        let intl = Reflect::get(&js_sys::global(), &"Intl".into()).ok()?;
        let segmenter: Function = Reflect::get(&intl, &"Segmenter".into()).ok()?.dyn_into().ok()?;
        let segmenter = Reflect::construct(&segmenter, &Array::new()).ok()?;
        let segment: Function = Reflect::get(&segmenter, &"segment".into()).ok()?.dyn_into().ok()?;
        Some(Array::from(&segment.call1(&segmenter, &text.into()).ok()?))
    }

    /// Counts code points where there is no segmenter: never fewer than characters.
    pub(super) fn characters(text: &str) -> usize {
        segments(text).map_or_else(|| text.chars().count(), |segments| segments.length() as usize)
    }

    pub(super) fn first_character(text: &str) -> Option<String> {
        let first = segments(text).and_then(|segments| {
            let first: JsString = Reflect::get(&segments.get(0), &"segment".into()).ok()?.dyn_into().ok()?;
            Some(first)
        });
        let first = first.or_else(|| Some(text.chars().next()?.to_string().into()));
        Some(first?.to_upper_case().into())
    }

    pub(super) fn lower(text: &str) -> String {
        JsString::from(text).to_lower_case().into()
    }

    /// Returns the whole text as one character where there is no segmenter.
    pub(super) fn lengths(text: &str) -> impl Iterator<Item = usize> {
        let length =
            |segment: JsValue| Some(Reflect::get(&segment, &"segment".into()).ok()?.as_string()?.len());
        let lengths = segments(text).and_then(|segments| segments.iter().map(length).collect());
        lengths.unwrap_or_else(|| vec![text.len()]).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_as_people_do() {
        let family = "👨‍👩‍👧‍👦";
        assert_eq!((family.len(), characters(family)), (25, 1));
        assert_eq!(
            (characters("e\u{301}a"), characters("a\r\nb"), characters("plain"), characters("")),
            (2, 3, 5, 0)
        );
    }

    #[test]
    fn a_text_is_split_into_characters() {
        assert_eq!(split("ae\u{301}字"), ["a", "e\u{301}", "字"]);
        assert!(split("").is_empty());
    }

    #[test]
    fn the_first_character_stands_for_a_name() {
        let first = |text| first_character(text).unwrap_or_default();
        assert_eq!(
            (first("ana"), first("a"), first("éa"), first("ßa"), first("")),
            ("A".into(), "A".into(), "É".into(), "SS".into(), String::new())
        );
        assert_eq!((first("e\u{301}a"), first("👨‍👩‍👧‍👦 x")), ("E\u{301}".to_owned(), "👨‍👩‍👧‍👦".to_owned()));
    }

    #[test]
    fn long_runs_are_broken_between_characters() {
        let syllable = "क्षि";
        for (text, expected) in [
            (String::new(), vec![0]),
            (format!("{syllable} ").repeat(400), vec![400 * 13]),
            ("x".repeat(4_000), vec![4_000]),
            ("字，".repeat(2_000), vec![12_000]),
            (syllable.repeat(50) + " y", vec![602]),
            (syllable.repeat(125) + "\n" + &syllable.repeat(51), vec![600, 600, 300 + 1 + 600, 12]),
            ("a ".to_owned() + &syllable.repeat(101), vec![602, 600, 12]),
            ("👨‍👩‍👧‍👦".repeat(25), vec![600, 25]),
            (format!("ab{}c", "\u{301}".repeat(700)), vec![1, 599, 600, 203]),
        ] {
            let runs = runs(&text);
            assert_eq!(runs.concat(), text);
            assert_eq!(runs.into_iter().map(str::len).collect::<Vec<_>>(), expected, "{text:.9}");
        }
    }

    #[test]
    fn case_does_not_matter_in_any_script() {
        assert_eq!(
            (lower("Ana"), lower("ΟΔΥΣΣΕΥΣ"), lower("ЯНА")),
            ("ana".into(), "οδυσσευς".into(), "яна".into())
        );
    }
}
