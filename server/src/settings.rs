//! The settings of the server: from flags, environment variables, `Leptos.toml` and defaults, in this order of
//! precedence.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs, io,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use clap::{
    CommandFactory, FromArgMatches, Parser,
    error::{ContextKind, ContextValue},
};
use domain::{Lifetimes, Span};
use engine::limits::{Caps, Rate, Rates};
use serde::Deserialize;

use crate::{
    http::client::TrustedProxies,
    logging::{LogFilter, LogFormat, LogSettings, NoFilter},
};

/// The settings file, in the current folder.
pub const FILE: &str = "Leptos.toml";

/// The port on which `cargo leptos watch` announces new builds, unless `Leptos.toml` has another.
const DEFAULT_RELOAD_PORT: u32 = 3001;

/// The settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The address to listen on. Port 0 takes a free one.
    pub address: SocketAddr,
    /// The folder of the database and the session key.
    pub data_dir: PathBuf,
    /// How long data is kept.
    pub lifetimes: Lifetimes,
    /// The interval at which expired data is deleted. It is hidden as soon as it expires.
    pub sweep_interval: Span,
    /// The proxies whose forwarding headers are trusted.
    pub trusted_proxies: TrustedProxies,
    /// The rate limits.
    pub rates: Rates,
    /// The quotas.
    pub caps: Caps,
    /// The port on which `cargo leptos watch` announces new builds.
    pub reload_port: u32,
}

/// The action that the program was started for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run a server, and log by these settings.
    Serve(Box<Settings>, LogSettings),
    /// Have the running server of a data folder end a chat.
    EndChat {
        /// The data folder.
        data_dir: PathBuf,
        /// The link of the chat, or its id.
        link: String,
    },
}

/// The error for settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value is invalid.
    #[error("{name} is {value:?}, which is not {wanted}")]
    Value {
        /// The setting and where it was found.
        name: String,
        /// The invalid value.
        value: String,
        /// What is expected.
        wanted: String,
    },
    /// The settings file exists but cannot be read.
    #[error("{FILE} cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The settings file is invalid.
    #[error("{FILE} is invalid: {0}")]
    File(String),
    /// The flags are invalid, or ask for the help or the version.
    #[error(transparent)]
    Flags(clap::Error),
}

