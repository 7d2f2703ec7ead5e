use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use image::{
    Delay, Frame, GrayImage, ImageBuffer, Rgba,
    codecs::{gif::GifEncoder, webp::WebPEncoder},
};
use proptest::prelude::{any, prop, proptest};

use super::*;

const MAX_PIXELS: u64 = 50_000_000;

fn of(file: &[u8]) -> Result<Encoded, Problem> {
    prepare(file, MAX_PIXELS)
}

/// A picture that is blue but for its upper left quarter, which is red.
fn corner(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb(if x < width / 2 && y < height / 2 { [255, 0, 0] } else { [0, 0, 255] })
    })
}

fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
    encoder.encode(image, image.width(), image.height(), ExtendedColorType::Rgb8).unwrap();
    file
}

fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

fn png(image: &DynamicImage) -> Vec<u8> {
    written(image, ImageFormat::Png)
}

/// Puts a segment behind the first marker of a JPEG.
fn with_segment(jpeg: &[u8], marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, marker], &length, content, &jpeg[2..]].concat()
}

/// Metadata of a camera with an orientation and a place.
fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    exif.extend(b"GPSLatitude 48 12 30.5 N");
    exif
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(name);
    crc.update(content);
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[..], name, content, &crc.finalize().to_be_bytes()].concat()
}

/// A PNG of a gray picture whose data is this, compressed.
fn raw_png(width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    let mut compressor = ZlibEncoder::new(Vec::new(), Compression::best());
    compressor.write_all(data).unwrap();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let data = compressor.finish().unwrap();
    let start = b"\x89PNG\r\n\x1a\n".to_vec();
    [start, chunk(b"IHDR", &header), chunk(b"IDAT", &data), chunk(b"IEND", b"")].concat()
}

fn decoded(file: &[u8]) -> DynamicImage {
    image::load_from_memory(file).unwrap()
}

fn is_near(pixel: [u8; 3], expected: [u8; 3]) -> bool {
    pixel.iter().zip(expected).all(|(sample, expected)| sample.abs_diff(expected) < 24)
}

#[test]
fn a_picture_is_shrunk_to_two_sizes_and_never_enlarged() {
    for (from, large, small) in [
        ((3_000, 1_500), (2_048, 1_024), (480, 240)),
        ((1_500, 3_000), (1_024, 2_048), (240, 480)),
        ((600, 300), (600, 300), (480, 240)),
        ((10, 20), (10, 20), (10, 20)),
    ] {
        let encoded = of(&jpeg(&corner(from.0, from.1))).unwrap();
        assert_eq!((encoded.large_size, encoded.small_size), (large, small));
        for (file, size) in [(&encoded.large, large), (&encoded.small, small)] {
            let image = decoded(file);
            assert_eq!((image.width(), image.height()), (size.0.into(), size.1.into()));
        }
    }
}

#[test]
fn a_picture_is_turned_as_its_camera_was_held() {
    // Where the red quarter is then: right, and below.
    let places = [
        (false, false),
        (true, false),
        (true, true),
        (false, true),
        (false, false),
        (true, false),
        (true, true),
        (false, true),
    ];
    for (orientation, (is_right, is_below)) in (1..).zip(places) {
        let file = with_segment(&jpeg(&corner(64, 32)), 0xe1, &exif(orientation));
        let encoded = of(&file).unwrap();
        let expected = if orientation < 5 { (64, 32) } else { (32, 64) };
        assert_eq!(encoded.large_size, expected, "{orientation}");
        let image = decoded(&encoded.large).into_rgb8();
        let at = |is_right: bool, is_below: bool| {
            let place = |is_far: bool, side: u16| u32::from(side) * if is_far { 3 } else { 1 } / 4;
            image.get_pixel(place(is_right, expected.0), place(is_below, expected.1)).0
        };
        for (right, below) in [(false, false), (false, true), (true, false), (true, true)] {
            let expected = if (right, below) == (is_right, is_below) { [255, 0, 0] } else { [0, 0, 255] };
            assert!(is_near(at(right, below), expected), "{orientation}: {right} {below}");
        }
    }
}

