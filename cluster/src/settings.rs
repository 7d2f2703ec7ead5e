//! How to reach the NATS servers, and what is asked of them.

use std::{borrow::Cow, fmt, path::PathBuf, str::FromStr};

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

/// The longest prefix of names, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// The largest number of replicas that JetStream knows.
const MAX_REPLICAS: usize = 5;

/// How to reach the NATS servers, and what is asked of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// The servers. Any of them will do, and more are found through it.
    pub servers: Servers,
    /// Whether servers that were not named are used as well, when those that were tell of them. Off if the named
    /// addresses are those of proxies.
    pub discover: bool,
    /// How to log in. `None` if the servers ask for nothing.
    pub login: Option<Login>,
    /// What is asked of TLS.
    pub tls: Tls,
    /// The prefix of the names of everything that is kept in NATS.
    pub name: Name,
    /// The number of servers that have to keep each message. `None` for three if the servers are a cluster, and else for
    /// the one that there is.
    pub replicas: Option<Replicas>,
    /// The size that the log may reach, in bytes. Each server reserves it. `None` for 4 GiB, or less if they have not as much.
    pub max_log_bytes: Option<u64>,
    /// What this node is called, for people who look at the list of connections.
    pub node: String,
}

impl NatsSettings {
    /// Returns settings with defaults for everything but the servers: no login, TLS if the servers ask for it, names that
    /// begin with `qchat`, and as many replicas and as large a log as fit the servers.
    pub fn of(servers: Servers) -> Self {
        Self {
            servers,
            discover: true,
            login: None,
            tls: Tls::default(),
            name: Name::default(),
            replicas: None,
            max_log_bytes: None,
            node: "qchat".to_owned(),
        }
    }
}

/// The addresses of the NATS servers, at least one. They can be shown: a user, password or token in them is kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    addresses: Vec<ServerAddr>,
    login: Option<Login>,
}

impl Servers {
    pub(crate) fn addresses(&self) -> &[ServerAddr] {
        &self.addresses
    }

    /// Returns the login that was part of the addresses. `None` if none was.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }
}

impl FromStr for Servers {
    type Err = WrongServers;

    /// Reads addresses with commas between them, each as `host`, `host:port`, `nats://host:port` or `tls://host:port`. The
    /// port is 4222 if none is given. Before the host there may be `user:password@` or `token@`, percent-encoded where they have
    /// other characters than letters and digits, and the same for all.
    ///
    /// # Errors
    /// [`WrongServers`] if there is none, or one of them cannot be used.
    fn from_str(text: &str) -> Result<Self, WrongServers> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let (mut addresses, mut login) = (Vec::new(), None);
        for part in parts {
            let (address, its_login) = address(part)?;
            addresses.push(address);
            match (&login, its_login) {
                (Some(one), Some(other)) if *one != other => return Err(WrongServers::Logins),
                (_, None) => {}
                (_, its_login) => login = its_login,
            }
        }
        if addresses.is_empty() { Err(WrongServers::None) } else { Ok(Self { addresses, login }) }
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.addresses.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}:{}", server.host(), server.port())?;
        }
        Ok(())
    }
}

/// Reads an address, and the login in it.
fn address(text: &str) -> Result<(ServerAddr, Option<Login>), WrongServers> {
    let (scheme, rest) = text.find("://").map_or(("", text), |end| text.split_at(end + 3));
    // The login is taken off before the address is read, so that it is not shown by what is wrong with the address.
    let (login, host) = rest.rsplit_once('@').map_or((None, rest), |(login, host)| (Some(login), host));
    let shown = format!("{scheme}{host}");
    let server: ServerAddr = shown.parse().map_err(|_| WrongServers::NoAddress(shown.clone()))?;
    if server.is_websocket() || server.host().is_empty() {
        return Err(WrongServers::NoAddress(shown));
    }
    let decode =
        |text| percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(|_| WrongServers::Login);
    let login = match login.map(|login| login.split_once(':').ok_or(login)) {
        None => None,
        Some(Err(token)) => Some(Login::Token(decode(token)?.into())),
        Some(Ok((user, password))) => {
            Some(Login::Password { user: decode(user)?, password: decode(password)?.into() })
        }
    };
    Ok((server, login))
}

/// Why addresses of servers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongServers {
    /// There is no address.
    #[error("at least one address of a NATS server is needed")]
    None,
    /// It is no address.
    #[error(
        "{0:?} is not an address of a NATS server, such as nats://10.0.0.1:4222 or tls://nats.example.org"
    )]
    NoAddress(String),
    /// The login in it cannot be read.
    #[error("the user, password or token in an address is not percent-encoded UTF-8")]
    Login,
    /// There are different logins in several addresses.
    #[error("the addresses have different users, passwords or tokens in them, and a node has one login")]
    Logins,
}

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A file with a JWT and the seed of an NKey.
    Credentials(PathBuf),
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Token(Secret),
}

