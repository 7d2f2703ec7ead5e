//! Settings: flags, then the environment, then Leptos.toml, then defaults.

use std::{
    collections::BTreeMap,
    env, fs, io,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Parser;
use domain::{Lifetimes, Span};
use engine::limits::{Caps, Rate, Rates};
use serde::Deserialize;

use crate::http::client::TrustedProxies;

/// Where the settings of a folder are kept.
pub const FILE: &str = "Leptos.toml";

const DEFAULT_ADDRESS: &str = "127.0.0.1:3000";
const DEFAULT_DATA_DIR: &str = "./data";
const DEFAULT_CHAT_LIFETIME: &str = "30m";
const DEFAULT_USER_LIFETIME: &str = "5m";
const DEFAULT_MESSAGE_LIFETIME: &str = "24h";
const DEFAULT_SWEEP_INTERVAL: &str = "60s";
const DEFAULT_PAGE_RATE: &str = "300/m";
const DEFAULT_CONNECT_RATE: &str = "120/m";
const DEFAULT_CHAT_RATE: &str = "60/m";
const DEFAULT_MESSAGE_RATE: &str = "300/m";
const DEFAULT_RENAME_RATE: &str = "60/m";
const DEFAULT_INVITE_RATE: &str = "60/m";
const DEFAULT_MAX_SOCKETS: &str = "15000";
const DEFAULT_MAX_SESSION_SOCKETS: &str = "100";
const DEFAULT_MAX_MEMBERS: &str = "10000";
const DEFAULT_MAX_USER_CHATS: &str = "100";
const DEFAULT_MAX_LISTED: &str = "5";
const DEFAULT_MAX_STORAGE: &str = "4096";
const DEFAULT_MAX_SESSION_STORAGE: &str = "16";
const DEFAULT_RELOAD_PORT: u32 = 3001;

/// What Qchat is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen. Port 0 takes a free one.
    pub address: SocketAddr,
    /// Where the database and the key are.
    pub data_dir: PathBuf,
    /// How long things are kept.
    pub lifetimes: Lifetimes,
    /// How often what has expired is taken away. It is not shown even before.
    pub sweep_interval: Span,
    /// Which proxies are believed when they say who is behind them.
    pub trusted_proxies: TrustedProxies,
    /// How often one may do what costs others something.
    pub rates: Rates,
    /// How much there may be at once.
    pub caps: Caps,
    /// Where `cargo leptos watch` announces new builds.
    pub reload_port: u32,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value is not of its kind.
    #[error("{name} is {value:?}, which is not {wanted}")]
    Value {
        /// The setting as it was given.
        name: String,
        /// Its value.
        value: String,
        /// What it could be.
        wanted: &'static str,
    },
    /// The file is there and cannot be read.
    #[error("{FILE} cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The file is not what it should be.
    #[error("{FILE} is not right: {0}")]
    File(String),
}

