//! Decoding: from an uploaded file to the two files that are stored. These are made of the pixels alone, so nothing else of
//! the upload is in them: no place, no camera, no earlier version, and nothing that could run.

use std::io::Cursor;

use domain::Problem;
use engine::pictures::Encoded;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat, Limits, RgbImage,
    RgbaImage,
    codecs::{
        gif::GifDecoder,
        jpeg::{JpegDecoder, JpegEncoder},
        png::{CompressionType, FilterType, PngDecoder, PngEncoder},
        webp::WebPDecoder,
    },
    error::LimitErrorKind,
    metadata::Orientation,
};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use super::{
    headers,
    shrink::{Pixels, fit, shrink},
};

/// The longer side of the large version, in pixels.
const LARGE: u32 = 2_048;
/// The longer side of the small version, in pixels.
const SMALL: u32 = 480;
/// The longer side of what is decoded, in pixels.
const LONGEST: u32 = 16_384;
/// How much memory a decoder may need, in bytes, as far as that is known before. The file and what is made of it come on
/// top: 200 MB in all.
const MEMORY: u64 = 165_000_000;
/// How many pixels times scans a JPEG may have: each scan goes over all of it.
const SCANNED_PIXELS: u64 = 300_000_000;
/// The quality of a JPEG, of 100.
const QUALITY: u8 = 82;
/// The size in bytes over which a picture that was no JPEG becomes one.
const PNG_BYTES: usize = 1_500_000;

/// Makes the files of a picture of an uploaded file. Of an animation the first frame is taken.
///
/// # Errors
/// [`Problem::NotAPicture`] if it is none of the kinds that are taken; [`Problem::PictureTooManyPixels`] if decoding it
/// would take too much memory or time, or it has more than `max_pixels`; [`Problem::PictureDamaged`] if it cannot be decoded.
pub fn prepare(file: &[u8], max_pixels: u64) -> Result<Encoded, Problem> {
    let Decoded { image, turn, profile, is_jpeg } = decode(file, max_pixels)?;
    let mut large = shrunk(&image, LARGE)?;
    drop(image);
    large = seen(large);
    if let Some(profile) = profile {
        convert(&mut large, &profile);
    }
    let large = turned(large, turn)?;
    let small = shrink_pixels(&large, SMALL);
    let (large_file, small_file) = (encode(&large, is_jpeg)?, encode(&small, is_jpeg)?);
    Ok(Encoded {
        large_size: sides(&large)?,
        large: large_file,
        small_size: sides(&small)?,
        small: small_file,
    })
}

/// A file that was decoded.
struct Decoded {
    image: DynamicImage,
    /// How it has to be turned.
    turn: Orientation,
    /// What its colors mean, in the form of the International Color Consortium. `None` if they are sRGB.
    profile: Option<Vec<u8>>,
    is_jpeg: bool,
}

fn decode(file: &[u8], max_pixels: u64) -> Result<Decoded, Problem> {
    let bounds = Bounds { max_pixels };
    let reader = || Cursor::new(file);
    match image::guess_format(file) {
        Ok(ImageFormat::Jpeg) => {
            let header = headers::jpeg(file).ok_or(Problem::PictureDamaged)?;
            let decoder = JpegDecoder::new(reader()).map_err(|error| problem_of(&error))?;
            let pixels = pixels_of(&decoder);
            if header.scans.saturating_mul(pixels) > SCANNED_PIXELS {
                return Err(Problem::PictureTooManyPixels);
            }
            // Coefficients of 16 bits.
            let coefficients = if header.is_in_parts { 2 * u64::from(header.components) * pixels } else { 0 };
            bounds.decode(decoder, coefficients, true)
        }
        Ok(ImageFormat::Png) => {
            let decoder = PngDecoder::with_limits(reader(), limits()).map_err(|error| problem_of(&error))?;
            bounds.decode(decoder, 0, false)
        }
        Ok(ImageFormat::Gif) => {
            let decoder = GifDecoder::new(reader()).map_err(|error| problem_of(&error))?;
            // A frame that does not fill the picture is decoded beside it.
            let beside = decoder.total_bytes();
            bounds.decode(decoder, beside, false)
        }
        Ok(ImageFormat::WebP) => {
            let inner = headers::webp_pixels(file).ok_or(Problem::PictureDamaged)?;
            if inner > max_pixels {
                return Err(Problem::PictureTooManyPixels);
            }
            let decoder = WebPDecoder::new(reader()).map_err(|error| problem_of(&error))?;
            // What the decoder allocates beside the result, in bytes for each pixel: planes of brightness and color, a plane
            // of opacity with what it is unpacked from, and for a frame of an animation also the picture it is put into.
            let each = match (decoder.has_animation(), decoder.color_type().has_alpha()) {
                (true, _) => 10,
                (false, true) => 8,
                (false, false) => 4,
            };
            let beside = each * inner.max(pixels_of(&decoder));
            bounds.decode(decoder, beside, false)
        }
        _ => Err(Problem::NotAPicture),
    }
}

