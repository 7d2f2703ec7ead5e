//! What the decoding of a picture takes, of honest files and of hostile ones: a process of its own, whose peak is measured.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
#![cfg(target_os = "linux")]

mod hostile;

use std::{
    fs,
    io::{Cursor, Read, Seek, Write},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use image::{DynamicImage, ExtendedColorType, ImageFormat, RgbImage, RgbaImage, codecs::jpeg::JpegEncoder};
use server::pictures::decoder::child::FLAG;

/// What a picture may take, in bytes.
const MOST: u64 = 200_000_000;
/// What the program takes in any case, in bytes.
const PROGRAM: u64 = 40_000_000;
/// How long a picture may use a core, with some time for others to use it.
const LONGEST: Duration = Duration::from_secs(60);

/// What a decoder has done.
struct Done {
    /// The first line that it has written. Empty if it was ended by a limit.
    said: String,
    /// The peak of its resident memory, in bytes.
    peak: u64,
}

/// Has Qchat decode a file, as a server does.
fn decode(file: &[u8]) -> Done {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(file).unwrap();
    input.rewind().unwrap();
    let mut output = tempfile::tempfile().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_qchat"))
        .args([FLAG, "50000000"])
        .stdin(input)
        .stdout(output.try_clone().unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", process.id());
    let began = Instant::now();
    let mut peak = 0;
    while process.try_wait().unwrap().is_none() {
        // One that has just ended says nothing.
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kibibytes.unwrap_or_default() * 1_024);
        assert!(began.elapsed() < LONGEST, "it does not end");
        sleep(Duration::from_millis(1));
    }
    output.rewind().unwrap();
    let mut said = Vec::new();
    output.read_to_end(&mut said).unwrap();
    let line = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Done { said: String::from_utf8(line.to_vec()).unwrap(), peak }
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
    let mut file = Cursor::new(Vec::new());
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
        let Done { said, peak } = decode(file);
        assert!(said.starts_with("{\"made\":"), "{name}: {said}");
        assert!(peak < MOST + PROGRAM, "{name} takes {peak} bytes");
    }
}

/// What of these libraries take cannot be known before: without the limits of the process they take up to 1.3 GB, or a minute.
#[test]
fn hostile_files_take_no_more() {
    let files = [
        ("a WebP of 4 x 4 with 65,536 groups of codes", hostile::webp(65_536)),
        ("a JPEG of 50 MP that shows another header", hostile::jpeg(8_192, 6_100, 0)),
        ("the same with many scans", hostile::jpeg(8_192, 6_100, 98)),
        ("4 MP with many scans", hostile::jpeg(2_000, 2_000, 98)),
        ("a PNG of 50 MP with a large profile", hostile::png(8_192, 6_100, 164_000_000)),
        ("a JPEG with many parts of metadata", hostile::metadata(125_000)),
    ];
    for (name, file) in &files {
        let Done { said, peak } = decode(file);
        assert!(peak < MOST + PROGRAM, "{name} takes {peak} bytes: {said}");
    }
}
