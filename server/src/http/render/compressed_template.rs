//! A page template compressed once for all visitors. What is the same for all of them is in independent blocks of DEFLATE
//! (RFC 1951, section 3.2.3), the slots between them are filled with stored blocks, and all of it has the header and
//! the trailer of a gzip file (RFC 1952).

use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

/// The header of a gzip file without name or time, and of an unknown operating system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty last block, with fixed Huffman codes.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];
/// The maximum length of a stored block, in bytes.
const STORED: usize = u16::MAX as usize;

/// A template as the compressed parts between its slots.
#[derive(Debug)]
pub(super) struct CompressedTemplate(Vec<Part>);

/// A compressed part of a template.
#[derive(Debug)]
struct Part {
    /// Whole blocks that end at a byte boundary and refer to nothing before them.
    blocks: Box<[u8]>,
    /// The CRC of the uncompressed part.
    sum: Hasher,
    length: usize,
}

impl CompressedTemplate {
    /// Compresses the parts of a page, each of which precedes a slot except the last. Returns `None` if compression
    /// fails, which is not known to happen for any text.
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        parts.into_iter().map(Part::of).collect::<Option<_>>().map(Self)
    }

    /// Returns the page as a gzip file, with these texts in its slots.
    pub(super) fn fill<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
        let size = self.0.iter().map(|part| part.blocks.len() + 64).sum();
        let mut file = Vec::with_capacity(size);
        file.extend(HEAD);
        let (mut sum, mut length) = (Hasher::new(), 0);
        let mut texts = texts.into_iter();
        for part in &self.0 {
            file.extend(&*part.blocks);
            sum.combine(&part.sum);
            length += part.length;
            let Some(text) = texts.next() else { continue };
            for stored in text.as_bytes().chunks(STORED) {
                let size = u16::try_from(stored.len()).unwrap_or(u16::MAX);
                file.push(0);
                file.extend(size.to_le_bytes());
                file.extend((!size).to_le_bytes());
                file.extend(stored);
            }
            sum.update(text.as_bytes());
            length += text.len();
        }
        file.extend(LAST_BLOCK);
        file.extend(sum.finalize().to_le_bytes());
        // modulo 2^32, as RFC 1952 specifies
        file.extend((length as u32).to_le_bytes());
        file
    }
}

impl Part {
    fn of(text: &str) -> Option<Self> {
        let mut sum = Hasher::new();
        sum.update(text.as_bytes());
        let mut blocks = Vec::with_capacity(text.len() / 2 + 64);
        let mut work = Compress::new(Compression::default(), false);
        loop {
            let read = usize::try_from(work.total_in()).ok()?;
            work.compress_vec(&text.as_bytes()[read..], &mut blocks, FlushCompress::Full).ok()?;
            // spare capacity means that all output was written
            if blocks.len() < blocks.capacity() {
                break;
            }
            blocks.reserve(text.len() / 2 + 64);
        }
        Some(Self { blocks: blocks.into(), sum, length: text.len() })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn what_is_filled_in_is_read_where_it_was() {
        let long = "Tom & Jerry 🐱 ".repeat(20_000);
        let odd: String = (0..70_000_u32)
            .map(|n| char::from(b'!' + u8::try_from(n.wrapping_mul(2_654_435_761) >> 26).unwrap()))
            .collect();
        for parts in [vec![""], vec!["one"], vec!["", "", ""], vec![&long, "x", &odd, &long]] {
            let compressed = CompressedTemplate::of(parts.iter().copied()).unwrap();
            for texts in [["", "", ""], ["a", "bc", "é"], [&long, "", &odd]] {
                let texts = &texts[..parts.len() - 1];
                let slots = texts.iter().chain([&""]);
                let expected: String =
                    parts.iter().zip(slots).flat_map(|(part, text)| [*part, *text]).collect();
                let mut read = String::new();
                let file = compressed.fill(texts.iter().copied());
                GzDecoder::new(&file[..]).read_to_string(&mut read).unwrap();
                assert!(read == expected, "{} {}", read.len(), expected.len());
            }
        }
    }

    #[test]
    fn what_repeats_itself_is_short() {
        let long = "the same again and again ".repeat(4_000);
        let compressed = CompressedTemplate::of([&*long, "end"]).unwrap();
        assert!(compressed.fill(["x"]).len() < long.len() / 20);
    }
}