/// Anonymous, ephemeral, real-time chat.
#[derive(Debug, Parser)]
#[command(
    name = "qchat",
    version,
    after_help = "TIME is a number with a unit, such as 90s, 30m, 24h or 7d. RATE is a number of actions per second, minute or hour, such as 5/s, 30/m or 100/h, or off for no limit. The rate limits per IP address are twenty times those per session. Flags override environment variables, which override Leptos.toml in the current folder, which overrides the defaults."
)]
struct Flags {
    /// Address and port to listen on; port 0 picks a free port
    #[arg(long, env = "LEPTOS_SITE_ADDR", hide_env_values = true, value_name = "ADDRESS:PORT", value_parser = address, default_value = "127.0.0.1:3000")]
    site_addr: SocketAddr,
    /// Folder of the database and the session key
    #[arg(long, env = "QCHAT_DATA_DIR", hide_env_values = true, value_name = "FOLDER", value_parser = folder, default_value = "./data")]
    data_dir: PathBuf,
    /// How long a chat without members is kept
    #[arg(long, env = "QCHAT_CHAT_LIFETIME", hide_env_values = true, value_name = "TIME", value_parser = span, default_value = "30m")]
    chat_lifetime: Span,
    /// How long the nickname of an offline user is kept
    #[arg(long, env = "QCHAT_USER_LIFETIME", hide_env_values = true, value_name = "TIME", value_parser = span, default_value = "5m")]
    user_lifetime: Span,
    /// How long a message is kept
    #[arg(long, env = "QCHAT_MESSAGE_LIFETIME", hide_env_values = true, value_name = "TIME", value_parser = span, default_value = "24h")]
    message_lifetime: Span,
    /// How often expired data is deleted from the database; it is hidden as soon as it expires
    #[arg(long, env = "QCHAT_SWEEP_INTERVAL", hide_env_values = true, value_name = "TIME", value_parser = span, default_value = "60s")]
    sweep_interval: Span,
    /// Trusted reverse proxies: IP addresses and networks, separated by commas
    #[arg(long, env = "QCHAT_TRUSTED_PROXIES", hide_env_values = true, value_name = "ADDRESSES", value_parser = proxies, default_value = "", hide_default_value = true)]
    trusted_proxies: TrustedProxies,
    /// Rate limit per session for loading pages; a list of more than 50 chats counts as one page for every 50
    #[arg(long, env = "QCHAT_PAGE_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate, default_value = "300/m")]
    page_rate: Rate,
    /// Rate limit per session for opening WebSocket connections
    #[arg(long, env = "QCHAT_CONNECT_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate, default_value = "120/m")]
    connect_rate: Rate,
    /// Rate limit per session for starting chats
    #[arg(long, env = "QCHAT_CHAT_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate, default_value = "60/m")]
    chat_rate: Rate,
    /// Rate limit per session for posting and removing messages
    #[arg(long, env = "QCHAT_MESSAGE_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate, default_value = "300/m")]
    message_rate: Rate,
    /// Rate limit per session for changing a nickname or the title or visibility of a chat, hiding users, and turning
    /// invites on or off; locking chats and removing users have the same limit, each counted separately
    #[arg(long, env = "QCHAT_RENAME_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate, default_value = "60/m")]
    rename_rate: Rate,
    /// Rate limit per session for inviting to private chats and answering invites
    #[arg(long, env = "QCHAT_INVITE_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate, default_value = "60/m")]
    invite_rate: Rate,
    /// Maximum number of open WebSocket connections in total
    #[arg(long, env = "QCHAT_MAX_SOCKETS", hide_env_values = true, value_name = "NUMBER", value_parser = count, default_value = "15000")]
    max_sockets: usize,
    /// Maximum number of open WebSocket connections per session
    #[arg(long, env = "QCHAT_MAX_SESSION_SOCKETS", hide_env_values = true, value_name = "NUMBER", value_parser = count, default_value = "100")]
    max_session_sockets: usize,
    /// Maximum number of members of a chat
    #[arg(long, env = "QCHAT_MAX_MEMBERS", hide_env_values = true, value_name = "NUMBER", value_parser = count, default_value = "10000")]
    max_members: usize,
    /// Maximum number of chats that a session may own
    #[arg(long, env = "QCHAT_MAX_USER_CHATS", hide_env_values = true, value_name = "NUMBER", value_parser = count, default_value = "100")]
    max_user_chats: usize,
    /// Maximum number of chats per session in the unfiltered list of public chats; four times as many per IP address
    #[arg(long, env = "QCHAT_MAX_LISTED", hide_env_values = true, value_name = "NUMBER", value_parser = count, default_value = "5")]
    max_listed: usize,
    /// Maximum size of all stored data, in MiB; the database file takes about three times as much
    #[arg(long, env = "QCHAT_MAX_STORAGE", hide_env_values = true, value_name = "NUMBER", value_parser = mebibytes, default_value = "4096")]
    max_storage: u64,
    /// Maximum size of what a session may store within one message lifetime, in MiB
    #[arg(long, env = "QCHAT_MAX_SESSION_STORAGE", hide_env_values = true, value_name = "NUMBER", value_parser = few_mebibytes, default_value = "16")]
    max_session_storage: NonZeroU32,
    /// Level of the log on standard error: error, warn, info, debug or trace; also for modules, such as info,engine=debug
    #[arg(long, env = "QCHAT_LOG", hide_env_values = true, value_name = "LEVEL", value_parser = log_filter, default_value = "info")]
    log: LogFilter,
    /// Format of the log: text or json
    #[arg(long, env = "QCHAT_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT", value_parser = log_format, default_value = "text")]
    log_format: LogFormat,
    /// Collector of OpenTelemetry to send traces to, such as http://127.0.0.1:4318/v1/traces
    #[cfg(feature = "otel")]
    #[arg(long, env = "QCHAT_TRACES", hide_env_values = true, value_name = "URL")]
    traces: Option<String>,
    /// Tell the server that runs on this data folder to end a chat for all its members, then exit
    #[arg(long, value_name = "LINK")]
    end_chat: Option<String>,
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

/// Reads the settings, and the action that this process was started for.
///
/// # Errors
/// [`SettingsError`] if a setting is invalid; it names the setting.
pub fn load() -> Result<Action, SettingsError> {
    let file = match fs::read_to_string(Path::new(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    read(env::args_os().collect(), &file, true)
}

fn read(args: Vec<OsString>, file: &str, with_environment: bool) -> Result<Action, SettingsError> {
    let File { mut qchat, leptos } =
        toml::from_str(file).map_err(|error| SettingsError::File(error.message().to_owned()))?;
    qchat.extend(leptos.site_addr.map(|address| ("site-addr".to_owned(), address.into())));
    // values of the file override the defaults
    let mut command = Flags::command();
    for (name, value) in &qchat {
        let known = command.get_arguments().find(|argument| argument.get_long() == Some(name.as_str()));
        let id =
            known.filter(|argument| argument.get_env().is_some()).map(|argument| argument.get_id().clone());
        let id = id.ok_or_else(|| SettingsError::File(format!("there is no setting {name} in [qchat]")))?;
        let value = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            other => other.type_str().to_owned(),
        };
        command = command.mut_arg(id, |argument| argument.default_value(value));
    }
    if !with_environment {
        command = command.mut_args(|argument| argument.env(None::<&str>));
    }
    let parsed =
        command.clone().try_get_matches_from(&args).and_then(|matches| Flags::from_arg_matches(&matches));
    let flags = parsed.map_err(|error| explain(error, &command, &args, &qchat))?;
    if let Some(link) = flags.end_chat {
        return Ok(Action::EndChat { data_dir: flags.data_dir, link });
    }
    let log = LogSettings {
        filter: flags.log,
        format: flags.log_format,
        #[cfg(feature = "otel")]
        traces: flags.traces,
    };
    let settings = Settings {
        address: flags.site_addr,
        data_dir: flags.data_dir,
        lifetimes: Lifetimes {
            chat: flags.chat_lifetime,
            user: flags.user_lifetime,
            message: flags.message_lifetime,
        },
        sweep_interval: flags.sweep_interval,
        trusted_proxies: flags.trusted_proxies,
        rates: Rates {
            page: flags.page_rate,
            connect: flags.connect_rate,
            chat: flags.chat_rate,
            message: flags.message_rate,
            rename: flags.rename_rate,
            invite: flags.invite_rate,
        },
        caps: Caps {
            sockets: flags.max_sockets,
            session_sockets: flags.max_session_sockets,
            members: flags.max_members,
            user_chats: flags.max_user_chats,
            listed: flags.max_listed,
            storage: flags.max_storage,
            session_storage: Some(flags.max_session_storage),
        },
        reload_port: leptos.reload_port.unwrap_or(DEFAULT_RELOAD_PORT),
    };
    Ok(Action::Serve(Box::new(settings), log))
}

/// Names the source of an invalid value: clap only knows it by its flag.
fn explain(
    error: clap::Error,
    command: &clap::Command,
    args: &[OsString],
    file: &BTreeMap<String, toml::Value>,
) -> SettingsError {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let wanted = std::error::Error::source(&error).map(ToString::to_string);
    let (Some(flag), Some(value), Some(wanted)) =
        (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue), wanted)
    else {
        return SettingsError::Flags(error);
    };
    let long = flag.split(' ').next().unwrap_or_default().trim_start_matches('-').to_owned();
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(long.as_str()));
    let variable =
        argument.and_then(|argument| argument.get_env()).filter(|name| env::var_os(name).is_some());
    let is_flag = args.iter().any(|given| {
        let given = given.to_string_lossy();
        given.strip_prefix("--").is_some_and(|given| given.split('=').next() == Some(long.as_str()))
    });
    let name = match variable {
        _ if is_flag => format!("--{long}"),
        Some(variable) => variable.to_string_lossy().into_owned(),
        None if file.contains_key(&long) => format!("{long} in {FILE}"),
        None => "a default".to_owned(),
    };
    SettingsError::Value { name, value, wanted }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address with a port, such as 127.0.0.1:3000")
}

