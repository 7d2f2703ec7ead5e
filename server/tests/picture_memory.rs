//! How much memory the decoding of a picture takes: a process of its own, whose peak is measured.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
#![cfg(target_os = "linux")]

use std::fs;

use image::{DynamicImage, ExtendedColorType, ImageFormat, RgbImage, RgbaImage, codecs::jpeg::JpegEncoder};
use server::pictures::decode::prepare;

/// What a picture may take, in bytes.
const MOST: u64 = 200_000_000;

/// Returns the peak of the resident memory since it was last reset, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x ^ y) as u8]));
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 60)
        .encode(&image, width, height, ExtendedColorType::Rgb8)
        .unwrap();
    file
}

fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

#[test]
fn no_picture_takes_more_than_200_mb() {
    let rgba =
        || DynamicImage::from(RgbaImage::from_fn(5_000, 3_000, |x, _| image::Rgba([x as u8, 0, 0, 99])));
    let files = [
        ("12 MP", jpeg(4_000, 3_000)),
        ("50 MP", jpeg(8_192, 6_100)),
        ("PNG with 16 bits", written(&rgba().to_rgba16().into(), ImageFormat::Png)),
        ("WebP with opacity", written(&rgba().crop_imm(0, 0, 4_000, 3_000), ImageFormat::WebP)),
        ("GIF", written(&rgba().crop_imm(0, 0, 4_000, 3_000), ImageFormat::Gif)),
    ];
    for (name, file) in &files {
        // Resets the peak to what is in use now (proc_pid_clear_refs(5)).
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = peak();
        assert!(prepare(file, 50_000_000).is_ok(), "{name}");
        let taken = peak().saturating_sub(before);
        assert!(taken < MOST, "{name} takes {taken} bytes");
    }
}
