//! Folding of text, so that a search ignores case and differences of composition.

use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;

/// Folds a text: removes case and differences of composition (Unicode, section 3.13, caseless matching, and Annex 15,
/// NFKC).
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::new();
    fold_onto(text, &mut folded);
    folded
}

/// Appends a text to another, folded as by [`fold`].
pub(crate) fn fold_onto(text: &str, folded: &mut String) {
    if text.is_ascii() {
        let from = folded.len();
        folded.push_str(text);
        if let Some(appended) = folded.get_mut(from..) {
            appended.make_ascii_lowercase();
        }
        return;
    }
    let normalizer = ComposingNormalizerBorrowed::new_nfkc();
    let composed = normalizer.normalize(text);
    let caseless = CaseMapper::new().fold_string(&composed);
    // Case folding may have decomposed some characters.
    match normalizer.normalize(&caseless) {
        Cow::Borrowed(text) => folded.push_str(text),
        Cow::Owned(text) => folded.push_str(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_composition_do_not_matter_in_any_script() {
        for (one, other) in [
            ("Tea at FIVE", "tea at five"),
            ("Cafe\u{301}", "CAF\u{c9}"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("Straße", "STRASSE"),
            ("ﬁne ｔｅａ", "FINE tea"),
            ("ЯНА", "яна"),
        ] {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("tea"), fold("the"));
    }

    #[test]
    fn a_text_is_folded_behind_another_that_stays_as_it_is() {
        let mut folded = "A".to_owned();
        fold_onto("BÉ", &mut folded);
        fold_onto("C", &mut folded);
        assert_eq!(folded, "Abéc");
    }
}
