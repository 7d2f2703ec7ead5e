//! Sessions of browsers. A session is a random secret in a signed, HttpOnly cookie; the public [`UserId`] is a hash of
//! the secret and reveals nothing about it. Nothing is stored for a session.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue, header};
use cookie::{Cookie, CookieJar, Key, SameSite};
use domain::{Problem, Timestamp, UserId, id::ID_BYTES};
use engine::{
    durable_fs::rename_durably,
    lobby::OriginKey,
    random::{self, NoRandomness},
};
use sha2::{Digest, Sha256};

/// The name of the cookie without TLS.
pub const COOKIE: &str = "qchat_session";
/// The name of the cookie over TLS. Browsers accept this prefix only from the site itself and over TLS, not from
/// another subdomain (RFC 6265bis, section 4.1.3.2).
pub const HOST_COOKIE: &str = "__Host-qchat_session";

/// The lifetime of a session after its last renewal.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The age at which a session is renewed when its browser loads a page.
const RENEW_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// The number of bytes in a secret: 128 bits.
const SECRET_BYTES: usize = 16;
/// The number of bytes in a key, as the cookie crate needs them: half to sign, half (unused here) to encrypt.
pub const KEY_BYTES: usize = 64;

/// The error of a key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("it could not be read or written: {0}")]
    Io(#[from] io::Error),
    /// The file is not a key.
    #[error(
        "it is not a key of {KEY_BYTES} bytes: restore the right one, or remove it, which starts a new session for every user"
    )]
    NotAKey,
    /// No key could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The keys of sessions.
#[derive(Clone)]
pub struct Keys {
    current: Key,
    /// The previous key. Sessions signed with it are valid, and are signed anew when their browser loads a page.
    old: Option<Key>,
}

impl Keys {
    /// Returns the keys with these bytes: the one that signs, and the one before it, if its sessions are still valid.
    pub fn new(current: &[u8; KEY_BYTES], old: Option<&[u8; KEY_BYTES]>) -> Self {
        Self { current: Key::from(current), old: old.map(|old| Key::from(old)) }
    }
}

/// Issues and validates sessions.
pub struct Sessions(RwLock<Arc<Keys>>);

/// A valid session.
pub struct Session {
    secret: [u8; SECRET_BYTES],
    issued_at: Timestamp,
    /// Whether the current key signed it.
    is_current: bool,
    /// Whether its cookie has a name that other sites cannot set.
    is_sure: bool,
}

impl Session {
    /// Returns the public id of the user: the first 80 bits of SHA-256 over the secret.
    pub fn user(&self) -> UserId {
        let hash = Sha256::new_with_prefix(b"qchat user id\0").chain_update(self.secret).finalize();
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&hash[..ID_BYTES]);
        UserId::from_bytes(id)
    }
}

