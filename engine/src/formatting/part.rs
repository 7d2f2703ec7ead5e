//! Parts of a text, and the marks that are made of those that fit.

use std::{cmp::Reverse, ops::Range};

use domain::{
    Mark, MarkKind,
    link::LINKS_LIMIT,
    marks::{MARKS_DEPTH, MARKS_LIMIT},
};

/// A part of a text that is shown in its own way. Without its marks all of it is shown as typed, so it is kept or dropped
/// together with its signs.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// What it is: a [`MarkKind::Hidden`] part is a single sign.
    pub(super) kind: MarkKind,
    /// Where it is, in bytes of the text.
    pub(super) range: Range<usize>,
    /// The signs that made it, which are not shown. They may lie beside it, as line ends do.
    pub(super) signs: Vec<Range<usize>>,
    /// The address of a link, or the language of code.
    pub(super) label: Option<Range<usize>>,
    /// The place of the list that an item belongs to.
    pub(super) list: Option<usize>,
    /// Whether it is shown as typed after all.
    pub(super) is_dropped: bool,
}

impl Part {
    /// Creates a part without signs.
    pub(super) fn new(kind: MarkKind, range: Range<usize>) -> Self {
        Self { kind, range, signs: Vec::new(), label: None, list: None, is_dropped: false }
    }

    /// Creates a sign that belongs to no other part.
    pub(super) fn sign(range: Range<usize>) -> Self {
        Self::new(MarkKind::Hidden, range)
    }

    /// Returns the number of marks that it makes.
    fn cost(&self) -> usize {
        1 + self.signs.len() + usize::from(self.label.is_some())
    }

    /// Returns what is not shown because of this part.
    pub(super) fn hidden(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let itself = (self.kind == MarkKind::Hidden).then(|| self.range.clone());
        itself.into_iter().chain(self.signs.iter().cloned())
    }

    /// Returns the kind of the mark that its label makes.
    fn label_kind(&self) -> MarkKind {
        if self.kind == MarkKind::Link { MarkKind::Address } else { MarkKind::Language }
    }
}

/// Returns the marks of the parts that fit, in their order.
pub(super) fn into_marks(text: &str, mut parts: Vec<Part>) -> Vec<Mark> {
    drop_what_is_too_much(&mut parts);
    drop_lists_that_lost_items(&mut parts);
    drop_what_shows_nothing(text, &mut parts);
    drop_lists_that_lost_items(&mut parts);
    let mut marks = Vec::new();
    for part in parts.iter().filter(|part| !part.is_dropped) {
        marks.push((part.kind, part.range.clone()));
        marks.extend(part.signs.iter().map(|sign| (MarkKind::Hidden, sign.clone())));
        marks.extend(part.label.iter().map(|label| (part.label_kind(), label.clone())));
    }
    marks.sort_by_key(|(kind, range)| (range.start, Reverse(range.end), *kind == MarkKind::Hidden));
    joined(marks)
}

/// Returns the order of parts by where they begin, the outer before the inner.
fn in_order(parts: &[Part]) -> Vec<usize> {
    let mut order: Vec<_> = (0..parts.len()).collect();
    order.sort_by_key(|place| parts.get(*place).map(|part| (part.range.start, Reverse(part.range.end))));
    order
}

/// Drops parts that are nested too deep, and all from the first one on that is beyond a limit.
fn drop_what_is_too_much(parts: &mut [Part]) {
    let (mut marks, mut links, mut around) = (0, 0, Vec::new());
    for place in in_order(parts) {
        let Some(part) = parts.get_mut(place).filter(|part| !part.is_dropped) else { continue };
        while around.pop_if(|end| *end <= part.range.start).is_some() {}
        let depth = around.len() + usize::from(part.label.is_some());
        if part.kind != MarkKind::Hidden {
            around.push(part.range.end);
        }
        links += usize::from(part.kind == MarkKind::Link);
        marks += part.cost();
        part.is_dropped = marks > MARKS_LIMIT
            || (part.kind == MarkKind::Link && links > LINKS_LIMIT)
            || (part.kind != MarkKind::Hidden && depth >= MARKS_DEPTH);
    }
}

/// Drops lists of which an item was dropped, and the items of dropped lists.
fn drop_lists_that_lost_items(parts: &mut [Part]) {
    let lost: Vec<_> = parts.iter().filter(|part| part.is_dropped).filter_map(|part| part.list).collect();
    for list in lost {
        if let Some(list) = parts.get_mut(list) {
            list.is_dropped = true;
        }
    }
    let dropped: Vec<_> = parts.iter().map(|part| part.is_dropped).collect();
    for part in parts {
        part.is_dropped |= part.list.is_some_and(|list| dropped.get(list).is_none_or(|dropped| *dropped));
    }
}

/// Drops parts of which nothing would be visible, such as a quote of nothing: their signs are what was meant.
fn drop_what_shows_nothing(text: &str, parts: &mut [Part]) {
    let mut is_visible: Vec<_> = text.bytes().map(|byte| !byte.is_ascii_whitespace()).collect();
    for sign in parts.iter().filter(|part| !part.is_dropped).flat_map(Part::hidden) {
        is_visible.get_mut(sign).unwrap_or_default().fill(false);
    }
    for part in parts.iter_mut().filter(|part| part.kind != MarkKind::Hidden && !part.is_dropped) {
        // A link needs a text beside its address, which would be all that it shows.
        let address = part.label.as_ref().filter(|_| part.kind == MarkKind::Link);
        let end = address.map_or(part.range.end, |address| address.start);
        let shown = is_visible.get(part.range.start..end).unwrap_or_default();
        part.is_dropped = !shown.contains(&true);
    }
}

/// Makes one mark of hidden ranges that follow each other within the same mark.
fn joined(marks: Vec<(MarkKind, Range<usize>)>) -> Vec<Mark> {
    let mut joined: Vec<(MarkKind, Range<usize>)> = Vec::new();
    let mut around: Vec<usize> = Vec::new();
    let mut is_next_to_hidden = false;
    for (kind, range) in marks {
        while around.pop_if(|end| *end <= range.start).is_some() {
            is_next_to_hidden = false;
        }
        let before = joined.last_mut().filter(|(_, before)| is_next_to_hidden && before.end == range.start);
        match before {
            Some((_, before)) if kind == MarkKind::Hidden => before.end = range.end,
            _ => joined.push((kind, range.clone())),
        }
        is_next_to_hidden = kind == MarkKind::Hidden;
        if kind != MarkKind::Hidden {
            around.push(range.end);
        }
    }
    let mark = |(kind, range): (MarkKind, Range<usize>)| {
        Some(Mark(kind, range.start.try_into().ok()?, range.end.try_into().ok()?))
    };
    joined.into_iter().filter_map(mark).collect()
}