fn folder(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() { Err("a folder, such as ./data") } else { Ok(text.into()) }
}

fn span(text: &str) -> Result<Span, &'static str> {
    text.parse().map_err(|_| "a length of time from 1s to 365d, such as 90s, 30m or 24h")
}

fn proxies(text: &str) -> Result<TrustedProxies, &'static str> {
    text.parse().map_err(|_| "a list of IP addresses and networks, such as 127.0.0.1, 10.0.0.0/8")
}

fn rate(text: &str) -> Result<Rate, &'static str> {
    text.parse().map_err(|_| "a rate such as 5/s, 30/m, 100/h, or off")
}

fn log_filter(text: &str) -> Result<LogFilter, NoFilter> {
    text.parse()
}

fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    text.parse()
}

fn count(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|count| *count > 0).ok_or("a whole number from 1")
}

fn mebibytes(text: &str) -> Result<u64, &'static str> {
    let count = text.parse::<u64>().ok().filter(|count| *count > 0);
    count.and_then(|count| count.checked_mul(1024 * 1024)).ok_or("a whole number of MiB from 1")
}

fn few_mebibytes(text: &str) -> Result<NonZeroU32, &'static str> {
    let bytes = mebibytes(text).ok().and_then(|bytes| u32::try_from(bytes).ok());
    bytes.and_then(NonZeroU32::new).ok_or("a whole number of MiB from 1 to 4095")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_TEXT: &str = "[qchat]\ndata-dir = \"/from-file\"\n[leptos]\nsite-addr = \"127.0.0.1:1\"\n";

    fn settings(args: &[&str], file: &str) -> Result<Settings, SettingsError> {
        let args = ["qchat"].iter().chain(args).map(OsString::from).collect();
        match read(args, file, false)? {
            Action::Serve(settings, _) => Ok(*settings),
            action @ Action::EndChat { .. } => panic!("{action:?}"),
        }
    }

    #[test]
    fn flags_come_before_the_file_and_that_before_the_defaults() {
        let port = |args: &[&str], file| settings(args, file).unwrap().address.port();
        assert_eq!(port(&["--site-addr", "127.0.0.1:3"], FILE_TEXT), 3);
        assert_eq!(port(&[], FILE_TEXT), 1);
        assert_eq!(port(&[], ""), 3000);
        assert_eq!(settings(&[], FILE_TEXT).unwrap().data_dir, Path::new("/from-file"));
        assert_eq!(settings(&[], "").unwrap().data_dir, Path::new("./data"));
    }

    #[test]
    fn the_defaults_are_those_of_the_rules() {
        let set = settings(&["--chat-lifetime=90s"], "[qchat]\nuser-lifetime = \"10s\"").unwrap();
        let expected = Lifetimes { chat: Span::seconds(90), user: Span::seconds(10), ..Lifetimes::default() };
        assert_eq!((set.lifetimes, set.sweep_interval), (expected, Span::seconds(60)));
        assert_eq!(settings(&[], "").unwrap().lifetimes, Lifetimes::default());
    }

    #[test]
    fn a_wrong_value_is_named_with_where_it_is() {
        let said = |args: &[&str], file: &str| settings(args, file).unwrap_err().to_string();
        for (flag, value) in [
            ("--chat-lifetime", "soon"),
            ("--sweep-interval", "0s"),
            ("--page-rate", "often"),
            ("--max-sockets", "0"),
            ("--max-session-storage", "many"),
            ("--data-dir", ""),
            ("--site-addr", "everywhere"),
            ("--trusted-proxies", "10.0.0.0/8, all"),
            ("--log", "wran"),
        ] {
            let error = said(&[flag, value], "");
            assert!(error.starts_with(&format!("{flag} is {value:?}, which is not a")), "{error}");
        }
        let error = said(&[], "[qchat]\nuser-lifetime = 5");
        assert!(error.starts_with("user-lifetime in Leptos.toml is \"5\""), "{error}");
        for unknown in ["data-dri", "end-chat", "help"] {
            let error = said(&[], &format!("[qchat]\n{unknown} = 1"));
            assert!(error.contains("Leptos.toml") && error.contains(unknown), "{error}");
        }
    }

    #[test]
    fn a_chat_is_ended_by_a_flag() {
        let args = ["qchat", "--end-chat", "LINK", "--data-dir", "here"].map(OsString::from).into();
        let expected = Action::EndChat { data_dir: "here".into(), link: "LINK".to_owned() };
        assert_eq!(read(args, "", false).unwrap(), expected);
    }

    /// cargo-leptos reads Cargo.toml and the server reads Leptos.toml: keys in both have the same value.
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
