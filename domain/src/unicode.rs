//! What Unicode says of characters: how many people would count, and which are alike but for their case. Its tables are
//! long. A browser has them, and is asked; everywhere else they come with the program.

#[cfg(not(target_arch = "wasm32"))]
use program as tables;

#[cfg(target_arch = "wasm32")]
use browser as tables;

/// How many characters people would count in a text: its extended grapheme clusters (Unicode Annex 29).
pub fn characters(text: &str) -> usize {
    if is_plain(text) { text.len() } else { tables::characters(text) }
}

/// The first character of a text, as people count them, in upper case.
pub fn first_character(text: &str) -> Option<String> {
    // a letter may go on with marks that stand beyond ASCII
    match text.as_bytes() {
        [first] | [first, 0..0x80, ..] if is_plain(text) => {
            Some(char::from(first.to_ascii_uppercase()).into())
        }
        _ => tables::first_character(text),
    }
}

/// A text in lower case.
pub fn lower(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { tables::lower(text) }
}

/// Whether each byte is a character: the one sequence in ASCII that is counted as one is that of the two line breaks.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && !text.contains('\r')
}

#[cfg(not(target_arch = "wasm32"))]
mod program {
    use unicode_segmentation::UnicodeSegmentation;

    pub(super) fn characters(text: &str) -> usize {
        text.graphemes(true).count()
    }

    pub(super) fn first_character(text: &str) -> Option<String> {
        text.graphemes(true).next().map(str::to_uppercase)
    }

    pub(super) fn lower(text: &str) -> String {
        text.to_lowercase()
    }
}

#[cfg(target_arch = "wasm32")]
mod browser {
    use js_sys::{Array, Function, JsString, Reflect, wasm_bindgen::JsCast};

    /// The characters of a text, by `Intl.Segmenter`. Nothing in a browser that has none (before 2024).
    fn segments(text: &str) -> Option<Array> {
        let intl = Reflect::get(&js_sys::global(), &"Intl".into()).ok()?;
        let segmenter: Function = Reflect::get(&intl, &"Segmenter".into()).ok()?.dyn_into().ok()?;
        let segmenter = Reflect::construct(&segmenter, &Array::new()).ok()?;
        let segment: Function = Reflect::get(&segmenter, &"segment".into()).ok()?.dyn_into().ok()?;
        Some(Array::from(&segment.call1(&segmenter, &text.into()).ok()?))
    }

    /// Without a segmenter code points are counted, of which there are as many or more.
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
    fn the_first_character_stands_for_a_name() {
        let first = |text| first_character(text).unwrap_or_default();
        assert_eq!(
            (first("ana"), first("a"), first("éa"), first("ßa"), first("")),
            ("A".into(), "A".into(), "É".into(), "SS".into(), String::new())
        );
        assert_eq!((first("e\u{301}a"), first("👨‍👩‍👧‍👦 x")), ("E\u{301}".to_owned(), "👨‍👩‍👧‍👦".to_owned()));
    }

    #[test]
    fn case_does_not_matter_in_any_script() {
        assert_eq!(
            (lower("Ana"), lower("ΟΔΥΣΣΕΥΣ"), lower("ЯНА")),
            ("ana".into(), "οδυσσευς".into(), "яна".into())
        );
    }
}
