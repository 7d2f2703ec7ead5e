//! The files of the site, as built by cargo-leptos, and their addresses. A release build embeds them; a debug build
//! reads them from the disk, so that changes show at once.

use std::borrow::Cow;

use app::shell::Assets;
use axum::{
    body::{Body, Bytes},
    extract::{
        Path, Query,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use rust_embed::{Embed, EmbeddedFile};
use serde::Deserialize;

#[derive(Embed)]
#[folder = "../target/site"]
#[allow_missing = true]
#[exclude = "*.d.ts*"]
struct Site;

/// An address with the version of its content never changes, so browsers may keep it for good.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";
/// Content without a version in its address may change.
const FOR_AN_HOUR: &str = "public, max-age=3600";
/// The address has another version than this server's content, as during an update: a cache would serve this content to
/// clients that ask for that version.
const NEVER: &str = "no-store";

/// The files that a live page loads when it needs them: those of a folder, the script that loads these, and what they load.
const LATER_FOLDER: &str = "later/";
const LATER_FILES: [&str; 2] = ["later.js", "emoji.txt"];

/// The supported encodings, best first, with the extensions that cargo-leptos gives the compressed files.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// The query of an address with a version.
#[derive(Deserialize)]
pub struct Version {
    #[serde(default)]
    v: Option<String>,
}

/// Returns the addresses of the files that every page loads, each with the version of its content.
pub fn assets() -> Assets {
    let address = |file: &str| match Site::get(file) {
        Some(found) => format!("/{file}?v={}", version(&found)),
        None => format!("/{file}"),
    };
    Assets {
        boot: address("boot.js"),
        script: address("pkg/qchat.js"),
        wasm: address("pkg/qchat.wasm"),
        style: address("pkg/qchat.css"),
        later: later(Site::iter()).iter().map(|file| address(file)).collect::<Vec<_>>().join(" "),
        search_style: address("later/search.css"),
    }
}

/// Returns those of these files that a live page loads when it needs them, in alphabetical order. Their compressed forms are
/// no files of their own.
fn later(files: impl Iterator<Item = Cow<'static, str>>) -> Vec<Cow<'static, str>> {
    let is_piece = |file: &Cow<'static, str>| {
        let file: &str = file.as_ref();
        let is_compressed = ENCODINGS.iter().any(|(_, ending)| file.ends_with(ending));
        !is_compressed && (file.starts_with(LATER_FOLDER) || LATER_FILES.contains(&file))
    };
    let mut pieces: Vec<_> = files.filter(is_piece).collect();
    pieces.sort_unstable();
    pieces
}

/// Whether the site is there: false in a server that was built without it.
pub fn is_built() -> bool {
    Site::get("pkg/qchat.wasm").is_some()
}

/// Serves `/pkg/{file}`.
pub async fn package(
    file: Result<Path<String>, PathRejection>,
    version: Result<Query<Version>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(Path(file)) = file else { return StatusCode::NOT_FOUND.into_response() };
    let version = version.ok().and_then(|Query(version)| version.v);
    serve(&format!("pkg/{file}"), version.as_deref(), &headers)
}

/// Serves a file of the site, compressed if the browser accepts it. `wanted` is the version in the address, if any.
pub fn serve(path: &str, wanted: Option<&str>, headers: &HeaderMap) -> Response {
    let Some(file) = Site::get(path) else { return StatusCode::NOT_FOUND.into_response() };
    let version = version(&file);
    let tag = format!("\"{version}\"");
    let keep = keep(wanted, &version);
    let common = [
        (header::CACHE_CONTROL, keep.to_owned()),
        (header::ETAG, tag.clone()),
        (header::VARY, "accept-encoding".to_owned()),
    ];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = mime_guess::from_path(path).first_or_octet_stream().to_string();
    let accepted =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let compressed = ENCODINGS
        .iter()
        .filter(|(name, _)| header_accepts(accepted, name))
        .find_map(|(name, ending)| Site::get(&format!("{path}{ending}")).map(|file| (*name, file)));
    match compressed {
        Some((encoding, file)) => (
            common,
            [(header::CONTENT_TYPE, kind), (header::CONTENT_ENCODING, encoding.to_owned())],
            body(file),
        )
            .into_response(),
        None => (common, [(header::CONTENT_TYPE, kind)], body(file)).into_response(),
    }
}

/// Returns the `Cache-Control` of a file with this version, requested with the version `wanted`.
fn keep(wanted: Option<&str>, version: &str) -> &'static str {
    match wanted {
        Some(wanted) if wanted == version => FOR_GOOD,
        Some(_) => NEVER,
        None => FOR_AN_HOUR,
    }
}

/// Whether a request accepts this encoding.
pub fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| header_accepts(accepted, encoding))
}

/// Whether an `Accept-Encoding` names `encoding`, unless with the weight 0, which excludes it (RFC 9110, 12.4.2).
fn header_accepts(accepted: &str, encoding: &str) -> bool {
    accepted.split(',').any(|each| {
        let mut parts = each.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding)) && !parts.any(is_weight_zero)
    })
}

fn is_weight_zero(parameter: &str) -> bool {
    parameter
        .split_once('=')
        .is_some_and(|(name, value)| name.eq_ignore_ascii_case("q") && value.parse() == Ok(0.0_f32))
}

fn body(file: EmbeddedFile) -> Body {
    Body::from(match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    })
}

/// Returns the first 64 bits of the content's SHA-256, in hexadecimal.
fn version(file: &EmbeddedFile) -> String {
    file.metadata.sha256_hash().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{FOR_AN_HOUR, FOR_GOOD, NEVER, header_accepts, keep, later};

    #[test]
    fn a_page_is_told_of_what_comes_later_and_of_nothing_else() {
        let files = [
            "pkg/qchat.js",
            "robots.txt",
            "boot.js",
            "later/keys.js",
            "later/keys.js.br",
            "later.js",
            "later.js.gz",
            "emoji.txt",
            "emoji.txt.br",
            "later/later.css",
        ];
        let pieces = later(files.into_iter().map(Into::into));
        assert_eq!(pieces, ["emoji.txt", "later.js", "later/keys.js", "later/later.css"]);
    }

    #[test]
    fn only_what_an_address_says_is_kept_for_good_and_what_it_does_not_say_never() {
        assert_eq!(keep(Some("0a1b"), "0a1b"), FOR_GOOD);
        assert_eq!(keep(None, "0a1b"), FOR_AN_HOUR);
        for other in ["", "0a1c", "0A1B", "0a1b0"] {
            assert_eq!(keep(Some(other), "0a1b"), NEVER, "{other}");
        }
    }

    #[test]
    fn an_encoding_is_taken_when_it_is_named_and_not_ruled_out() {
        assert!(header_accepts("gzip, deflate, br, zstd", "br"));
        assert!(header_accepts("gzip;q=0.5,BR ; q=1.0", "br"));
        assert!(!header_accepts("gzip, deflate", "br"));
        assert!(!header_accepts("gzip, br;q=0", "br"));
        assert!(!header_accepts("gzip, br ; Q=0.000", "br"));
        assert!(!header_accepts("", "br"));
    }
}
