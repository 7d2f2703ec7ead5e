//! Files that are made to take as much memory or time as a decoder lets them.

use std::io::Write;

use flate2::{Compress, Compression, FlushCompress, write::ZlibEncoder};

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker], &length[..], content].concat()
}

/// The frame of a JPEG: with so many bytes of nothing for each component.
fn frame(marker: u8, width: u16, height: u16, components: u8) -> Vec<u8> {
    let mut content = [&[8][..], &height.to_be_bytes(), &width.to_be_bytes(), &[components]].concat();
    (1..=components).for_each(|component| content.extend([component, 0x11, 0]));
    segment(marker, &content)
}

/// A table with a single code.
fn code(number: u8, symbol: u8) -> Vec<u8> {
    segment(0xc4, &[&[number, 1][..], &[0; 15], &[symbol]].concat())
}

/// A progressive JPEG within a segment that its decoder does not see, since the one before ends in the middle of a marker.
/// Behind it is a small one.
pub(crate) fn jpeg(width: u16, height: u16, scans: usize) -> Vec<u8> {
    let mut hidden = [segment(0xdb, &[&[0][..], &[1; 64]].concat()), frame(0xc2, width, height, 3)].concat();
    hidden.extend([code(0, 0), code(0x10, 1)].concat());
    hidden.extend([segment(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 0, 0]), vec![0; 4]].concat());
    for scan in 0..scans {
        let component = u8::try_from(1 + scan % 3).unwrap();
        hidden.extend([segment(0xda, &[1, component, 0, 1, 63, 0]), vec![0; 4]].concat());
    }
    hidden.extend([0xff, 0xd9]);
    let mut file = b"\xff\xd8\xff\xe0\x00\x06ABCD".to_vec();
    file.extend(segment(0xfe, &hidden));
    file.extend(frame(0xc0, 8, 8, 1));
    file.extend(segment(0xda, &[1, 1, 0, 0, 63, 0]));
    file.extend([0, 0, 0xff, 0xd9]);
    file
}

/// A JPEG of 8 × 8 pixels with metadata in so many parts, each of which is compared with all others.
pub(crate) fn metadata(parts: u32) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    for part in 1..=parts {
        let place = [0x7fff_ffff_u32.to_be_bytes(), part.to_be_bytes()].concat();
        let content = [b"http://ns.adobe.com/xmp/extension/\0", &[b'A'; 32][..], &place, b"x"].concat();
        file.extend(segment(0xe1, &content));
    }
    file.extend(segment(0xdb, &[&[0][..], &[1; 64]].concat()));
    file.extend([frame(0xc0, 8, 8, 1), code(0, 0), code(0x10, 0)].concat());
    file.extend(segment(0xda, &[1, 1, 0, 0, 63, 0]));
    file.extend([0, 0, 0xff, 0xd9]);
    file
}

/// Zeros, compressed: blocks of a mebibyte that are compressed once.
fn zeros(count: usize) -> Vec<u8> {
    let block = vec![0; 1 << 20];
    let mut compressed = Vec::with_capacity(1 << 16);
    // Without a header, and so that what follows does not refer to it.
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&block, &mut compressed, FlushCompress::Full).unwrap();
    let mut last = ZlibEncoder::new(Vec::new(), Compression::best());
    last.write_all(&block[..count % (1 << 20)]).unwrap();
    let last = last.finish().unwrap();
    let (header, rest) = last.split_at(2);
    let (rest, _) = rest.split_at(rest.len() - 4);
    // The Adler-32 of zeros (RFC 1950).
    let sum = (u32::try_from(count % 65_521).unwrap() << 16 | 1).to_be_bytes();
    [header, &compressed.repeat(count >> 20), rest, &sum].concat()
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut sum = crc32fast::Hasher::new();
    sum.update(name);
    sum.update(content);
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[..], name, content, &sum.finalize().to_be_bytes()].concat()
}

/// A black PNG whose profile of colors has so many bytes.
pub(crate) fn png(width: u32, height: u32, profile: usize) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let pixels = usize::try_from(height * (1 + width * 3)).unwrap();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"iCCP", &[&b"a\0\0"[..], &zeros(profile)].concat()),
        chunk(b"IDAT", &zeros(pixels)),
        chunk(b"IEND", b""),
    ]
    .concat()
}

/// Numbers of bits, the lowest first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: usize, count: usize) {
        self.0.extend((0..count).map(|bit| value >> bit & 1 == 1));
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        self.0.chunks(8).map(byte).collect()
    }
}

/// A table of codes as long as a lossless WebP can have it, of which a decoder makes many kilobytes (RFC 9649).
fn long_codes(bits: &mut Bits) {
    const ORDER: [usize; 14] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10];
    // The lengths of the codes for the lengths 1 to 10, and the codes themselves, from their highest bit on.
    let length = |symbol: usize| match symbol {
        1..=6 => 3,
        7..=10 => 4,
        _ => 0,
    };
    let code = |symbol: usize| if symbol <= 6 { symbol - 1 } else { 12 + symbol - 7 };
    bits.put(0, 1);
    bits.put(ORDER.len() - 4, 4);
    ORDER.iter().for_each(|symbol| bits.put(length(*symbol), 3));
    bits.put(1, 1);
    bits.put(1, 3);
    bits.put(9, 4);
    for symbol in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10] {
        (0..length(symbol)).rev().for_each(|bit| bits.put(code(symbol) >> bit & 1, 1));
    }
}

/// A WebP of 4 × 4 pixels with so many groups of tables of codes.
pub(crate) fn webp(groups: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    // Its signature and sides, no opacity, version 0, no transform, no cache of colors; and the image of the groups.
    for (value, count) in
        [(0x2f, 8), (3, 14), (3, 14), (0, 1), (0, 3), (0, 1), (0, 1), (1, 1), (0, 3), (0, 1)]
    {
        bits.put(value, count);
    }
    let last = groups - 1;
    for symbol in [last & 255, last >> 8, 0, 0, 0] {
        bits.put(1, 1);
        bits.put(0, 1);
        bits.put(1, 1);
        bits.put(symbol, 8);
    }
    let mut codes = Bits::default();
    long_codes(&mut codes);
    (0..groups * 5).for_each(|_| bits.0.extend(&codes.0));
    let mut content = bits.bytes();
    content.resize(content.len().next_multiple_of(2) + 200, 0);
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let whole = length(12 + content.len());
    [b"RIFF", &whole[..], b"WEBPVP8L", &length(content.len()), &content].concat()
}