/// What may be decoded.
struct Bounds {
    max_pixels: u64,
}

impl Bounds {
    /// Decodes a picture. `beside` is how much memory that takes beside the result, in bytes.
    fn decode(&self, mut decoder: impl ImageDecoder, beside: u64, is_jpeg: bool) -> Result<Decoded, Problem> {
        let (width, height) = decoder.dimensions();
        let is_too_much = width.max(height) > LONGEST
            || pixels_of(&decoder) > self.max_pixels
            || decoder.total_bytes().saturating_add(beside) > MEMORY;
        if is_too_much {
            return Err(Problem::PictureTooManyPixels);
        }
        // What cannot be read of these is left out.
        let turn = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let profile = decoder.icc_profile().ok().flatten();
        let mut limits = limits();
        limits.reserve(decoder.total_bytes()).map_err(|error| problem_of(&error))?;
        decoder.set_limits(limits).map_err(|error| problem_of(&error))?;
        let image = DynamicImage::from_decoder(decoder).map_err(|error| problem_of(&error))?;
        Ok(Decoded { image, turn, profile, is_jpeg })
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST);
    limits.max_image_height = Some(LONGEST);
    limits.max_alloc = Some(MEMORY);
    limits
}

fn pixels_of(decoder: &impl ImageDecoder) -> u64 {
    let (width, height) = decoder.dimensions();
    u64::from(width) * u64::from(height)
}

fn problem_of(error: &ImageError) -> Problem {
    match error {
        ImageError::Limits(limit) => match limit.kind() {
            LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory => {
                Problem::PictureTooManyPixels
            }
            _ => Problem::PictureDamaged,
        },
        _ => Problem::PictureDamaged,
    }
}

/// Shrinks a picture, and brings its samples to 8 bits.
fn shrunk(image: &DynamicImage, longest: u32) -> Result<Pixels, Problem> {
    let from = (image.width(), image.height());
    let to = fit(from, longest);
    let (byte, word) = (f32::from(u8::MAX), f32::from(u16::MAX));
    Ok(match image {
        DynamicImage::ImageLuma8(image) => shrink::<u8, 1>(image.as_raw(), from, to, byte),
        DynamicImage::ImageLumaA8(image) => shrink::<u8, 2>(image.as_raw(), from, to, byte),
        DynamicImage::ImageRgb8(image) => shrink::<u8, 3>(image.as_raw(), from, to, byte),
        DynamicImage::ImageRgba8(image) => shrink::<u8, 4>(image.as_raw(), from, to, byte),
        DynamicImage::ImageLuma16(image) => shrink::<u16, 1>(image.as_raw(), from, to, word),
        DynamicImage::ImageLumaA16(image) => shrink::<u16, 2>(image.as_raw(), from, to, word),
        DynamicImage::ImageRgb16(image) => shrink::<u16, 3>(image.as_raw(), from, to, word),
        DynamicImage::ImageRgba16(image) => shrink::<u16, 4>(image.as_raw(), from, to, word),
        _ => return Err(Problem::NotAPicture),
    })
}

/// Shrinks a picture with 3 or 4 channels further.
fn shrink_pixels(pixels: &Pixels, longest: u32) -> Pixels {
    let (size, full) = (fit(pixels.size, longest), f32::from(u8::MAX));
    match pixels.channels {
        4 => shrink::<u8, 4>(&pixels.samples, pixels.size, size, full),
        _ => shrink::<u8, 3>(&pixels.samples, pixels.size, size, full),
    }
}

