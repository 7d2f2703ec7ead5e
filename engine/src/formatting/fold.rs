//! Folds what the parser reports into parts of the text.
//!
//! The parser says where each text, each line break and each container is. What lies between them are the signs. Those of a
//! container are found where they have to be: at its ends, at its beginning, and for quotes and lists at the beginning
//! of each line. Whatever else there is, is shown.

use std::ops::Range;

use domain::{MarkKind, link, marks::MARKS_DEPTH};
use pulldown_cmark::{CodeBlockKind, CowStr, Event, LinkType, Options, Parser, Tag};

use super::{lines, part::Part};

/// Longer numbers than this are not those of lists, but of years for instance.
const LAST_NUMBER: u64 = 999;
/// What lies in more containers than this is too deep to have marks.
const OPEN_LIMIT: usize = 4 * MARKS_DEPTH;
/// The columns between two tab stops.
const TAB: usize = 4;

/// A text without signs.
pub(super) struct Leaf {
    /// Where it is, in bytes of the text.
    pub(super) range: Range<usize>,
    /// Leaves of the same run are in the same container, with no block between them.
    pub(super) run: u32,
}

/// Returns the parts of a text, and its leaves outside of code.
pub(super) fn parts(text: &str) -> (Vec<Part>, Vec<Leaf>) {
    let mut fold = Fold { text, ..Fold::default() };
    for segment in lines::segments(text) {
        let begin = segment.start;
        let parser = Parser::new_ext(text.get(segment).unwrap_or_default(), Options::ENABLE_STRIKETHROUGH);
        for (event, range) in parser.into_offset_iter() {
            fold.add(event, begin + range.start..begin + range.end);
        }
    }
    (fold.parts, fold.leaves)
}

/// What a container is, as far as its signs matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    /// A block quote: its lines begin with `>`.
    Quote,
    /// An item of a list, with the column in which its lines begin.
    Item(usize),
    /// A list.
    List,
    /// Code between two fences.
    Fence,
    /// A mark within a line, with signs of this length at both ends.
    Inline(usize),
    /// A link with its address in parentheses.
    Link,
    /// Something without signs, or of which all signs are shown.
    Other,
}

/// A container that has not ended yet.
#[derive(Debug)]
struct Open {
    container: Container,
    /// The place of its part. `None` if it is shown as typed.
    part: Option<usize>,
    /// Where it begins.
    start: usize,
    /// Where it ends at the latest.
    end: usize,
    /// The run of the leaves in it.
    run: u32,
}

/// The state of the fold.
#[derive(Default)]
struct Fold<'a> {
    text: &'a str,
    /// Up to where it is known what is a sign.
    at: usize,
    open: Vec<Open>,
    parts: Vec<Part>,
    leaves: Vec<Leaf>,
    /// The place of the block at whose edge `at` is: it has just begun, or just ended. Line ends at its edge are not shown,
    /// since a block has lines of its own.
    edge: Option<usize>,
    last_run: u32,
}

