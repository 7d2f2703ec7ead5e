//! Makes links of the addresses in a text.

use std::ops::Range;

use domain::{
    MarkKind,
    link::{self, Segment},
};

use super::part::Part;

/// Adds the addresses that are in no code and in no link yet. An address means nothing but itself, so the parts of which
/// a sign would be in one are dropped: `https://a.example/*b*` has no emphasis.
pub(super) fn add(text: &str, parts: &mut Vec<Part>) {
    let is_taken = |kind| matches!(kind, MarkKind::Code | MarkKind::CodeBlock | MarkKind::Link);
    let taken = parts.iter().filter(|part| !part.is_dropped && is_taken(part.kind));
    let mut taken: Vec<_> = taken.map(|part| part.range.clone()).collect();
    taken.sort_by_key(|range| range.start);
    taken.push(text.len()..text.len());
    let (mut found, mut from) = (Vec::new(), 0);
    for range in taken {
        addresses(text, from..range.start, &mut found);
        from = range.end.max(from);
    }
    for part in parts.iter_mut() {
        let is_in_address = part.hidden().any(|sign| is_in_one(&found, &sign));
        part.is_dropped |= is_in_address;
    }
    parts.extend(found.into_iter().map(|range| Part::new(MarkKind::Link, range)));
}

/// Adds the addresses in a range of the text.
fn addresses(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut at = range.start;
    for segment in text.get(range).map(link::linkify).unwrap_or_default() {
        match segment {
            Segment::Text(text) => at += text.len(),
            Segment::Link(address) => {
                found.push(at..at + address.len());
                at += address.len();
            }
        }
    }
}

/// Whether a sign lies in one of these ranges, which are in order.
fn is_in_one(ranges: &[Range<usize>], sign: &Range<usize>) -> bool {
    let after = ranges.partition_point(|range| range.end <= sign.start);
    ranges.get(after).is_some_and(|range| range.start < sign.end)
}