/// Returns the pixels as colors: gray ones too, and without an opacity that is full everywhere.
fn seen(Pixels { size, channels, samples }: Pixels) -> Pixels {
    let samples: Vec<u8> = match channels {
        1 => samples.iter().flat_map(|gray| [*gray; 3]).collect(),
        2 => samples
            .as_chunks::<2>()
            .0
            .iter()
            .flat_map(|[gray, opacity]| [*gray, *gray, *gray, *opacity])
            .collect(),
        _ => samples,
    };
    let channels = if channels.is_multiple_of(2) { 4 } else { 3 };
    let pixels = Pixels { size, channels, samples };
    let is_opaque =
        channels == 4 && pixels.samples.iter().skip(3).step_by(4).all(|opacity| *opacity == u8::MAX);
    if is_opaque { flattened(&pixels) } else { pixels }
}

/// Returns the pixels on white.
fn flattened(pixels: &Pixels) -> Pixels {
    if pixels.channels != 4 {
        return pixels.clone();
    }
    let on_white = |[red, green, blue, opacity]: &[u8; 4]| {
        let opacity = u32::from(*opacity);
        [red, green, blue].map(|sample| {
            let mixed = (u32::from(*sample) * opacity + 255 * (255 - opacity) + 127) / 255;
            u8::try_from(mixed).unwrap_or(u8::MAX)
        })
    };
    let samples = pixels.samples.as_chunks::<4>().0.iter().flat_map(on_white).collect();
    Pixels { size: pixels.size, channels: 3, samples }
}

/// Converts colors to sRGB, which is what colors without a profile are taken for. A profile that cannot be used changes
/// nothing.
fn convert(pixels: &mut Pixels, profile: &[u8]) {
    let Ok(profile) = ColorProfile::new_from_slice(profile) else { return };
    // Gray and CMYK are colors already.
    if profile.color_space != DataColorSpace::Rgb {
        return;
    }
    let layout = if pixels.channels == 4 { Layout::Rgba } else { Layout::Rgb };
    let to = ColorProfile::new_srgb();
    let Ok(transform) = profile.create_transform_8bit(layout, &to, layout, TransformOptions::default())
    else {
        return;
    };
    let mut converted = vec![0; pixels.samples.len()];
    if transform.transform(&pixels.samples, &mut converted).is_ok() {
        pixels.samples = converted;
    }
}

/// Turns a picture as its camera was held.
fn turned(
    Pixels { size: (width, height), channels, samples }: Pixels,
    turn: Orientation,
) -> Result<Pixels, Problem> {
    let image = match channels {
        4 => RgbaImage::from_raw(width, height, samples).map(DynamicImage::ImageRgba8),
        _ => RgbImage::from_raw(width, height, samples).map(DynamicImage::ImageRgb8),
    };
    let mut image = image.ok_or(Problem::PictureDamaged)?;
    image.apply_orientation(turn);
    let size = (image.width(), image.height());
    Ok(Pixels { size, channels, samples: image.into_bytes() })
}

/// Encodes a picture: as JPEG if it was one or is large otherwise, and as PNG if not.
fn encode(pixels: &Pixels, is_jpeg: bool) -> Result<Vec<u8>, Problem> {
    if !is_jpeg {
        let mut file = Vec::new();
        let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Default, FilterType::Adaptive);
        let color = if pixels.channels == 4 { ExtendedColorType::Rgba8 } else { ExtendedColorType::Rgb8 };
        let (width, height) = pixels.size;
        encoder.write_image(&pixels.samples, width, height, color).map_err(|_| Problem::PictureDamaged)?;
        if file.len() <= PNG_BYTES {
            return Ok(file);
        }
    }
    let Pixels { size: (width, height), samples, .. } = flattened(pixels);
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, QUALITY)
        .encode(&samples, width, height, ExtendedColorType::Rgb8)
        .map_err(|_| Problem::PictureDamaged)?;
    Ok(file)
}

fn sides(pixels: &Pixels) -> Result<(u16, u16), Problem> {
    let side = |side: u32| u16::try_from(side).map_err(|_| Problem::PictureTooManyPixels);
    Ok((side(pixels.size.0)?, side(pixels.size.1)?))
}

#[cfg(test)]
mod tests;