impl Fold<'_> {
    fn add(&mut self, event: Event<'_>, mut range: Range<usize>) {
        // The parser lets some lists begin before the line end that belongs to the list before, which is shorter then.
        let end = self.open.last().map_or(self.text.len(), |open| open.end);
        range.end = range.end.min(end);
        range.start = range.start.min(range.end);
        match event {
            Event::Start(tag) => self.start(&tag, range),
            Event::End(_) => self.end(range),
            Event::Text(_) => {
                self.gap(range.start, None, true);
                // An escaped character is no sign.
                let is_escaped = self
                    .parts
                    .last()
                    .is_some_and(|last| last.kind == MarkKind::Hidden && last.range.end == range.start);
                let begin = range.start + usize::from(is_escaped);
                if let Some(open) = self.open.last().filter(|open| !self.is_verbatim(open)) {
                    self.leaves.push(Leaf { range: begin..range.end, run: open.run });
                }
                self.leaf(range.end);
            }
            Event::Code(_) => self.code(range),
            Event::HardBreak => {
                self.gap(range.start, None, false);
                if self.byte(range.start) == Some(b'\\') {
                    self.parts.push(Part::sign(range.start..range.start + 1));
                }
                self.leaf(range.end);
            }
            _ => {
                self.gap(range.start, None, false);
                self.leaf(range.end);
            }
        }
    }

    /// Whether the text in a container is code or an address, in which nothing means anything else.
    fn is_verbatim(&self, open: &Open) -> bool {
        let part = open.part.and_then(|part| self.parts.get(part));
        open.container == Container::Fence
            || (open.container == Container::Inline(1)
                && part.is_some_and(|part| part.kind == MarkKind::Link))
    }

    /// Goes on behind something that is shown as it is.
    fn leaf(&mut self, end: usize) {
        self.edge = None;
        self.at = self.at.max(end);
    }

    fn code(&mut self, range: Range<usize>) {
        self.gap(range.start, None, false);
        let source = self.source(range.clone());
        let content = source.trim_matches('`');
        // A blank at both ends is there to allow for backticks in the code.
        let is_blank = |c| matches!(c, ' ' | '\n');
        let blank = usize::from(
            content.starts_with(is_blank) && content.ends_with(is_blank) && !content.trim().is_empty(),
        );
        let ticks = source.len() - source.trim_start_matches('`').len();
        let (begin, end) = (range.start + ticks + blank, range.end.saturating_sub(ticks + blank));
        let part = Some(self.push(Part::new(MarkKind::Code, range.clone())));
        self.hide(part, range.start..begin);
        // Where a line begins in it, there may be the signs of a quote.
        self.at = begin;
        while let Some(line_end) = self.source(self.at..end).find('\n') {
            self.at += line_end + 1;
            self.line_signs(end);
        }
        self.hide(part, end..range.end);
        self.leaf(range.end);
    }

    fn start(&mut self, tag: &Tag<'_>, mut range: Range<usize>) {
        range.start = self.at.clamp(range.start, range.end);
        if matches!(tag, Tag::List(_) | Tag::Item) {
            // The parser counts the indentation of some lists to them.
            let source = self.source(range.clone());
            range.start += source.len() - source.trim_start_matches([' ', '\t', '\n']).len();
        }
        let part = self.part_of(tag, &range);
        let (part, container) =
            part.map_or((None, Container::Other), |(part, container)| (Some(self.push(part)), container));
        let block = part.filter(|_| !matches!(container, Container::Inline(_) | Container::Link));
        self.gap(range.start, block, false);
        self.at = self.at.max(range.start);
        match container {
            Container::Inline(length) => {
                self.hide(part, range.start..range.start + length);
                self.leaf(range.start + length);
            }
            Container::Link => {
                self.hide(part, range.start..range.start + 1);
                self.leaf(range.start + 1);
            }
            Container::Fence => self.begin_code(part, &range),
            Container::Quote | Container::Item(_) | Container::List => self.edge = part,
            Container::Other => {}
        }
        let run = self.next_run();
        self.open.push(Open { container, part, start: range.start, end: range.end, run });
    }

    /// Returns the part that a container makes, and what it is. `None` if it is shown as typed.
    fn part_of(&self, tag: &Tag<'_>, range: &Range<usize>) -> Option<(Part, Container)> {
        let part = |kind| Part::new(kind, range.clone());
        if self.open.len() > OPEN_LIMIT {
            return None;
        }
        let (part, container) = match tag {
            Tag::Strong => (part(MarkKind::Strong), Container::Inline(2)),
            Tag::Emphasis => (part(MarkKind::Emphasis), Container::Inline(1)),
            // The parser takes a single tilde for one as well.
            Tag::Strikethrough if self.source(range.clone()).starts_with("~~") => {
                (part(MarkKind::Struck), Container::Inline(2))
            }
            Tag::Link { link_type, dest_url, title, .. }
                if title.is_empty() && link::is_address(dest_url) =>
            {
                match link_type {
                    LinkType::Autolink => {
                        // without its brackets, since its text is the address
                        let address = range.start + 1..range.end.saturating_sub(1);
                        (Part::new(MarkKind::Link, address), Container::Inline(1))
                    }
                    LinkType::Inline => (self.link(dest_url, range)?, Container::Link),
                    _ => return None,
                }
            }
            Tag::BlockQuote(_) => (part(MarkKind::Quote), Container::Quote),
            Tag::List(None) => (part(MarkKind::Bullets), Container::List),
            Tag::List(Some(..=LAST_NUMBER)) => (part(MarkKind::Numbers), Container::List),
            Tag::Item => {
                let list = Some(self.open.last()?.part?);
                (Part { list, ..part(MarkKind::Item) }, Container::Item(self.column_of_item(range.start)))
            }
            Tag::CodeBlock(CodeBlockKind::Fenced(_)) => (part(MarkKind::CodeBlock), Container::Fence),
            _ => return None,
        };
        Some((part, container))
    }

    /// Returns the part that a link with an address in parentheses makes, with the signs at its end. `None` if the
    /// address is not written as it is, but with escapes for instance: what is shown has to be what it leads to.
    fn link(&self, address: &CowStr<'_>, range: &Range<usize>) -> Option<Part> {
        let source = self.source(range.clone());
        let before = source.strip_suffix(')')?.trim_end_matches([' ', '\t']);
        let before = before.strip_suffix('>').unwrap_or(before).strip_suffix(&**address)?;
        let label = range.start + before.len()..range.start + before.len() + address.len();
        let before = before.strip_suffix('<').unwrap_or(before).trim_end_matches([' ', '\t']);
        let text = before.strip_suffix("](")?;
        if text.strip_prefix('[')?.trim().is_empty() {
            return None;
        }
        let end = range.start + text.len();
        Some(Part {
            signs: vec![end..label.start, label.end..range.end],
            label: Some(label),
            ..Part::new(MarkKind::Link, range.clone())
        })
    }

    fn end(&mut self, range: Range<usize>) {
        let Some((container, part)) = self.open.last().map(|open| (open.container, open.part)) else {
            return;
        };
        match container {
            Container::Inline(length) => {
                let end = range.end.saturating_sub(length);
                self.gap(end, None, false);
                self.hide(part, end..range.end);
                self.leaf(range.end);
            }
            Container::Link => {
                let end = part.and_then(|part| self.parts.get(part)?.signs.first()).map(|sign| sign.start);
                self.gap(end.unwrap_or(range.end), None, false);
                self.leaf(range.end);
            }
            Container::Fence => self.end_code(part, &range),
            Container::Quote | Container::Item(_) | Container::List | Container::Other => {
                let end = self.end_of_content(range.end, container == Container::Quote);
                self.gap(end, None, false);
            }
        }
        if matches!(container, Container::Item(_)) && part.is_some() {
            let rest = self.source(self.at..range.end);
            let line = rest
                .find('\n')
                .map(|end| end + 1)
                .filter(|end| rest.get(..*end).unwrap_or_default().trim().is_empty());
            if let Some(length) = line {
                self.hide(part, self.at..self.at + length);
                self.at += length;
            }
        }
        self.open.pop();
        if matches!(container, Container::Quote | Container::Item(_) | Container::List | Container::Fence) {
            let end = self.at;
            if let Some(part) = part.and_then(|part| self.parts.get_mut(part)) {
                part.is_dropped |= end <= part.range.start;
                part.range.end = end.max(part.range.start);
            }
            self.edge = part;
            let run = self.next_run();
            if let Some(around) = self.open.last_mut() {
                around.run = run;
            }
        }
    }

    /// Hides the first line of a code block, except for the language.
    fn begin_code(&mut self, part: Option<usize>, range: &Range<usize>) {
        let source = self.source(range.clone());
        let line = source.split_inclusive('\n').next().unwrap_or_default();
        let info = line.trim_start_matches(['`', '~']);
        let language = info.trim();
        let begin = range.start + line.len() - info.trim_start().len();
        let (end, line_end) = (begin + language.len(), range.start + line.len());
        if language.is_empty() {
            self.hide(part, range.start..line_end);
        } else {
            self.hide(part, range.start..begin);
            self.hide(part, end..line_end);
            if let Some(part) = part.and_then(|part| self.parts.get_mut(part)) {
                part.label = Some(begin..end);
            }
        }
        self.at = line_end;
        self.edge = None;
    }

    /// Hides the last line of a code block, and the line end before it. There is none if the block ends with the text.
    fn end_code(&mut self, part: Option<usize>, range: &Range<usize>) {
        let content_end = self.at;
        let is_closed = self.source(content_end..range.end).contains(['`', '~']);
        let line_end = content_end.saturating_sub(1)..content_end;
        let is_hidden = part
            .and_then(|part| self.parts.get(part))
            .is_some_and(|part| part.hidden().any(|sign| sign.end == content_end));
        if is_closed && !is_hidden && self.source(line_end.clone()) == "\n" {
            self.hide(part, line_end);
        }
        self.gap(range.end, None, false);
    }

    /// Accounts for what lies before `to`: hides what are the signs of the containers around, and the white space at the
    /// edge of a block. `block` is the place of the block that begins at `to`; `is_text` is whether a text does, whose first
    /// character may be escaped.
    fn gap(&mut self, to: usize, block: Option<usize>, is_text: bool) {
        let mut blanks = Vec::new();
        let mut is_line_begun = None;
        while self.at < to {
            let from = self.at;
            if is_line_begun != Some(from) && (from == 0 || self.byte(from - 1) == Some(b'\n')) {
                self.line_signs(to);
                is_line_begun = Some(self.at);
                continue;
            }
            let rest = self.source(from..to);
            let Some(c) = rest.chars().next() else { break };
            let (container, part, start) = self
                .open
                .last()
                .map_or((Container::Other, None, 0), |open| (open.container, open.part, open.start));
            let marker = match container {
                Container::Quote if from == start => quote_sign(rest),
                Container::Item(_) if from == start => item_sign(rest),
                _ => 0,
            };
            if marker > 0 && part.is_some() {
                self.hide(part, from..from + marker);
                self.at += marker;
            } else if matches!(c, ' ' | '\t' | '\n') {
                let line = rest.split_inclusive('\n').next().unwrap_or_default();
                let visible = line.trim_start_matches([' ', '\t', '\n']);
                self.at += line.len() - visible.len();
                blanks.push(from..self.at);
            } else if container == Container::Fence && matches!(c, '`' | '~') {
                self.hide(part, from..from + 1);
                self.at += 1;
            } else if c == '\\'
                && is_text
                && rest.len() == 1
                && self.byte(to).is_some_and(|byte| byte.is_ascii_punctuation())
            {
                self.settle(&mut blanks, None);
                self.parts.push(Part::sign(from..to));
                self.at = to;
            } else {
                self.settle(&mut blanks, None);
                self.edge = None;
                self.at += c.len_utf8();
            }
        }
        self.settle(&mut blanks, block);
    }

    /// Hides white space: before a block all of it, and at the edge of one up to the last line end. In a code block there
    /// is none but around the fences.
    fn settle(&mut self, blanks: &mut Vec<Range<usize>>, block: Option<usize>) {
        let fence = self.open.last().filter(|open| open.container == Container::Fence);
        let whole = block.or(fence.and_then(|open| open.part));
        let last_line_end = blanks.iter().rev().find(|blank| self.source((*blank).clone()).ends_with('\n'));
        let end = last_line_end.map_or(0, |blank| blank.end);
        for blank in blanks.drain(..) {
            if whole.is_some() || blank.end <= end {
                self.hide(whole.or(self.edge), blank);
            }
        }
    }

    /// Hides the signs of quotes and the indentation of items at the beginning of a line, as far as it has them.
    fn line_signs(&mut self, to: usize) {
        let mut column = 0;
        for place in 0..self.open.len().min(OPEN_LIMIT) {
            let Some((container, part)) = self.open.get(place).map(|open| (open.container, open.part)) else {
                break;
            };
            let from = self.at;
            let rest = self.source(from..to);
            let length = match container {
                Container::Quote => {
                    let indentation = rest.len() - rest.trim_start_matches(' ').len();
                    match quote_sign(rest.get(indentation..).unwrap_or_default()) {
                        length if length > 0 && indentation < TAB => indentation + length,
                        // The line is a part of the quote without its sign.
                        _ => break,
                    }
                }
                Container::Item(begin) => {
                    let mut length = 0;
                    for c in rest.chars() {
                        column = match c {
                            ' ' if column < begin => column + 1,
                            '\t' if column < begin => (column / TAB + 1) * TAB,
                            _ => break,
                        };
                        length += 1;
                    }
                    length
                }
                _ => continue,
            };
            if container == Container::Quote {
                column += length;
            }
            self.hide(part, from..from + length);
            self.at += length;
        }
    }

    /// Returns the column in which the lines of an item begin.
    fn column_of_item(&self, start: usize) -> usize {
        let before = self.text.get(..start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let rest = self.text.get(start..).unwrap_or_default();
        let sign = item_sign(rest);
        let marker = rest.get(..sign).unwrap_or_default().trim_end().len();
        let is_blank = rest.get(sign..).is_none_or(|rest| rest.is_empty() || rest.starts_with('\n'));
        let column = |text: &str| {
            text.chars().fold(0, |column, c| if c == '\t' { (column / TAB + 1) * TAB } else { column + 1 })
        };
        let begin = column(line) + marker;
        let content = column(line) + column(rest.get(..sign).unwrap_or_default());
        // With more blanks than this, code begins behind the first.
        if is_blank || content > begin + TAB { begin + 1 } else { content }
    }

    /// Returns where the last content of a container ends. Blank lines are none; nor are those with the signs of quotes
    /// alone, unless the container is a quote.
    fn end_of_content(&self, end: usize, is_quote: bool) -> usize {
        let (mut from, mut content_end) = (self.at, self.at);
        let mut is_begin = self.at == 0 || self.byte(self.at - 1) == Some(b'\n');
        for line in self.source(self.at..end).split_inclusive('\n') {
            let content = line.trim_end_matches([' ', '\t', '\n']);
            let is_blank = if is_begin && !is_quote {
                content.trim_matches([' ', '\t', '>']).is_empty()
            } else {
                content.is_empty()
            };
            if !is_blank {
                content_end = from + content.len();
            }
            from += line.len();
            is_begin = true;
        }
        content_end
    }

    /// Hides a range as a sign of a part. Without a part it is shown.
    fn hide(&mut self, part: Option<usize>, range: Range<usize>) {
        if let Some(part) = part.and_then(|part| self.parts.get_mut(part)).filter(|_| !range.is_empty()) {
            part.signs.push(range);
        }
    }

    fn push(&mut self, part: Part) -> usize {
        self.parts.push(part);
        self.parts.len() - 1
    }

    fn next_run(&mut self) -> u32 {
        self.last_run += 1;
        self.last_run
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Returns a range of the text, or nothing if there is none.
    fn source(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }
}

/// Returns the length of the sign of a quote at the beginning of a text, with the blank after it, or 0.
fn quote_sign(text: &str) -> usize {
    match text.strip_prefix('>') {
        Some(rest) => 1 + usize::from(rest.starts_with([' ', '\t'])),
        None => 0,
    }
}

/// Returns the length of the sign of an item at the beginning of a text, with the blanks after it, or 0.
fn item_sign(text: &str) -> usize {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let signs = if rest.len() == text.len() { ['-', '+', '*'].as_slice() } else { ['.', ')'].as_slice() };
    match rest.strip_prefix(signs) {
        Some(rest) => text.len() - rest.trim_start_matches([' ', '\t']).len(),
        None => 0,
    }
}
