//! What the headers of a file say that decoding it costs, read before a decoder sees the file. The libraries check the
//! size of a picture, and not all that they allocate for it.

/// What the markers of a JPEG say (ITU-T T.81, annex B).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jpeg {
    /// The number of color components.
    pub(super) components: u8,
    /// The number of scans.
    pub(super) scans: u64,
    /// Whether all coefficients have to be held in memory until the last scan.
    pub(super) is_in_parts: bool,
}

/// Reads the markers of a JPEG. `None` if it has no frame, or does not end: decoders show what there is of it.
pub(super) fn jpeg(file: &[u8]) -> Option<Jpeg> {
    let mut found = Jpeg { components: 0, scans: 0, is_in_parts: false };
    let mut rest = file.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let start = rest.iter().position(|byte| *byte == 0xff)?;
        rest = rest.get(start..)?;
        let fill = rest.iter().position(|byte| *byte != 0xff)?;
        let (marker, after) = rest.get(fill..)?.split_first()?;
        rest = after;
        match marker {
            // Stuffed bytes, restarts and others without a segment.
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            0xd9 => return (found.components > 0 && found.scans > 0).then_some(found),
            _ => {}
        }
        let (length, _) = after.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let segment = after.get(2..length)?;
        rest = after.get(length..)?;
        match marker {
            // The tables of Huffman and arithmetic codes, and an extension, are among the numbers of frames.
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => {
                found.components = *segment.get(5)?;
                found.is_in_parts |= *marker != 0xc0 && *marker != 0xc1;
            }
            0xda => {
                found.scans += 1;
                found.is_in_parts |= *segment.first()? != found.components;
            }
            _ => {}
        }
    }
}

/// Returns the largest number of pixels that a frame of a WebP has, by the header of the frame itself (RFC 9649 and
/// RFC 6386, section 9.1): that of the file may be smaller. `None` if it is no WebP.
pub(super) fn webp_pixels(file: &[u8]) -> Option<u64> {
    let (riff, rest) = file.split_first_chunk::<12>()?;
    if !riff.starts_with(b"RIFF") || !riff.ends_with(b"WEBP") {
        return None;
    }
    Some(chunk_pixels(rest, true))
}

fn chunk_pixels(mut rest: &[u8], is_outer: bool) -> u64 {
    let mut most = 0;
    while let Some((name, after)) = rest.split_first_chunk::<4>()
        && let Some((length, after)) = after.split_first_chunk::<4>()
    {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (chunk, after) = after.split_at(length.min(after.len()));
        let pixels = match name {
            b"VP8 " => vp8_pixels(chunk),
            b"VP8L" => vp8l_pixels(chunk),
            // A frame of an animation has 16 bytes of its own, and chunks in it.
            b"ANMF" if is_outer => chunk.get(16..).map(|chunks| chunk_pixels(chunks, false)),
            _ => None,
        };
        most = most.max(pixels.unwrap_or_default());
        // A chunk of an odd length is followed by a byte that is none of it.
        rest = after.get(length % 2..).unwrap_or_default();
    }
    most
}

fn vp8_pixels(chunk: &[u8]) -> Option<u64> {
    let size = chunk.get(6..)?.first_chunk::<4>()?;
    let [width, height] =
        [[size[0], size[1]], [size[2], size[3]]].map(|side| u16::from_le_bytes(side) & 0x3fff);
    Some(u64::from(width) * u64::from(height))
}

fn vp8l_pixels(chunk: &[u8]) -> Option<u64> {
    let size = u32::from_le_bytes(*chunk.get(1..)?.first_chunk::<4>()?);
    let [width, height] = [size, size >> 14].map(|side| u64::from(side & 0x3fff) + 1);
    Some(width * height)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &[u8] = &[0xff, 0xd8];
    /// A baseline frame of 8 × 8 pixels and three components.
    const FRAME: &[u8] = &[0xff, 0xc0, 0, 11, 8, 0, 8, 0, 8, 3, 1, 0x11, 0];
    const SCAN: &[u8] = &[0xff, 0xda, 0, 5, 3, 1, 0, 1, 2, 0xff, 0, 3, 0xff, 0xd0, 4];
    const END: &[u8] = &[0xff, 0xd9];

    #[test]
    fn the_markers_of_a_jpeg_say_whether_it_comes_in_parts() {
        let jpeg_of = |parts: &[&[u8]]| jpeg(&parts.concat());
        let whole = Jpeg { components: 3, scans: 1, is_in_parts: false };
        assert_eq!(jpeg_of(&[START, FRAME, SCAN, END]), Some(whole));
        assert_eq!(jpeg_of(&[START, FRAME, SCAN, END, b"and more"]), Some(whole));
        let progressive = [FRAME, SCAN, SCAN]
            .concat()
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                1 => 0xc2,
                _ => *byte,
            })
            .collect::<Vec<u8>>();
        let parts = Jpeg { components: 3, scans: 2, is_in_parts: true };
        assert_eq!(jpeg_of(&[START, &progressive, END]), Some(parts));
        let one_component = [0xff, 0xda, 0, 3, 1, 9];
        let parts = Jpeg { components: 3, scans: 1, is_in_parts: true };
        assert_eq!(jpeg_of(&[START, FRAME, &one_component, END]), Some(parts));
    }

    #[test]
    fn a_jpeg_that_does_not_end_is_none() {
        let whole = [START, FRAME, SCAN, END].concat();
        for end in 0..whole.len() {
            assert_eq!(jpeg(&whole[..end]), None, "{end}");
        }
        assert_eq!(jpeg(&[START, SCAN, END].concat()), None);
        assert_eq!(jpeg(&[START, FRAME, END].concat()), None);
        assert_eq!(jpeg(b"\xff\xd8\xff\xfe\x00\x01"), None, "a segment shorter than its length");
    }

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut chunk = name.to_vec();
        chunk.extend((content.len() as u32).to_le_bytes());
        chunk.extend(content);
        chunk.extend(vec![0; content.len() % 2]);
        chunk
    }

    #[test]
    fn the_frames_of_a_webp_tell_their_own_size() {
        let file = |chunks: &[Vec<u8>]| [b"RIFF\0\0\0\0WEBP".to_vec(), chunks.concat()].concat();
        let lossy = chunk(b"VP8 ", &[0, 0, 0, 0x9d, 1, 0x2a, 0xff, 0x3f, 0xff, 0x3f]);
        let lossless = chunk(b"VP8L", &[0x2f, 9, 0, 1, 0, 7]);
        let large = 16_383 * 16_383;
        assert_eq!(webp_pixels(&file(&[chunk(b"VP8X", &[0; 10]), lossy.clone()])), Some(large));
        assert_eq!(webp_pixels(&file(std::slice::from_ref(&lossless))), Some(10 * 5));
        let frame = chunk(b"ANMF", &[vec![0; 16], lossless, lossy].concat());
        assert_eq!(webp_pixels(&file(&[chunk(b"ICCP", b"odd"), frame])), Some(large));
        assert_eq!(webp_pixels(&file(&[])), Some(0));
        assert_eq!(webp_pixels(b"RIFF\0\0\0\0WAVE"), None);
    }
}
