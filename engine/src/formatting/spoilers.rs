//! Finds spoilers, which CommonMark does not know: `||text||`.

use domain::MarkKind;

use super::{fold::Leaf, part::Part};

/// What begins and ends a spoiler.
const SIGN: &str = "||";

/// Adds the spoilers in the texts: pairs of signs in the same run, from left to right.
pub(super) fn add(text: &str, leaves: &[Leaf], parts: &mut Vec<Part>) {
    let mut leaves: Vec<_> = leaves.iter().collect();
    // The texts of a run follow each other, but there may be others in between, of emphasis for instance.
    leaves.sort_by_key(|leaf| (leaf.run, leaf.range.start));
    let mut open: Option<(u32, usize)> = None;
    for leaf in leaves {
        let mut at = leaf.range.start;
        while let Some(found) = text.get(at..leaf.range.end).and_then(|rest| rest.find(SIGN)) {
            let sign = at + found..at + found + SIGN.len();
            at = sign.end;
            match open.take_if(|(run, _)| *run == leaf.run) {
                Some((_, begin)) if begin + SIGN.len() < sign.start => {
                    let mut part = Part::new(MarkKind::Spoiler, begin..sign.end);
                    part.signs = vec![begin..begin + SIGN.len(), sign];
                    parts.push(part);
                }
                // with nothing in between they are no pair
                Some((_, begin)) => open = Some((leaf.run, begin)),
                None => open = Some((leaf.run, sign.start)),
            }
        }
    }
}