/// Anonymous, ephemeral, real-time chat.
#[derive(Debug, Default, Parser)]
#[command(
    name = "qchat",
    version,
    after_help = "A TIME is a number with a unit, such as 90s, 30m, 24h or 7d. A RATE is so many in a time, such as 5/s, 30/m or 100/h, or off; from one address twenty times as many. QCHAT_LOG says what is logged to the standard error, such as warn [default: info]. Flags come before the environment, that before Leptos.toml in the current folder, that before the defaults."
)]
pub struct Flags {
    /// Where to listen [env: LEPTOS_SITE_ADDR] [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    site_addr: Option<String>,
    /// Where the database and the session key are kept [env: QCHAT_DATA_DIR] [default: ./data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// How long a chat is kept in which nobody is [env: QCHAT_CHAT_LIFETIME] [default: 30m]
    #[arg(long, value_name = "TIME")]
    chat_lifetime: Option<String>,
    /// How long a nickname is kept whose user is nowhere [env: QCHAT_USER_LIFETIME] [default: 5m]
    #[arg(long, value_name = "TIME")]
    user_lifetime: Option<String>,
    /// How long a message is kept [env: QCHAT_MESSAGE_LIFETIME] [default: 24h]
    #[arg(long, value_name = "TIME")]
    message_lifetime: Option<String>,
    /// How often what has expired is taken off the disk; it is not shown even before [env: QCHAT_SWEEP_INTERVAL] [default: 60s]
    #[arg(long, value_name = "TIME")]
    sweep_interval: Option<String>,
    /// Proxies that are believed when they say who is behind them, with commas between [env: QCHAT_TRUSTED_PROXIES] [default: none]
    #[arg(long, value_name = "ADDRESSES")]
    trusted_proxies: Option<String>,
    /// How often a session may load a page [env: QCHAT_PAGE_RATE] [default: 300/m]
    #[arg(long, value_name = "RATE")]
    page_rate: Option<String>,
    /// How often a session may open a socket [env: QCHAT_CONNECT_RATE] [default: 120/m]
    #[arg(long, value_name = "RATE")]
    connect_rate: Option<String>,
    /// How often a session may start a chat [env: QCHAT_CHAT_RATE] [default: 60/m]
    #[arg(long, value_name = "RATE")]
    chat_rate: Option<String>,
    /// How often a session may say something, or take it away [env: QCHAT_MESSAGE_RATE] [default: 300/m]
    #[arg(long, value_name = "RATE")]
    message_rate: Option<String>,
    /// How often a session may change a nickname, a title, or who may find a chat, be in it, write in it or be seen [env: QCHAT_RENAME_RATE] [default: 60/m]
    #[arg(long, value_name = "RATE")]
    rename_rate: Option<String>,
    /// How often a session may ask for a private chat, or answer [env: QCHAT_INVITE_RATE] [default: 60/m]
    #[arg(long, value_name = "RATE")]
    invite_rate: Option<String>,
    /// How many sockets may be open at once in all [env: QCHAT_MAX_SOCKETS] [default: 15000]
    #[arg(long, value_name = "NUMBER")]
    max_sockets: Option<String>,
    /// How many sockets of one session may be open at once [env: QCHAT_MAX_SESSION_SOCKETS] [default: 100]
    #[arg(long, value_name = "NUMBER")]
    max_session_sockets: Option<String>,
    /// How many members a chat may have at once [env: QCHAT_MAX_MEMBERS] [default: 10000]
    #[arg(long, value_name = "NUMBER")]
    max_members: Option<String>,
    /// How many chats one session may own at once [env: QCHAT_MAX_USER_CHATS] [default: 100]
    #[arg(long, value_name = "NUMBER")]
    max_user_chats: Option<String>,
    /// How many public chats of one session are in the list while nobody filters it, and four times as many of one address [env: QCHAT_MAX_LISTED] [default: 5]
    #[arg(long, value_name = "NUMBER")]
    max_listed: Option<String>,
    /// How many MiB may be kept in all; the database file takes about three times as many [env: QCHAT_MAX_STORAGE] [default: 4096]
    #[arg(long, value_name = "NUMBER")]
    max_storage: Option<String>,
    /// How many MiB a session may store within one message lifetime [env: QCHAT_MAX_SESSION_STORAGE] [default: 16]
    #[arg(long, value_name = "NUMBER")]
    max_session_storage: Option<String>,
    /// Ends a chat of the Qchat that runs on this data folder, for everybody who is in it, and does nothing else
    #[arg(long, value_name = "LINK")]
    pub end_chat: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    qchat: BTreeMap<String, toml::Value>,
    leptos: LeptosTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct LeptosTable {
    site_addr: Option<String>,
    reload_port: Option<u32>,
}

impl Settings {
    /// Reads the settings of this process.
    ///
    /// # Errors
    /// [`SettingsError`], with the name of the setting.
    pub fn load(flags: Flags) -> Result<Self, SettingsError> {
        let file = match fs::read_to_string(Path::new(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        Self::merge(flags, |name| env::var(name).ok(), &file)
    }

    fn merge(
        flags: Flags,
        environment: impl Fn(&str) -> Option<String>,
        file: &str,
    ) -> Result<Self, SettingsError> {
        let File { qchat, leptos } =
            toml::from_str(file).map_err(|error| SettingsError::File(error.message().to_owned()))?;
        let mut sources = Sources { environment, qchat };
        let address = first([
            ("--site-addr", flags.site_addr),
            ("LEPTOS_SITE_ADDR", (sources.environment)("LEPTOS_SITE_ADDR")),
            ("site-addr in Leptos.toml", leptos.site_addr),
        ]);
        let address = address.unwrap_or_else(|| Found::default(DEFAULT_ADDRESS));
        let settings = Self {
            address: address.parse("an IP address with a port, such as 127.0.0.1:3000")?,
            data_dir: sources
                .find("data-dir", flags.data_dir, DEFAULT_DATA_DIR)
                .parse_by(|dir| (!dir.is_empty()).then(|| dir.into()), "a folder, such as ./data")?,
            lifetimes: Lifetimes {
                chat: sources.find("chat-lifetime", flags.chat_lifetime, DEFAULT_CHAT_LIFETIME).span()?,
                user: sources.find("user-lifetime", flags.user_lifetime, DEFAULT_USER_LIFETIME).span()?,
                message: sources
                    .find("message-lifetime", flags.message_lifetime, DEFAULT_MESSAGE_LIFETIME)
                    .span()?,
            },
            sweep_interval: sources
                .find("sweep-interval", flags.sweep_interval, DEFAULT_SWEEP_INTERVAL)
                .span()?,
            trusted_proxies: sources
                .find("trusted-proxies", flags.trusted_proxies, "")
                .parse("a list of IP addresses and networks, such as 127.0.0.1, 10.0.0.0/8")?,
            rates: Rates {
                page: sources.find("page-rate", flags.page_rate, DEFAULT_PAGE_RATE).rate()?,
                connect: sources.find("connect-rate", flags.connect_rate, DEFAULT_CONNECT_RATE).rate()?,
                chat: sources.find("chat-rate", flags.chat_rate, DEFAULT_CHAT_RATE).rate()?,
                message: sources.find("message-rate", flags.message_rate, DEFAULT_MESSAGE_RATE).rate()?,
                rename: sources.find("rename-rate", flags.rename_rate, DEFAULT_RENAME_RATE).rate()?,
                invite: sources.find("invite-rate", flags.invite_rate, DEFAULT_INVITE_RATE).rate()?,
            },
            caps: Caps {
                sockets: sources.find("max-sockets", flags.max_sockets, DEFAULT_MAX_SOCKETS).count()?,
                session_sockets: sources
                    .find("max-session-sockets", flags.max_session_sockets, DEFAULT_MAX_SESSION_SOCKETS)
                    .count()?,
                members: sources.find("max-members", flags.max_members, DEFAULT_MAX_MEMBERS).count()?,
                user_chats: sources
                    .find("max-user-chats", flags.max_user_chats, DEFAULT_MAX_USER_CHATS)
                    .count()?,
                listed: sources.find("max-listed", flags.max_listed, DEFAULT_MAX_LISTED).count()?,
                storage: sources
                    .find("max-storage", flags.max_storage, DEFAULT_MAX_STORAGE)
                    .parse_by(mebibytes, "a whole number of MiB from 1")?,
                session_storage: sources
                    .find("max-session-storage", flags.max_session_storage, DEFAULT_MAX_SESSION_STORAGE)
                    .parse_by(
                        |text| NonZeroU32::new(mebibytes(text)?.try_into().ok()?).map(Some),
                        "a whole number of MiB from 1 to 4095",
                    )?,
            },
            reload_port: leptos.reload_port.unwrap_or(DEFAULT_RELOAD_PORT),
        };
        match sources.qchat.keys().next() {
            Some(unknown) => Err(SettingsError::File(format!("there is no setting {unknown} in [qchat]"))),
            None => Ok(settings),
        }
    }
}

/// Where settings come from, but for flags.
struct Sources<E> {
    environment: E,
    /// What is left of the file's own table.
    qchat: BTreeMap<String, toml::Value>,
}

impl<E: Fn(&str) -> Option<String>> Sources<E> {
    /// The value of a setting of Qchat's own: `--a-name`, `QCHAT_A_NAME`, or `a-name` in the file.
    fn find(&mut self, name: &str, flag: Option<String>, default: &str) -> Found {
        let variable = format!("QCHAT_{}", name.to_ascii_uppercase().replace('-', "_"));
        let in_file = self.qchat.remove(name).map(|value| match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            other => other.type_str().to_owned(),
        });
        let in_environment = (self.environment)(&variable);
        let found = first([
            (&format!("--{name}"), flag),
            (&variable, in_environment),
            (&format!("{name} in {FILE}"), in_file),
        ]);
        found.unwrap_or_else(|| Found::default(default))
    }
}

/// The value of a setting, and what it was called where it was found.
struct Found {
    name: String,
    value: String,
}

impl Found {
    fn default(value: &str) -> Self {
        Self { name: "a default".to_owned(), value: value.to_owned() }
    }

