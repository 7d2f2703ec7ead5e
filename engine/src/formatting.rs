//! Formatting: finds the [`Marks`] of a text that was typed as CommonMark. The parser, pulldown-cmark, says where things
//! are in the text; what is not supported, such as headings, tables, pictures and HTML, gets no marks and is shown as it
//! was typed. In doubt a sign is shown: nothing that was typed can be lost.
//!
//! Different from CommonMark are these, which people in a chat mean differently: a line that follows a quote and does not
//! begin with `>` is no part of it; line breaks are kept; entities such as `&amp;` stay as typed; and an address that is
//! not in brackets is a link, in which no sign means anything else.
//!
//! Marks are made where a text comes in, and stored with it. So the rules do not depend on the parser, and nodes with
//! different versions of it never differ (docs/adr/0031-marks-are-ranges-made-at-the-edge.md).

mod addresses;
mod fold;
mod lines;
mod names;
mod part;
mod spoilers;

use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::{Body, MarkKind, Marks, Wording};

use self::part::Part;
use crate::mentions::Mention;

/// The maximum number of bytes that may begin or end something, and of lines, of a text that is parsed. What has more is
/// shown as typed, since the time that parsers need for such texts is not linear in their length.
const SIGNS_LIMIT: usize = 1_000;

/// Returns the marks of a text that mentions nobody.
pub fn marks(body: &Body) -> Marks {
    marks_with(body, &[])
}

/// Returns the words of a text that may mention these users, in order. In code, links and addresses nobody is mentioned, and
/// of more than [`domain::message::MENTIONS_LIMIT`] mentions the first are made.
pub(crate) fn words(body: Body, mentions: &[Mention]) -> Wording {
    let marks = marks_with(&body, mentions);
    let mentioned = |at: u16| mentions.iter().find(|mention| mention.range.start == usize::from(at));
    let users = marks.iter().filter(|mark| mark.0 == MarkKind::Mention).filter_map(|mark| mentioned(mark.1));
    let users = users.map(|mention| mention.user).collect();
    Wording { body, marks, mentions: users }
}

fn marks_with(body: &Body, mentions: &[Mention]) -> Marks {
    let text = body.as_str();
    let formatted = if may_be_formatted(text) { parts(text) } else { Vec::new() };
    checked(body, formatted, mentions).or_else(|| checked(body, Vec::new(), mentions)).unwrap_or_default()
}

/// Returns the marks that parts of a text make, the addresses in it and the users it mentions. `None` if they do not fit
/// together.
fn checked(body: &Body, mut parts: Vec<Part>, mentions: &[Mention]) -> Option<Marks> {
    addresses::add(body.as_str(), &mut parts);
    names::add(mentions, &mut parts);
    Marks::checked(body, part::into_marks(body.as_str(), parts))
}

/// Returns the parts that a parser finds, or none if it panics.
fn parts(text: &str) -> Vec<Part> {
    let parts = || {
        let (mut parts, leaves) = fold::parts(text);
        spoilers::add(text, &leaves, &mut parts);
        parts
    };
    catch_unwind(AssertUnwindSafe(parts)).unwrap_or_else(|_| {
        tracing::error!(bytes = text.len(), "a text is shown as typed, since parsing it panicked");
        Vec::new()
    })
}

/// Whether a text may have marks beside links, and not too many signs to be parsed. Most texts end here.
fn may_be_formatted(text: &str) -> bool {
    let (mut signs, mut lines, mut begins_list, mut at_start) = (0, 0, false, true);
    for byte in text.bytes() {
        match byte {
            b'`' | b'[' | b'<' | b'*' | b'_' | b'~' | b'>' | b'|' | b'\\' => signs += 1,
            b'\n' => lines += 1,
            b'-' | b'+' | b'0'..=b'9' if at_start => begins_list = true,
            _ => {}
        }
        at_start = byte == b'\n' || (at_start && matches!(byte, b' ' | b'\t'));
    }
    (signs > 0 || begins_list) && signs <= SIGNS_LIMIT && lines <= SIGNS_LIMIT
}

#[cfg(test)]
mod tests;