#[test]
fn nothing_but_the_pixels_is_kept() {
    let plain = jpeg(&corner(64, 64));
    let full = with_segment(&plain, 0xe1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>secret</x:xmpmeta>");
    let full = with_segment(&full, 0xfe, b"a secret comment");
    let full = with_segment(&full, 0xed, b"Photoshop 3.0\0secret");
    let mut full = with_segment(&full, 0xe1, &exif(1));
    full.extend(b"<script>secret</script>");
    let png = png(&DynamicImage::from(corner(64, 64)));
    let text = chunk(b"tEXt", b"Comment\0a secret place, GPSLatitude");
    // The chunks of a PNG begin behind its header.
    let (start, rest) = png.split_at(33);
    let png = [start, &text, &chunk(b"eXIf", &exif(1)[6..]), rest, b"<script>secret</script>"].concat();
    for file in [full, png] {
        let encoded = of(&file).unwrap();
        for made in [&encoded.large, &encoded.small] {
            for part in ["secret", "GPS", "Exif", "xmp", "Photoshop", "ICC_PROFILE", "iCCP", "tEXt", "eXIf"] {
                assert!(!made.windows(part.len()).any(|window| window == part.as_bytes()), "{part}");
            }
        }
        assert_eq!(of(&file).unwrap(), encoded, "the same pixels make the same file");
    }
}

#[test]
fn colors_of_a_wider_space_are_shown_as_they_are_meant() {
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let content = [&b"ICC_PROFILE\0\x01\x01"[..], &profile].concat();
    let green = RgbImage::from_pixel(32, 32, image::Rgb([0, 200, 0]));
    let file = jpeg(&green);
    let plain = decoded(&of(&file).unwrap().large).into_rgb8().get_pixel(9, 9).0;
    let wide = with_segment(&file, 0xe2, &content);
    let converted = decoded(&of(&wide).unwrap().large).into_rgb8().get_pixel(9, 9).0;
    assert!(is_near(plain, [0, 200, 0]), "{plain:?}");
    assert!(converted[1] > plain[1], "the green of P3 is greener: {converted:?}");
    let nonsense = [&b"ICC_PROFILE\0\x01\x01"[..], &[7; 200]].concat();
    let unchanged = decoded(&of(&with_segment(&file, 0xe2, &nonsense)).unwrap().large).into_rgb8();
    assert_eq!(unchanged.get_pixel(9, 9).0, plain);
}

#[test]
fn what_can_be_seen_through_stays_so() {
    let image = RgbaImage::from_fn(100, 100, |x, _| Rgba([255, 0, 0, if x < 50 { 0 } else { 255 }]));
    let encoded = of(&png(&image.into())).unwrap();
    let large = decoded(&encoded.large);
    assert!(encoded.large.starts_with(b"\x89PNG") && large.color().has_alpha());
    assert_eq!(large.into_rgba8().get_pixel(9, 9).0[3], 0);
    let opaque = RgbaImage::from_pixel(100, 100, Rgba([1, 2, 3, 255]));
    assert!(!decoded(&of(&png(&opaque.into())).unwrap().large).color().has_alpha());
}

#[test]
fn a_large_png_becomes_a_jpeg_on_white() {
    // Noise, which no lossless format makes smaller.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let image = RgbaImage::from_fn(900, 900, |x, _| {
        if x < 300 { Rgba([0, 0, 0, 0]) } else { Rgba([noise(), noise(), noise(), 255]) }
    });
    let encoded = of(&png(&image.into())).unwrap();
    assert!(encoded.large.starts_with(&[0xff, 0xd8]) && encoded.small.starts_with(b"\x89PNG"));
    assert!(is_near(decoded(&encoded.large).into_rgb8().get_pixel(9, 9).0, [255; 3]));
}