    fn span(self) -> Result<Span, SettingsError> {
        self.parse("a length of time from 1s to 365d, such as 90s, 30m or 24h")
    }

    fn count(self) -> Result<usize, SettingsError> {
        self.parse_by(|text| text.parse().ok().filter(|count| *count > 0), "a whole number from 1")
    }

    fn rate(self) -> Result<Rate, SettingsError> {
        self.parse("a rate such as 5/s, 30/m, 100/h, or off")
    }

    fn parse<T: FromStr>(self, wanted: &'static str) -> Result<T, SettingsError> {
        self.parse_by(|value| value.parse().ok(), wanted)
    }

    fn parse_by<T>(
        self,
        read: impl FnOnce(&str) -> Option<T>,
        wanted: &'static str,
    ) -> Result<T, SettingsError> {
        let Self { name, value } = self;
        read(&value).ok_or(SettingsError::Value { name, value, wanted })
    }
}

fn mebibytes(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|count| *count > 0)?.checked_mul(1024 * 1024)
}

fn first<const N: usize>(sources: [(&str, Option<String>); N]) -> Option<Found> {
    sources.into_iter().find_map(|(name, value)| value.map(|value| Found { name: name.to_owned(), value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_TEXT: &str = "[qchat]\ndata-dir = \"/from-file\"\n[leptos]\nsite-addr = \"127.0.0.1:1\"\n";

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn flags_come_first_then_the_environment_then_the_file_then_defaults() {
        let flags = || Flags { site_addr: Some("127.0.0.1:3".into()), ..Flags::default() };
        let environment = |name: &str| (name == "LEPTOS_SITE_ADDR").then(|| "127.0.0.1:2".to_owned());
        let port = |settings: Result<Settings, SettingsError>| settings.unwrap().address.port();
        assert_eq!(port(Settings::merge(flags(), environment, FILE_TEXT)), 3);
        assert_eq!(port(Settings::merge(Flags::default(), environment, FILE_TEXT)), 2);
        assert_eq!(port(Settings::merge(Flags::default(), nothing, FILE_TEXT)), 1);
        assert_eq!(port(Settings::merge(Flags::default(), nothing, "")), 3000);
        assert_eq!(Settings::merge(flags(), nothing, FILE_TEXT).unwrap().data_dir, Path::new("/from-file"));
        assert_eq!(Settings::merge(flags(), nothing, "").unwrap().data_dir, Path::new("./data"));
    }

    #[test]
    fn lifetimes_are_what_is_set_or_the_defaults() {
        let environment = |name: &str| (name == "QCHAT_MESSAGE_LIFETIME").then(|| "2h".to_owned());
        let flags = Flags { chat_lifetime: Some("90s".to_owned()), ..Flags::default() };
        let settings = Settings::merge(flags, environment, "[qchat]\nuser-lifetime = \"10s\"").unwrap();
        let expected =
            Lifetimes { chat: Span::seconds(90), user: Span::seconds(10), message: Span::seconds(7_200) };
        assert_eq!((settings.lifetimes, settings.sweep_interval), (expected, Span::seconds(60)));
        let defaults = Settings::merge(Flags::default(), nothing, "").unwrap();
        assert_eq!(defaults.lifetimes, Lifetimes::default());
    }

    #[test]
    fn a_wrong_value_is_named() {
        let settings =
            ["QCHAT_CHAT_LIFETIME", "QCHAT_USER_LIFETIME", "QCHAT_MESSAGE_LIFETIME", "QCHAT_SWEEP_INTERVAL"];
        for setting in settings {
            for value in ["", "soon", "30", "0s"] {
                let environment = |name: &str| (name == setting).then(|| value.to_owned());
                let error = Settings::merge(Flags::default(), environment, "").unwrap_err().to_string();
                assert!(error.contains(setting) && error.contains(&format!("{value:?}")), "{error}");
            }
        }
        for setting in ["PAGE", "CONNECT", "CHAT", "MESSAGE", "RENAME", "INVITE"]
            .map(|kind| format!("QCHAT_{kind}_RATE"))
        {
            let environment = |name: &str| (name == setting).then(|| "often".to_owned());
            let error = Settings::merge(Flags::default(), environment, "").unwrap_err().to_string();
            assert!(error.contains(&setting) && error.contains("often"), "{error}");
        }
        for setting in [
            "QCHAT_MAX_SOCKETS",
            "QCHAT_MAX_SESSION_SOCKETS",
            "QCHAT_MAX_MEMBERS",
            "QCHAT_MAX_LISTED",
            "QCHAT_MAX_SESSION_STORAGE",
        ] {
            for value in ["0", "-1", "many"] {
                let environment = |name: &str| (name == setting).then(|| value.to_owned());
                let error = Settings::merge(Flags::default(), environment, "").unwrap_err().to_string();
                assert!(error.contains(setting) && error.contains(value), "{error}");
            }
        }
        let error = Settings::merge(Flags::default(), nothing, "[qchat]\nuser-lifetime = 5").unwrap_err();
        assert!(error.to_string().starts_with("user-lifetime in Leptos.toml is \"5\""), "{error}");
        let flags = Flags { trusted_proxies: Some("10.0.0.0/8, all".to_owned()), ..Flags::default() };
        let error = Settings::merge(flags, nothing, "").unwrap_err().to_string();
        assert!(error.contains("--trusted-proxies") && error.contains("10.0.0.0/8, all"), "{error}");
        let environment = |name: &str| (name == "LEPTOS_SITE_ADDR").then(|| "everywhere".to_owned());
        let error = Settings::merge(Flags::default(), environment, "").unwrap_err().to_string();
        assert!(error.contains("LEPTOS_SITE_ADDR") && error.contains("everywhere"), "{error}");
        let error =
            Settings::merge(Flags::default(), nothing, "[qchat]\ndata-dri = 1").unwrap_err().to_string();
        assert!(error.contains("Leptos.toml") && error.contains("data-dri"), "{error}");
    }

    /// cargo-leptos reads Cargo.toml and the server reads Leptos.toml: what both have is the same.
    #[test]
    fn the_two_files_agree() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read = |name: &str| fs::read_to_string(root.join(name)).unwrap().parse::<toml::Table>().unwrap();
        let (cargo, leptos) = (read("Cargo.toml"), read("Leptos.toml"));
        let cargo = cargo["workspace"]["metadata"]["leptos"][0].as_table().unwrap();
        let leptos = leptos["leptos"].as_table().unwrap();
        assert!(!leptos.is_empty());
        for (key, value) in leptos {
            assert_eq!(cargo.get(key), Some(value), "{key}");
        }
    }
}