/// A password or token, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> String {
        self.0.clone()
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What is asked of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whether a connection without TLS is refused. TLS is used anyway where a server asks for it or its address begins with
    /// `tls://`.
    pub required: bool,
    /// A file with the certificates of the authorities to trust. `None` for those of the system.
    pub authorities: Option<PathBuf>,
    /// The files with the certificate of this node and its key, for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The prefix of the names of everything that is kept in NATS: 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Returns the name of the stream.
    pub fn stream(&self) -> String {
        format!("{}_log", self.0)
    }

    /// Returns the subject of the messages of the log.
    pub fn subject(&self) -> String {
        format!("{}.log", self.0)
    }

    /// Returns the name of the bucket of snapshots, an object store.
    pub fn snapshots(&self) -> String {
        format!("{}_snapshots", self.0)
    }

    /// Returns the name of the stream of pictures.
    pub fn pictures(&self) -> String {
        format!("{}_pictures", self.0)
    }

    /// Returns the beginning of the subjects of pictures.
    pub fn picture_subject(&self) -> String {
        format!("{}.picture", self.0)
    }

    /// Returns the name of the bucket of session keys, a key-value store.
    pub fn keys(&self) -> String {
        format!("{}_keys", self.0)
    }

    /// Returns the subject on which a node asks for a new snapshot.
    pub fn snapshot_wanted(&self) -> String {
        format!("{}.snapshot.wanted", self.0)
    }

    /// Returns the subject of something that is not kept.
    pub fn ephemeral(&self, what: &str) -> String {
        format!("{}.{what}", self.0)
    }
}

impl Default for Name {
    fn default() -> Self {
        Self("qchat".to_owned())
    }
}

impl FromStr for Name {
    type Err = WrongName;

    fn from_str(name: &str) -> Result<Self, WrongName> {
        let is_ours = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_name = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_ours);
        if is_name { Ok(Self(name.to_owned())) } else { Err(WrongName) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// It is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has to be 1 to 64 letters, digits, hyphens and underscores")]
pub struct WrongName;

/// The number of servers that have to keep each message: 1, 3 or 5. An even number needs one server more and bears the
/// loss of none more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replicas(usize);

impl Replicas {
    /// The only server there is.
    pub const ONE: Self = Self(1);
    /// What bears the loss of one server.
    pub const THREE: Self = Self(3);

    /// Returns the number.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl FromStr for Replicas {
    type Err = WrongReplicas;

    fn from_str(text: &str) -> Result<Self, WrongReplicas> {
        match text.parse() {
            Ok(number @ 1..=MAX_REPLICAS) if number % 2 == 1 => Ok(Self(number)),
            _ => Err(WrongReplicas),
        }
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// It is not a number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has to be 1, 3 or 5")]
pub struct WrongReplicas;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers_are_read_and_shown() {
        let servers: Servers = "nats://10.0.0.1:4223, nats.example.org,tls://[::1]".parse().unwrap();
        assert_eq!(servers.to_string(), "10.0.0.1:4223, nats.example.org:4222, ::1:4222");
        assert!(servers.addresses()[2].tls_required());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!(Servers::from_str(" , "), Err(WrongServers::None));
        for wrong in ["http://a", "ws://a", "nats://", "nats://a:99999", "a b"] {
            let refused = Servers::from_str(wrong);
            assert_eq!(refused, Err(WrongServers::NoAddress(wrong.to_owned())), "{wrong}");
        }
    }

    #[test]
    fn a_login_in_an_address_is_taken_and_not_shown() {
        let password = |password: &str| {
            Some(Login::Password { user: "user".to_owned(), password: password.to_owned().into() })
        };
        for (text, login) in [
            ("nats://user:hunter2@host", password("hunter2")),
            ("user:hunter2@host:4223, other", password("hunter2")),
            ("tls://user:h%40%3Anter2@host, user:h%40%3Anter2@other", password("h@:nter2")),
            ("hunter2@host", Some(Login::Token("hunter2".to_owned().into()))),
            ("host", None),
        ] {
            let servers: Servers = text.parse().unwrap();
            assert_eq!(servers.login(), login.as_ref(), "{text}");
            assert!(!format!("{servers} {servers:?}").contains("nter2"), "{servers:?}");
        }
        for (wrong, why) in [
            ("nats://user:hunter2@host:wrong", WrongServers::NoAddress("nats://host:wrong".to_owned())),
            ("user:hunter2@host,user:hunter3@host", WrongServers::Logins),
            ("user:hunter2%ff@host", WrongServers::Login),
        ] {
            assert_eq!(Servers::from_str(wrong), Err(why), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut settings = NatsSettings::of("localhost".parse().unwrap());
        settings.login =
            Some(Login::Password { user: "qchat".to_owned(), password: "hunter2".to_owned().into() });
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
        assert!(format!("{settings:?}").contains("qchat"), "{settings:?}");
        settings.login = Some(Login::Token("hunter2".to_owned().into()));
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    }

    #[test]
    fn names_are_letters_digits_hyphens_and_underscores() {
        assert_eq!("chat-2_b".parse::<Name>().unwrap().subject(), "chat-2_b.log");
        for wrong in ["", "a.b", "a b", "a>", "ü", &"a".repeat(65)] {
            assert_eq!(wrong.parse::<Name>(), Err(WrongName), "{wrong}");
        }
    }

    #[test]
    fn replicas_are_an_odd_number_up_to_five() {
        let read: Vec<_> = ["0", "1", "2", "3", "4", "5", "6", "x"].map(str::parse::<Replicas>).into();
        let read: Vec<_> = read.into_iter().map(|number| number.ok().map(Replicas::get)).collect();
        assert_eq!(read, [None, Some(1), None, Some(3), None, Some(5), None, None]);
    }
}
