//! Marks the names of the users whom a text mentions.

use domain::{MarkKind, message::MENTIONS_LIMIT};

use super::part::Part;
use crate::mentions::Mention;

/// Adds mentions, which are in order, as far as they are in no code and no link. A name means nothing but itself, so the parts
/// of which a sign would be in one are dropped: `@snake_case_` has no emphasis. A mention that would cross another part is left
/// out.
pub(super) fn add(mentions: &[Mention], parts: &mut Vec<Part>) {
    let is_kept_as_typed = |kind| matches!(kind, MarkKind::Code | MarkKind::CodeBlock | MarkKind::Link);
    let mut found = Vec::new();
    for Mention { range, .. } in mentions {
        let overlaps = |part: &Part| part.range.start < range.end && range.start < part.range.end;
        let contains = |part: &Part| part.range.start <= range.start && range.end <= part.range.end;
        let has_sign_in_it =
            |part: &Part| part.hidden().any(|sign| sign.start < range.end && range.start < sign.end);
        let is_in_the_way = |part: &Part| {
            !part.is_dropped
                && overlaps(part)
                && (is_kept_as_typed(part.kind) || !(contains(part) || has_sign_in_it(part)))
        };
        if found.len() == MENTIONS_LIMIT || parts.iter().any(is_in_the_way) {
            continue;
        }
        for part in parts.iter_mut() {
            let is_dropped = has_sign_in_it(part);
            part.is_dropped |= is_dropped;
        }
        found.push(Part::new(MarkKind::Mention, range.clone()));
    }
    parts.extend(found);
}

#[cfg(test)]
mod tests {
    use domain::{Body, Mark, MarkKind, UserId, Wording, id::ID_BYTES, message::MENTIONS_LIMIT};
    use proptest::prelude::{prop_assert_eq, proptest};

    use crate::{formatting::words, mentions::Names};

    const NAMES: [&str; 4] = ["Ana", "snake_case_", "*star*", "Bea Maria"];

    fn user(number: u8) -> UserId {
        UserId::from_bytes([number; ID_BYTES])
    }

    fn worded(text: &str) -> Wording {
        let mut names = Names::default();
        for (number, name) in (1..).zip(NAMES) {
            names.add(user(number), name);
        }
        words(Body::try_from(text.to_owned()).unwrap(), &names.mentions(text))
    }

    /// Returns the marks of a text by kind and range, and the numbers of the users it mentions.
    fn found(text: &str) -> (Vec<(MarkKind, u16, u16)>, Vec<u8>) {
        let Wording { marks, mentions, .. } = worded(text);
        let marks = marks.iter().map(|Mark(kind, from, to)| (kind, from, to)).collect();
        (marks, mentions.iter().map(|user| user.bytes()[0]).collect())
    }

    #[test]
    fn names_are_marked_within_other_marks_and_beside_them() {
        use MarkKind::{Hidden, Item, Mention, Quote, Strong};
        assert_eq!(found("@Ana hi"), (vec![(Mention, 0, 4)], vec![1]));
        let strong = vec![(Strong, 0, 8), (Hidden, 0, 2), (Mention, 2, 6), (Hidden, 6, 8)];
        assert_eq!(found("**@Ana**"), (strong, vec![1]));
        let quote = vec![(Quote, 0, 6), (Hidden, 0, 2), (Mention, 2, 6)];
        assert_eq!(found("> @Ana"), (quote, vec![1]));
        let (marks, users) = found("- @Bea Maria\n- @Ana");
        assert_eq!(users, [4, 1]);
        assert_eq!(marks.iter().filter(|mark| mark.0 == Item).count(), 2);
    }

    #[test]
    fn a_name_means_nothing_but_itself() {
        assert_eq!(found("_a @snake_case_ b"), (vec![(MarkKind::Mention, 3, 15)], vec![2]));
        assert_eq!(found("@*star*"), (vec![(MarkKind::Mention, 0, 7)], vec![3]));
    }

    #[test]
    fn nobody_is_mentioned_in_code_and_addresses_and_where_the_sign_is_escaped() {
        for text in
            ["`@Ana`", "```\n@Ana\n```", "[@Ana](https://a.example)", r"\@Ana", "https://a.example/?@Ana"]
        {
            let (marks, users) = found(text);
            assert_eq!(users, [] as [u8; 0], "{text}");
            assert!(marks.iter().all(|mark| mark.0 != MarkKind::Mention), "{text}");
        }
    }

    #[test]
    fn of_too_many_the_first_are_mentioned() {
        let (_, users) = found(&"@Ana ".repeat(MENTIONS_LIMIT + 10));
        assert_eq!(users, [1; MENTIONS_LIMIT]);
    }

    proptest! {
        /// What is stored fits: a rule that drops marks with wrong mentions finds nothing to drop.
        #[test]
        fn marks_and_users_belong_together(text in "(@Ana|@snake_case_|@Bea Maria|[`*_|>\\-\\[\\]\n a@]){0,30}") {
            if let Ok(body) = Body::try_from(text.clone()) {
                let wording = worded(body.as_str());
                prop_assert_eq!(wording.clone().checked(), wording);
            }
        }
    }
}