#[test]
fn every_kind_is_taken_in_every_form_of_samples() {
    let rgb = DynamicImage::from(corner(40, 20));
    let forms = [
        rgb.clone(),
        rgb.to_luma8().into(),
        rgb.to_luma_alpha8().into(),
        rgb.to_rgba8().into(),
        rgb.to_luma16().into(),
        rgb.to_luma_alpha16().into(),
        rgb.to_rgb16().into(),
        rgb.to_rgba16().into(),
    ];
    for image in &forms {
        let encoded = of(&png(image)).unwrap();
        assert_eq!(encoded.large_size, (40, 20), "{:?}", image.color());
        assert_eq!(decoded(&encoded.large).color().channel_count(), 3, "{:?}", image.color());
    }
    for format in [ImageFormat::WebP, ImageFormat::Gif] {
        let encoded = of(&written(&rgb.to_rgba8().into(), format)).unwrap();
        let pixel = decoded(&encoded.large).into_rgb8().get_pixel(2, 2).0;
        assert!(is_near(pixel, [255, 0, 0]), "{format:?}: {pixel:?}");
    }
    let gray = GrayImage::from_pixel(20, 20, image::Luma([99]));
    let mut file = Vec::new();
    JpegEncoder::new(&mut file).encode(&gray, 20, 20, ExtendedColorType::L8).unwrap();
    assert!(is_near(decoded(&of(&file).unwrap().large).into_rgb8().get_pixel(3, 3).0, [99; 3]));
}

#[test]
fn of_an_animation_the_first_frame_is_taken() {
    let frame = |red| {
        let image = RgbaImage::from_pixel(30, 20, Rgba([red, 0, 0, 255]));
        Frame::from_parts(image, 0, 0, Delay::from_numer_denom_ms(100, 1))
    };
    let mut file = Vec::new();
    GifEncoder::new(&mut file).encode_frames([frame(250), frame(10)]).unwrap();
    let encoded = of(&file).unwrap();
    assert!(is_near(decoded(&encoded.large).into_rgb8().get_pixel(3, 3).0, [250, 0, 0]));
}

