//! Shrinking: each pixel of the result is the average of the area that it covers, each pixel of the source weighted by how
//! much of it is in there. It needs no memory but that of the result, whatever the size of the source, and colors that are
//! not seen do not show: they count by their opacity.

use std::ops::Range;

/// The pixels of a picture, row by row, with 8 bits for each of a number of channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pixels {
    /// The width and the height.
    pub(super) size: (u32, u32),
    /// 1 for gray, 2 for gray with opacity, 3 for colors, 4 for colors with opacity.
    pub(super) channels: usize,
    /// The samples.
    pub(super) samples: Vec<u8>,
}

/// Returns the size of a picture whose longer side is `longest` at most, with the proportions of `size`.
pub(super) fn fit((width, height): (u32, u32), longest: u32) -> (u32, u32) {
    let longer = width.max(height);
    if longer <= longest {
        return (width, height);
    }
    let scaled = |side: u32| {
        let side = (u64::from(side) * u64::from(longest) + u64::from(longer) / 2) / u64::from(longer);
        u32::try_from(side).unwrap_or(longest).max(1)
    };
    (scaled(width), scaled(height))
}

/// The pixels of a row or a column of the source that one pixel of the result covers.
struct Cover {
    range: Range<usize>,
    /// How much of each of them: one in all.
    weights: Vec<f32>,
}

/// Returns what each of `to` pixels covers of `from` pixels.
fn covers(from: u32, to: u32) -> Vec<Cover> {
    let ratio = f64::from(from) / f64::from(to);
    let cover = |place: u32| {
        let (begin, end) = (f64::from(place) * ratio, (f64::from(place + 1) * ratio).min(f64::from(from)));
        // Both are within `from`, and not negative.
        let (first, last) = (begin.floor() as usize, end.ceil() as usize);
        let weight = |at: usize| {
            let at = at as f64;
            ((end.min(at + 1.0) - begin.max(at)).max(0.0) / ratio) as f32
        };
        Cover { range: first..last, weights: (first..last).map(weight).collect() }
    };
    (0..to).map(cover).collect()
}

/// Shrinks samples of up to `full` with `N` channels, the last of which is the opacity if `N` is even. `to` is not larger
/// than `from` on either side.
pub(super) fn shrink<T: Copy + Into<f32>, const N: usize>(
    samples: &[T],
    from: (u32, u32),
    to: (u32, u32),
    full: f32,
) -> Pixels {
    let (columns, rows) = (covers(from.0, to.0), covers(from.1, to.1));
    let stride = from.0 as usize * N;
    let mut sums = vec![[0.0_f32; N]; columns.len()];
    let mut result = Vec::with_capacity(columns.len() * rows.len() * N);
    for row in &rows {
        sums.fill([0.0; N]);
        for (line, row_weight) in samples.chunks_exact(stride).skip(row.range.start).zip(&row.weights) {
            for (column, sum) in columns.iter().zip(&mut sums) {
                let covered = line.get(column.range.start * N..column.range.end * N).unwrap_or_default();
                for (pixel, weight) in covered.chunks_exact(N).zip(&column.weights) {
                    add(sum, pixel, weight * row_weight, full);
                }
            }
        }
        for sum in &sums {
            result.extend(finish(sum, full));
        }
    }
    Pixels { size: to, channels: N, samples: result }
}

/// Whether pixels with so many channels have an opacity.
fn has_opacity(channels: usize) -> bool {
    channels.is_multiple_of(2)
}

/// Adds a part of a pixel to a sum.
fn add<T: Copy + Into<f32>, const N: usize>(sum: &mut [f32; N], pixel: &[T], weight: f32, full: f32) {
    match pixel.split_last() {
        Some((opacity, colors)) if has_opacity(N) => {
            let opacity: f32 = (*opacity).into();
            let weight = weight * opacity / full;
            for (sum, sample) in sum.iter_mut().zip(colors) {
                let sample: f32 = (*sample).into();
                *sum += weight * sample;
            }
            if let Some(sum) = sum.last_mut() {
                *sum += weight * full;
            }
        }
        _ => {
            for (sum, sample) in sum.iter_mut().zip(pixel) {
                let sample: f32 = (*sample).into();
                *sum += weight * sample;
            }
        }
    }
}

/// Returns the pixel of a sum, in 8 bits for each channel.
fn finish<const N: usize>(sum: &[f32; N], full: f32) -> [u8; N] {
    // A cast of a number beyond 0 to 255 gives the nearest of these.
    let byte = |sample: f32| (sample * 255.0 / full + 0.5) as u8;
    match sum.last() {
        Some(opacity) if has_opacity(N) => {
            let seen = if *opacity > 0.0 { full / opacity } else { 0.0 };
            let mut pixel = sum.map(|sample| byte(sample * seen));
            if let Some(last) = pixel.last_mut() {
                *last = byte(*opacity);
            }
            pixel
        }
        _ => sum.map(byte),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn gray(samples: &[u8], from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
        shrink::<u8, 1>(samples, from, to, 255.0).samples
    }

    #[test]
    fn a_pixel_is_the_average_of_what_it_covers() {
        assert_eq!(gray(&[0, 100, 200, 100], (2, 2), (1, 1)), [100]);
        assert_eq!(gray(&[10, 20, 30, 40], (4, 1), (2, 1)), [15, 35]);
        // One and a half pixels each.
        assert_eq!(gray(&[0, 90, 60], (3, 1), (2, 1)), [30, 70]);
        assert_eq!(gray(&[1, 2, 3, 4], (2, 2), (2, 2)), [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_not_seen_does_not_color_what_is() {
        let pixels = [255, 0, 0, 255, 0, 255, 0, 0];
        assert_eq!(shrink::<u8, 4>(&pixels, (2, 1), (1, 1), 255.0).samples, [255, 0, 0, 128]);
        assert_eq!(shrink::<u8, 2>(&[9, 0, 9, 0], (2, 1), (1, 1), 255.0).samples, [0, 0]);
    }

    #[test]
    fn samples_of_16_bits_become_samples_of_8() {
        let samples = [0_u16, 65_535, 32_896];
        assert_eq!(shrink::<u16, 3>(&samples, (1, 1), (1, 1), 65_535.0).samples, [0, 255, 128]);
    }

    #[test]
    fn a_picture_keeps_its_proportions() {
        for (size, expected) in [
            ((4_000, 3_000), (2_048, 1_536)),
            ((3_000, 4_000), (1_536, 2_048)),
            ((2_048, 2_048), (2_048, 2_048)),
            ((5, 7), (5, 7)),
            ((16_384, 1), (2_048, 1)),
        ] {
            assert_eq!(fit(size, 2_048), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_of_one_color_stays_so(
            color in any::<u8>(), from in (1_u32..40, 1_u32..40), to in (1_u32..40, 1_u32..40),
        ) {
            let to = (to.0.min(from.0), to.1.min(from.1));
            let samples = vec![color; (from.0 * from.1) as usize];
            assert_eq!(gray(&samples, from, to), vec![color; (to.0 * to.1) as usize]);
        }

        #[test]
        fn nothing_is_brighter_or_darker_than_all_of_it(
            samples in prop::collection::vec(any::<u8>(), 30), to in (1_u32..=6, 1_u32..=5),
        ) {
            let shrunk = gray(&samples, (6, 5), to);
            assert_eq!(shrunk.len(), (to.0 * to.1) as usize);
            assert!(shrunk.iter().max() <= samples.iter().max() && shrunk.iter().min() >= samples.iter().min());
        }
    }
}