impl Sessions {
    /// Opens the key in a file. If there is no file, creates it with mode 0600.
    ///
    /// # Errors
    /// [`KeyError`] if the key cannot be read or created.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let key = match read_key(path)? {
            Some(key) => key,
            None => {
                let key = random::bytes()?;
                write_key(path, &key)?;
                key
            }
        };
        Ok(Self::new(Keys::new(&key, None)))
    }

    /// Creates sessions with these keys.
    pub fn new(keys: Keys) -> Self {
        Self(RwLock::new(Arc::new(keys)))
    }

    /// Also accepts sessions signed with the previous key, if its file exists.
    ///
    /// # Errors
    /// [`KeyError`] if the file exists and cannot be read or is not a key.
    pub fn holding(self, old: &Path) -> Result<Self, KeyError> {
        let current = self.keys().current.clone();
        Ok(Self::new(Keys { current, old: read_key(old)?.map(|old| Key::from(&old)) }))
    }

    /// Puts other keys in force. Sessions of requests that are being answered may still be signed with those before.
    pub fn replace(&self, keys: Keys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Returns the keys in force.
    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the secrets of the key in force and of the previous one, from which keys for other signatures are derived.
    pub(crate) fn signing_keys(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let keys = self.keys();
        (keys.current.signing().to_vec(), keys.old.as_ref().map(|old| old.signing().to_vec()))
    }

    /// Returns a key for the origins of chats, which is the same on all nodes with the same session key.
    pub fn origin_key(&self) -> OriginKey {
        OriginKey::new(self.keys().current.signing())
    }

    /// Returns the session of a request, or `None` if it has none that is valid. Other sites can set cookies that are
    /// sent along with ours: invalid ones are ignored, and a valid one under the name that others cannot set has precedence.
    ///
    /// # Errors
    /// [`Problem::TwoSessions`] if there are two different valid ones of the same name.
    pub fn find(&self, headers: &HeaderMap, now: Timestamp) -> Result<Option<Session>, Problem> {
        let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let sent: Vec<_> =
            sent.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('=')).collect();
        for name in [HOST_COOKIE, COOKIE] {
            let mut found: Option<Session> = None;
            for (_, value) in sent.iter().filter(|(sent, _)| *sent == name) {
                let Some(session) = self.check(value, name == HOST_COOKIE, now) else { continue };
                if found.as_ref().is_some_and(|first| first.secret != session.secret) {
                    return Err(Problem::TwoSessions);
                }
                found.get_or_insert(session);
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the session in a cookie's value, or `None` if it is not valid.
    fn check(&self, value: &str, is_sure: bool, now: Timestamp) -> Option<Session> {
        let keys = self.keys();
        let mut jar = CookieJar::new();
        jar.add_original(Cookie::new(COOKIE, value.to_owned()));
        let current = jar.signed(&keys.current).get(COOKIE);
        let is_current = current.is_some();
        let cookie = current.or_else(|| jar.signed(keys.old.as_ref()?).get(COOKIE))?;
        let (secret, issued_at) = cookie.value().split_once('.')?;
        let issued_at = Timestamp(issued_at.parse().ok()?);
        let session = Session { secret: unhex(secret)?, issued_at, is_current, is_sure };
        (age(&session, now) < LIFETIME).then_some(session)
    }

    /// Returns the session of a browser that loads a page, and the cookie to set if it has none or has to be renewed.
    /// With `is_secure`, the cookie is for TLS only.
    ///
    /// # Errors
    /// [`Problem::TwoSessions`] as for [`Sessions::find`], [`Problem::NotReadable`] if no secret can be drawn.
    pub fn find_or_start(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        is_secure: bool,
    ) -> Result<(Session, Option<HeaderValue>), Problem> {
        // a session from the future is from before the clock was set back
        let is_young =
            |session: &Session| Duration::from_millis(now.0.abs_diff(session.issued_at.0)) < RENEW_AFTER;
        match self.find(headers, now)? {
            Some(session) if session.is_current && is_young(&session) && (session.is_sure || !is_secure) => {
                Ok((session, None))
            }
            Some(Session { secret, .. }) => Ok(self.issue(secret, now, is_secure)),
            None => {
                let secret = random::bytes().map_err(|error| {
                    tracing::error!(%error, "could not start a session");
                    Problem::NotReadable
                })?;
                Ok(self.issue(secret, now, is_secure))
            }
        }
    }

    fn issue(
        &self,
        secret: [u8; SECRET_BYTES],
        now: Timestamp,
        is_secure: bool,
    ) -> (Session, Option<HeaderValue>) {
        let session = Session { secret, issued_at: now, is_current: true, is_sure: is_secure };
        let value = format!("{}.{}", hex(&session.secret), session.issued_at.0);
        let lifetime = cookie::time::Duration::try_from(LIFETIME).unwrap_or_default();
        let name = if is_secure { HOST_COOKIE } else { COOKIE };
        let cookie = Cookie::build((name, value))
            .http_only(true)
            .secure(is_secure)
            .max_age(lifetime)
            .path("/")
            .same_site(SameSite::Lax)
            .build();
        let mut jar = CookieJar::new();
        jar.signed_mut(&self.keys().current).add(cookie);
        let header = jar.get(name).and_then(|cookie| HeaderValue::from_str(&cookie.to_string()).ok());
        (session, header)
    }
}

fn age(session: &Session, now: Timestamp) -> Duration {
    Duration::from_millis(now.millis_since(session.issued_at))
}

/// Returns the key in a file, or `None` if there is no file.
pub(crate) fn read_key(path: &Path) -> Result<Option<[u8; KEY_BYTES]>, KeyError> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map(Some).map_err(|_| KeyError::NotAKey),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes a key to a file that only its owner may read. It is written to another file and renamed, so that a crash leaves
/// either what was there before or a whole key.
pub(crate) fn write_key(path: &Path, key: &[u8; KEY_BYTES]) -> Result<(), KeyError> {
    let unfinished = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(key)?;
    file.sync_all()?;
    rename_durably(&unfinished, path)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let mut bytes = [0; SECRET_BYTES];
    if text.len() != 2 * SECRET_BYTES || !text.is_ascii() {
        return None;
    }
    for (byte, place) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[place..place + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn sessions() -> Sessions {
        Sessions::new(Keys::new(&[7; KEY_BYTES], None))
    }

    fn start(sessions: &Sessions, now: Timestamp) -> (Session, String) {
        let (session, cookie) = sessions.find_or_start(&HeaderMap::new(), now, false).unwrap();
        (session, cookie.unwrap().to_str().unwrap().to_owned())
    }

    fn sent(cookie: &str) -> HeaderMap {
        let pair = cookie.split(';').next().unwrap();
        HeaderMap::from_iter([(header::COOKIE, format!("theme=dark; {pair}").parse().unwrap())])
    }

    fn later(time: Duration) -> Timestamp {
        Timestamp(NOW.0 + time.as_millis() as u64)
    }

    #[test]
    fn a_browser_keeps_its_user() {
        let sessions = sessions();
        let (session, cookie) = start(&sessions, NOW);
        let (again, renewed) = sessions.find_or_start(&sent(&cookie), NOW, false).unwrap();
        assert_eq!(again.user(), session.user());
        assert_eq!(renewed, None);
    }

    #[test]
    fn the_cookie_is_for_the_browser_alone_and_the_user_is_not_in_it() {
        let (session, cookie) = start(&sessions(), NOW);
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=2592000"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains("Secure"), "nothing would be sent back without TLS");
        let (_, over_tls) = sessions().find_or_start(&HeaderMap::new(), NOW, true).unwrap();
        assert!(over_tls.unwrap().to_str().unwrap().contains("Secure"));
        assert!(!cookie.contains(&session.user().to_string()));
        assert!(!cookie.contains(&hex(&session.user().bytes())));
    }

    fn both(cookies: &[&str]) -> HeaderMap {
        let pairs = cookies.iter().map(|cookie| cookie.split(';').next().unwrap());
        HeaderMap::from_iter([(header::COOKIE, pairs.collect::<Vec<_>>().join("; ").parse().unwrap())])
    }

    #[test]
    fn of_several_cookies_the_one_that_holds_counts_and_two_that_differ_are_refused() {
        let sessions = sessions();
        let ((ana, hers), (_, others)) = (start(&sessions, NOW), start(&sessions, NOW));
        let junk = format!("{COOKIE}=of-another");
        for cookies in [[&*junk, &*hers], [&*hers, &*junk], [&*hers, &*hers]] {
            let found = sessions.find(&both(&cookies), NOW).unwrap().unwrap();
            assert_eq!(found.user(), ana.user(), "{cookies:?}");
        }
        assert_eq!(sessions.find(&both(&[&hers, &others]), NOW).err(), Some(Problem::TwoSessions));
    }

    #[test]
    fn over_tls_a_session_moves_to_a_name_that_no_other_site_can_set() {
        let sessions = sessions();
        let ((ana, before), (_, planted)) = (start(&sessions, NOW), start(&sessions, NOW));
        let (again, moved) = sessions.find_or_start(&both(&[&before]), NOW, true).unwrap();
        let moved = moved.unwrap().to_str().unwrap().to_owned();
        assert_eq!(again.user(), ana.user(), "a session from before the update holds");
        for attribute in ["__Host-qchat_session=", "Secure", "Path=/"] {
            assert!(moved.contains(attribute), "{moved}");
        }
        assert!(!moved.contains("Domain"), "{moved}");
        // regardless of what other sites set beside it
        for cookies in [[&*planted, &*moved], [&*moved, &*planted]] {
            let (found, renewed) = sessions.find_or_start(&both(&cookies), NOW, true).unwrap();
            assert_eq!((found.user(), renewed), (ana.user(), None));
        }
    }

    #[test]
    fn a_session_from_before_the_clock_was_set_back_is_renewed() {
        let sessions = sessions();
        let (session, cookie) = start(&sessions, later(LIFETIME));
        let (again, renewed) = sessions.find_or_start(&sent(&cookie), NOW, false).unwrap();
        assert_eq!((again.user(), renewed.is_some()), (session.user(), true));
    }

    #[test]
    fn what_was_changed_or_signed_by_others_does_not_hold() {
        let sessions = sessions();
        let (_, cookie) = start(&sessions, NOW);
        let start_of_value = COOKIE.len() + 1;
        for place in [start_of_value, start_of_value + 50, start_of_value + 80] {
            let mut forged = cookie.clone().into_bytes();
            forged[place] = if forged[place] == b'0' { b'1' } else { b'0' };
            assert!(sessions.find(&sent(&String::from_utf8(forged).unwrap()), NOW).unwrap().is_none());
        }
        let others = Sessions::new(Keys::new(&[8; KEY_BYTES], None));
        assert!(others.find(&sent(&cookie), NOW).unwrap().is_none());
        for nonsense in ["qchat_session=", "qchat_session=x", "qchat_session=é", "qchat_session"] {
            let headers = HeaderMap::from_iter([(
                header::COOKIE,
                HeaderValue::from_bytes(nonsense.as_bytes()).unwrap(),
            )]);
            assert!(sessions.find(&headers, NOW).unwrap().is_none());
        }
    }

    #[test]
    fn an_old_session_ends_and_an_ageing_one_is_renewed() {
        let sessions = sessions();
        let (session, cookie) = start(&sessions, NOW);
        assert!(sessions.find(&sent(&cookie), later(LIFETIME)).unwrap().is_none());
        let (again, renewed) = sessions.find_or_start(&sent(&cookie), later(RENEW_AFTER), false).unwrap();
        assert_eq!(again.user(), session.user());
        let renewed = renewed.unwrap().to_str().unwrap().to_owned();
        assert!(sessions.find(&sent(&renewed), later(LIFETIME)).unwrap().is_some());
    }

    #[test]
    fn other_keys_hold_from_the_moment_they_are_put_in_force() {
        let sessions = sessions();
        let (session, cookie) = start(&sessions, NOW);
        sessions.replace(Keys::new(&[8; KEY_BYTES], Some(&[7; KEY_BYTES])));
        let (again, renewed) = sessions.find_or_start(&sent(&cookie), NOW, false).unwrap();
        assert_eq!(again.user(), session.user());
        let renewed = renewed.unwrap().to_str().unwrap().to_owned();
        sessions.replace(Keys::new(&[8; KEY_BYTES], None));
        assert!(sessions.find(&sent(&cookie), NOW).unwrap().is_none());
        assert_eq!(sessions.find(&sent(&renewed), NOW).unwrap().unwrap().user(), session.user());
    }

    #[test]
    fn a_key_is_made_once_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let [path, old] = ["session.key", "session.key.old"].map(|name| folder.path().join(name));
        let open = || Sessions::open(&path)?.holding(&old);
        let (session, cookie) = start(&open().unwrap(), NOW);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(open().unwrap().find(&sent(&cookie), NOW).unwrap().is_some());

        // a key that is put aside stays valid for browsers that return, which then move to the new one
        fs::rename(&path, &old).unwrap();
        let sessions = open().unwrap();
        let (again, renewed) = sessions.find_or_start(&sent(&cookie), NOW, false).unwrap();
        assert_eq!(again.user(), session.user());
        let renewed = renewed.unwrap().to_str().unwrap().to_owned();
        fs::remove_file(&old).unwrap();
        assert!(open().unwrap().find(&sent(&renewed), NOW).unwrap().is_some());
        assert!(open().unwrap().find(&sent(&cookie), NOW).unwrap().is_none());

        fs::write(&old, b"short").unwrap();
        assert!(matches!(open(), Err(KeyError::NotAKey)));
        fs::remove_file(&old).unwrap();
        fs::write(&path, b"short").unwrap();
        assert!(matches!(open(), Err(KeyError::NotAKey)));
    }
}