#[test]
fn what_is_no_picture_is_told_from_one_that_is_damaged_or_too_large() {
    let whole = jpeg(&corner(64, 64));
    let gif = |width: u16, height: u16| {
        let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
        [&b"GIF89a"[..], &sides, &[0x80, 0, 0, 0, 0, 0, 255, 255, 255]].concat()
    };
    let frame = |width: u16, height: u16| {
        let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
        [&[0x2c, 0, 0, 0, 0][..], &sides, &[0, 2, 2, 0x4c, 1, 0, 0x3b]].concat()
    };
    let mut wide = whole.clone();
    // The sides of the frame of a JPEG follow its marker.
    let at = wide.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    wide[at + 5..at + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let mut bitmap = b"BM".to_vec();
    bitmap.extend([0; 60]);
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let lossy = |width: u16, height: u16| {
        let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
        let inner = [&[0x10, 0, 0, 0x9d, 1, 0x2a][..], &sides, &[0; 8]].concat();
        [&b"VP8 "[..], &u32::try_from(inner.len()).unwrap().to_le_bytes(), &inner].concat()
    };
    let webp = |inner: &[u8]| {
        let canvas = [&b"VP8X\x0a\0\0\0"[..], &[0; 10]].concat();
        let length = u32::try_from(4 + canvas.len() + inner.len()).unwrap().to_le_bytes();
        [&b"RIFF"[..], &length, b"WEBP", &canvas, inner].concat()
    };
    for (name, file, expected) in [
        ("nothing", vec![], Problem::NotAPicture),
        ("text", b"just some words".to_vec(), Problem::NotAPicture),
        ("a page", b"<!doctype html><script>alert(1)</script>".to_vec(), Problem::NotAPicture),
        ("SVG with a script", svg.to_vec(), Problem::NotAPicture),
        ("a bitmap", bitmap, Problem::NotAPicture),
        ("the start of a JPEG", whole[..3].to_vec(), Problem::PictureDamaged),
        ("the start of a PNG", b"\x89PNG\r\n\x1a\n".to_vec(), Problem::PictureDamaged),
        ("a JPEG of 65,535 x 65,535", wide, Problem::PictureTooManyPixels),
        ("a PNG of 50,000 x 50,000", raw_png(50_000, 50_000, &[0; 100_000]), Problem::PictureTooManyPixels),
        ("a PNG of a million x 1", raw_png(1_000_000, 1, &[0; 1_000_001]), Problem::PictureTooManyPixels),
        (
            "a GIF of 65,535 x 65,535",
            [gif(65_535, 65_535), frame(1, 1)].concat(),
            Problem::PictureTooManyPixels,
        ),
        (
            "a GIF with a larger frame",
            [gif(8, 8), frame(65_535, 65_535)].concat(),
            Problem::PictureTooManyPixels,
        ),
        ("a WebP of 16,383 x 16,383", webp(&lossy(16_383, 16_383)), Problem::PictureTooManyPixels),
        ("a WebP that is another", webp(&lossy(8, 9)), Problem::PictureDamaged),
    ] {
        assert_eq!(of(&file), Err(expected), "{name}");
    }
    assert!(of(b"GIF89a=1;alert(1)//").is_err(), "a script that begins as a GIF");
}

#[test]
fn a_picture_that_was_cut_is_damaged() {
    let image = DynamicImage::from(corner(300, 200));
    for (name, file) in [("JPEG", jpeg(&corner(300, 200))), ("PNG", png(&image))] {
        for end in (8..file.len() - 40).step_by(97) {
            assert_eq!(of(&file[..end]), Err(Problem::PictureDamaged), "{name} cut at {end}");
        }
    }
}

#[test]
fn scans_without_end_are_refused_before_they_are_decoded() {
    let file = jpeg(&corner(2_000, 2_000));
    let at = file.windows(2).position(|marker| marker == [0xff, 0xda]).unwrap();
    let scan = [&[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0][..], &[7; 3]].concat();
    let file = [&file[..at], &scan.repeat(200), &file[at..]].concat();
    assert_eq!(of(&file), Err(Problem::PictureTooManyPixels));
}

#[test]
fn the_limit_of_pixels_is_that_of_the_settings() {
    let file = jpeg(&corner(100, 100));
    assert!(prepare(&file, 10_000).is_ok());
    assert_eq!(prepare(&file, 9_999), Err(Problem::PictureTooManyPixels));
}

#[test]
fn a_webp_is_taken_with_and_without_opacity() {
    let image: ImageBuffer<Rgba<u8>, _> = RgbaImage::from_pixel(16, 16, Rgba([9, 8, 7, 128]));
    let mut file = Vec::new();
    WebPEncoder::new_lossless(&mut file).encode(&image, 16, 16, ExtendedColorType::Rgba8).unwrap();
    assert!(decoded(&of(&file).unwrap().large).color().has_alpha());
}

proptest! {
    #[test]
    fn a_damaged_file_is_decoded_or_refused(
        place in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..20), kind in 0..4_usize,
    ) {
        let image = DynamicImage::from(corner(24, 16));
        let mut file = match kind {
            0 => jpeg(&corner(24, 16)),
            1 => png(&image),
            2 => written(&image.to_rgba8().into(), ImageFormat::Gif),
            _ => written(&image, ImageFormat::WebP),
        };
        let at = place.index(file.len());
        for (byte, other) in file[at..].iter_mut().zip(bytes) {
            *byte = other;
        }
        // A library may panic; that ends the process of its picture alone.
        let _ = std::panic::catch_unwind(|| of(&file));
    }
}
