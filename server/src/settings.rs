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
    ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};
use cluster::{
    NatsSettings,
    settings::{Login, Name, Replicas, Secret, Servers, Tls, WrongServers},
};
use domain::{Lifetimes, Rules, Span, picture::PICTURES_LIMIT};
use engine::limits::{Quotas, Rate, Rates};
use serde::Deserialize;

use crate::{
    http::client::TrustedProxies,
    logging::{LogFilter, LogFormat, LogSettings, NoFilter},
    pictures::{UploadLimits, decoder::own_program},
};

/// The settings file, in the current folder.
pub const FILE: &str = "Leptos.toml";

/// The port on which `cargo leptos watch` announces new builds, unless `Leptos.toml` has another.
const DEFAULT_RELOAD_PORT: u32 = 3001;

/// The variable that has the rules, such as `1..=2`, in a program that is built for tests.
const TEST_RULES: &str = "QCHAT_TEST_RULES";

/// The largest limit of uploads, in bytes: a file is held in memory while it is decoded.
const MAX_UPLOAD_BYTES: u64 = 100 * 1024 * 1024;

/// The largest limit of pixels, in millions: no picture with longer sides is decoded.
const MAX_MEGAPIXELS: u64 = 268;

/// The longest name of a node, in bytes.
const MAX_NODE_BYTES: usize = 128;

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
    pub quotas: Quotas,
    /// Pictures.
    pub pictures: PictureLimits,
    /// The program of Qchat, which is executed again to decode a picture.
    pub program: PathBuf,
    /// The port on which `cargo leptos watch` announces new builds.
    pub reload_port: u32,
    /// The cluster that this server is a node of. `None` if it is alone.
    pub cluster: Option<ClusterSettings>,
}

/// The settings of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureLimits {
    /// Whether pictures can be uploaded. Those that are there are shown in any case.
    pub are_on: bool,
    /// The bounds of uploads.
    pub uploads: UploadLimits,
    /// The maximum number of pictures of a message.
    pub max_in_message: usize,
    /// The maximum size of all files, in bytes.
    pub max_storage: u64,
}

/// The settings of a node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// How to reach NATS, and what is asked of it. The name of the node in it is not used.
    pub nats: NatsSettings,
    /// What the node is called. `None` for the name of the machine and the port that it listens on.
    pub node: Option<String>,
    /// The interval at which one of the nodes makes a snapshot.
    pub snapshot_interval: Span,
    /// The file with the key that signs sessions. `None` for the one that the nodes share through NATS.
    pub session_key: Option<PathBuf>,
    /// The lifetimes that were set for this node. They have to be those of the log.
    pub told: ToldLifetimes,
    /// The oldest and the newest rules by which the node decides: all that this program knows, except in tests of upgrades.
    pub rules: (Rules, Rules),
}

/// Lifetimes that were set by a flag, the environment or the file. `None` for those that were not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToldLifetimes {
    /// That of a chat without members.
    pub chat: Option<Span>,
    /// That of an offline user.
    pub user: Option<Span>,
    /// That of a message.
    pub message: Option<Span>,
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
    /// Make the data folder of a node of a cluster one of a Qchat that is alone.
    LeaveCluster {
        /// The data folder.
        data_dir: PathBuf,
    },
    /// Recover the log of a cluster from what a node of it has.
    RecoverLog(Box<Settings>),
    /// Write everything that is stored to a file.
    Backup {
        /// The data folder.
        data_dir: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// Create the database of a data folder from a backup.
    Restore {
        /// The data folder.
        data_dir: PathBuf,
        /// The backup.
        file: PathBuf,
        /// Whether a database that is there is replaced.
        replaces: bool,
    },
    /// Check a data folder or a backup.
    Check {
        /// The data folder.
        data_dir: PathBuf,
        /// The backup, or another data folder. `None` for the data folder of the settings.
        path: Option<PathBuf>,
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
    /// Settings do not go together.
    #[error("{0}")]
    Together(&'static str),
    /// This program cannot be found, which has to be executed again.
    #[error("the program of Qchat cannot be found: {0}")]
    Program(io::Error),
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
    #[arg(long, global = true, env = "QCHAT_DATA_DIR", hide_env_values = true, value_name = "FOLDER", value_parser = folder, default_value = "./data")]
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
    /// Rate limit per session for loading pages; a list of more than 50 chats counts as one page for every 50, a search in a chat as 5
    #[arg(long, env = "QCHAT_PAGE_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate, default_value = "300/m")]
    page_rate: Rate,
    /// Rate limit per session for opening WebSocket connections
    #[arg(long, env = "QCHAT_CONNECT_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate, default_value = "120/m")]
    connect_rate: Rate,
    /// Rate limit per session for starting chats
    #[arg(long, env = "QCHAT_CHAT_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate, default_value = "60/m")]
    chat_rate: Rate,
    /// Rate limit per session for posting, editing, removing and restoring messages; reacting to them has the same limit,
    /// counted separately
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
    /// Whether pictures can be uploaded: on or off; those that are there are shown in any case
    #[arg(long, env = "QCHAT_PICTURES", hide_env_values = true, value_name = "ON", value_parser = switch, action = ArgAction::Set, default_value = "on")]
    pictures: bool,
    /// Rate limit per session for uploading pictures
    #[arg(long, env = "QCHAT_PICTURE_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate, default_value = "30/m")]
    picture_rate: Rate,
    /// Maximum size of an uploaded picture, in MiB
    #[arg(long, env = "QCHAT_MAX_PICTURE", hide_env_values = true, value_name = "NUMBER", value_parser = upload_mebibytes, default_value = "10")]
    max_picture: u64,
    /// Maximum number of pixels of an uploaded picture, in millions; fewer are taken where decoding needs much memory
    #[arg(long, env = "QCHAT_MAX_PICTURE_PIXELS", hide_env_values = true, value_name = "NUMBER", value_parser = millions, default_value = "50")]
    max_picture_pixels: u64,
    /// Maximum number of pictures in a message, up to 8
    #[arg(long, env = "QCHAT_MAX_PICTURES", hide_env_values = true, value_name = "NUMBER", value_parser = pictures, default_value = "8")]
    max_pictures: usize,
    /// Maximum size of all pictures as they are stored, in MiB
    #[arg(long, env = "QCHAT_MAX_PICTURE_STORAGE", hide_env_values = true, value_name = "NUMBER", value_parser = mebibytes, default_value = "1024")]
    max_picture_storage: u64,
    /// Maximum size of the pictures that a session may store within one message lifetime, in MiB
    #[arg(long, env = "QCHAT_MAX_SESSION_PICTURES", hide_env_values = true, value_name = "NUMBER", value_parser = few_mebibytes, default_value = "100")]
    max_session_pictures: NonZeroU32,
    /// Level of the log on standard error: error, warn, info, debug or trace; also for modules, such as info,engine=debug
    #[arg(long, env = "QCHAT_LOG", hide_env_values = true, value_name = "LEVEL", value_parser = log_filter, default_value = "info")]
    log: LogFilter,
    /// Format of the log: text or json
    #[arg(long, env = "QCHAT_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT", value_parser = log_format, default_value = "text")]
    log_format: LogFormat,
    /// Collector of OpenTelemetry to send traces to, such as http://127.0.0.1:4318/v1/traces
    #[arg(long, env = "QCHAT_TRACES", hide_env_values = true, value_name = "URL")]
    traces: Option<String>,
    /// Tell the server that runs on this data folder to end a chat for all its members, then exit
    #[arg(long, value_name = "LINK")]
    end_chat: Option<String>,
    /// Make the data folder of a node of a cluster one of a Qchat that is alone and goes on from what the node had, then exit;
    /// the node must not run
    #[arg(long)]
    leave_cluster: bool,
    /// Recover the log of a cluster from what this node has, if it is gone from NATS for good, then exit; the node must not run
    #[arg(long)]
    recover_log: bool,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
struct ClusterFlags {
    /// Addresses of NATS servers with JetStream, separated by commas; all Qchats with the same NATS and --nats-name are one
    /// cluster, with the same chats
    #[arg(long, env = "QCHAT_NATS_URL", hide_env_values = true, value_name = "ADDRESSES", value_parser = servers)]
    nats_url: Option<Servers>,
    /// File with the credentials for NATS (a JWT and the seed of an NKey)
    #[arg(long, env = "QCHAT_NATS_CREDENTIALS", hide_env_values = true, value_name = "FILE", value_parser = file)]
    nats_credentials: Option<PathBuf>,
    /// User for NATS; --nats-password has to be set as well
    #[arg(long, env = "QCHAT_NATS_USER", hide_env_values = true, value_name = "USER")]
    nats_user: Option<String>,
    /// Password for NATS; better set in the environment, since flags are seen in the list of processes
    #[arg(long, env = "QCHAT_NATS_PASSWORD", hide_env_values = true, value_name = "PASSWORD", value_parser = secret)]
    nats_password: Option<Secret>,
    /// Token for NATS; better set in the environment, too
    #[arg(long, env = "QCHAT_NATS_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = secret)]
    nats_token: Option<Secret>,
    /// Refuse connections to NATS without TLS; it is used anyway where a server asks for it or its address begins with tls://
    #[arg(long, env = "QCHAT_NATS_TLS", hide_env_values = true)]
    nats_tls: bool,
    /// File with the certificates of the authorities to trust for NATS [default: those of the system]
    #[arg(long, env = "QCHAT_NATS_CA", hide_env_values = true, value_name = "FILE", value_parser = file)]
    nats_ca: Option<PathBuf>,
    /// File with a certificate of this node, for NATS servers that ask for one; --nats-key has to be set as well
    #[arg(long, env = "QCHAT_NATS_CERTIFICATE", hide_env_values = true, value_name = "FILE", value_parser = file)]
    nats_certificate: Option<PathBuf>,
    /// File with the key of that certificate
    #[arg(long, env = "QCHAT_NATS_KEY", hide_env_values = true, value_name = "FILE", value_parser = file)]
    nats_key: Option<PathBuf>,
    /// Beginning of the names of everything in NATS: clusters with different names have nothing in common
    #[arg(long, env = "QCHAT_NATS_NAME", hide_env_values = true, value_name = "NAME", value_parser = name, default_value = "qchat")]
    nats_name: Name,
    /// Number of NATS servers that keep each message: 1, 3 or 5 [default: 3 if the servers are a cluster, 1 if not]
    #[arg(long, env = "QCHAT_NATS_REPLICAS", hide_env_values = true, value_name = "NUMBER", value_parser = replicas)]
    nats_replicas: Option<Replicas>,
    /// Maximum size of the log in NATS, in MiB; each NATS server reserves it [default: 4096, or 1024 or 256 where they have no
    /// room for that]
    #[arg(long, env = "QCHAT_NATS_MAX_LOG", hide_env_values = true, value_name = "NUMBER", value_parser = mebibytes)]
    nats_max_log: Option<u64>,
    /// Use no other NATS servers than those of --nats-url, even if these tell of more
    #[arg(long, env = "QCHAT_NATS_ONLY", hide_env_values = true)]
    nats_only: bool,
    /// Name of this node, which no other node may have [default: the name of the machine, and the port]
    #[arg(long, env = "QCHAT_NODE", hide_env_values = true, value_name = "NAME", value_parser = node)]
    node: Option<String>,
    /// How often one of the nodes makes a snapshot, from which others start; removed texts are gone from NATS after three
    #[arg(long, env = "QCHAT_SNAPSHOT_INTERVAL", hide_env_values = true, value_name = "TIME", value_parser = span, default_value = "15m")]
    snapshot_interval: Span,
    /// File with the key that signs sessions, the same for all nodes [default: one that they share through NATS]
    #[arg(long, env = "QCHAT_SESSION_KEY", hide_env_values = true, value_name = "FILE", value_parser = file)]
    session_key: Option<PathBuf>,
}

impl ClusterFlags {
    /// Returns the settings of a node. `None` if there is no cluster.
    fn settings(
        self,
        told: ToldLifetimes,
        rules: (Rules, Rules),
    ) -> Result<Option<ClusterSettings>, SettingsError> {
        let Some(servers) = self.nats_url else { return Ok(None) };
        let login = match (self.nats_credentials, self.nats_user, self.nats_password, self.nats_token) {
            (None, None, None, None) => None,
            (Some(credentials), None, None, None) => Some(Login::Credentials(credentials)),
            (None, Some(user), Some(password), None) => Some(Login::Password { user, password }),
            (None, None, None, Some(token)) => Some(Login::Token(token)),
            (None, Some(_), None, None) | (None, None, Some(_), None) => {
                return Err(SettingsError::Together("--nats-user and --nats-password have to be set both"));
            }
            _ => {
                return Err(SettingsError::Together(
                    "only one of --nats-credentials, --nats-token, and --nats-user with --nats-password can be set",
                ));
            }
        };
        let login = match (login, servers.login()) {
            (Some(_), Some(_)) => {
                return Err(SettingsError::Together(
                    "--nats-url has a user, password or token in it, and there is another login beside it",
                ));
            }
            (login, in_address) => login.or_else(|| in_address.cloned()),
        };
        let identity = match (self.nats_certificate, self.nats_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => {
                return Err(SettingsError::Together("--nats-certificate and --nats-key have to be set both"));
            }
        };
        let nats = NatsSettings {
            discover: !self.nats_only,
            login,
            tls: Tls { required: self.nats_tls, authorities: self.nats_ca, identity },
            name: self.nats_name,
            replicas: self.nats_replicas,
            max_log_bytes: self.nats_max_log,
            ..NatsSettings::of(servers)
        };
        Ok(Some(ClusterSettings {
            nats,
            node: self.node,
            snapshot_interval: self.snapshot_interval,
            session_key: self.session_key,
            told,
            rules,
        }))
    }
}

/// What is done instead of running a server.
#[derive(Debug, Subcommand)]
enum Task {
    /// Write everything that is stored to a file, whether the server runs or not
    ///
    /// The file is complete and on the disk before it gets its name, and only its owner can read it. It holds the texts of
    /// messages, and no session key. An earlier backup of that name is replaced.
    Backup {
        /// The file to be written
        file: PathBuf,
    },
    /// Create the database of a data folder from a backup
    ///
    /// The server that is to use it must not run. What has expired since the backup was made is not shown, and is deleted
    /// soon after the start.
    Restore {
        /// The backup
        file: PathBuf,
        /// Delete the database that the data folder has, and put the backup in its place
        #[arg(long)]
        replace: bool,
    },
    /// Check all pages and records of a data folder, or of a backup, and change nothing
    ///
    /// If the server of the data folder runs, it checks its records, and its pages remain unchecked.
    Check {
        /// A backup, or a data folder [default: the data folder of the settings]
        path: Option<PathBuf>,
    },
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
            toml::Value::Boolean(is_set) => is_set.to_string(),
            other => other.type_str().to_owned(),
        };
        command = command.mut_arg(id, |argument| argument.default_value(value));
    }
    if !with_environment {
        command = command.mut_args(|argument| argument.env(None::<&str>));
    }
    let matches = command.clone().try_get_matches_from(&args);
    let parsed = matches.and_then(|matches| Flags::from_arg_matches(&matches).map(|flags| (flags, matches)));
    let (flags, matches) = parsed.map_err(|error| explain(error, &command, &args, &qchat))?;
    if let Some(link) = flags.end_chat {
        return Ok(Action::EndChat { data_dir: flags.data_dir, link });
    }
    let data_dir = flags.data_dir.clone();
    let log = LogSettings { filter: flags.log, format: flags.log_format, traces: flags.traces };
    if flags.leave_cluster {
        return Ok(Action::LeaveCluster { data_dir });
    }
    match flags.task {
        Some(Task::Backup { file }) => return Ok(Action::Backup { data_dir, file }),
        Some(Task::Restore { file, replace: replaces }) => {
            return Ok(Action::Restore { data_dir, file, replaces });
        }
        Some(Task::Check { path }) => return Ok(Action::Check { data_dir, path }),
        None => {}
    }
    let told = |setting: &str, value| is_told(setting, &matches, &qchat).then_some(value);
    let told = ToldLifetimes {
        chat: told("chat-lifetime", flags.chat_lifetime),
        user: told("user-lifetime", flags.user_lifetime),
        message: told("message-lifetime", flags.message_lifetime),
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
            picture: flags.picture_rate,
        },
        quotas: Quotas {
            sockets: flags.max_sockets,
            session_sockets: flags.max_session_sockets,
            members: flags.max_members,
            user_chats: flags.max_user_chats,
            listed: flags.max_listed,
            storage: flags.max_storage,
            session_storage: Some(flags.max_session_storage),
            session_pictures: Some(flags.max_session_pictures),
        },
        pictures: PictureLimits {
            are_on: flags.pictures,
            uploads: UploadLimits { max_bytes: flags.max_picture, max_pixels: flags.max_picture_pixels },
            max_in_message: flags.max_pictures,
            max_storage: flags.max_picture_storage,
        },
        program: own_program().map_err(SettingsError::Program)?,
        reload_port: leptos.reload_port.unwrap_or(DEFAULT_RELOAD_PORT),
        cluster: flags.cluster.settings(told, rules(with_environment))?,
    };
    match (flags.recover_log, &settings.cluster) {
        (true, None) => Err(SettingsError::Together("--recover-log needs --nats-url as well")),
        (true, Some(_)) => Ok(Action::RecoverLog(Box::new(settings))),
        (false, _) => Ok(Action::Serve(Box::new(settings), log)),
    }
}

/// Returns the oldest and the newest rules by which this program decides. Tests of upgrades have it pretend to be another
/// version.
fn rules(with_environment: bool) -> (Rules, Rules) {
    let told = (with_environment && cfg!(debug_assertions)).then(|| env::var(TEST_RULES).ok()).flatten();
    let told = told.and_then(|told| {
        let (oldest, newest) = told.split_once("..=")?;
        Some((Rules(oldest.parse().ok()?), Rules(newest.parse().ok()?)))
    });
    told.unwrap_or((Rules::OLDEST, Rules::NEWEST))
}

/// Returns whether a setting was set, even if to its default.
fn is_told(setting: &str, matches: &ArgMatches, file: &BTreeMap<String, toml::Value>) -> bool {
    // The values of the file are defaults to clap.
    let source = matches.value_source(&setting.replace('-', "_"));
    source.is_some_and(|source| source != ValueSource::DefaultValue) || file.contains_key(setting)
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
    // An address of NATS may have a password in it.
    let value = if long == "nats-url" && value.contains('@') { "...".to_owned() } else { value };
    SettingsError::Value { name, value, wanted }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address with a port, such as 127.0.0.1:3000")
}

fn folder(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() { Err("a folder, such as ./data") } else { Ok(text.into()) }
}

fn file(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() { Err("a file") } else { Ok(text.into()) }
}

fn servers(text: &str) -> Result<Servers, &'static str> {
    text.parse().map_err(|wrong| match wrong {
        WrongServers::None | WrongServers::NoAddress(_) => {
            "a list of addresses of NATS servers, such as nats://10.0.0.1:4222, tls://nats.example.org"
        }
        WrongServers::Login => "an address whose user, password or token is percent-encoded",
        WrongServers::Logins => "a list of addresses with the same user, password or token, or with none",
    })
}

fn secret(text: &str) -> Result<Secret, &'static str> {
    if text.is_empty() { Err("at least one character") } else { Ok(text.to_owned().into()) }
}

fn name(text: &str) -> Result<Name, &'static str> {
    text.parse().map_err(|_| "a name of 1 to 64 letters, digits, hyphens and underscores")
}

fn replicas(text: &str) -> Result<Replicas, &'static str> {
    text.parse().map_err(|_| "a number of servers, which is 1, 3 or 5")
}

fn node(text: &str) -> Result<String, &'static str> {
    let is_name = (1..=MAX_NODE_BYTES).contains(&text.len()) && !text.contains(char::is_control);
    if is_name { Ok(text.to_owned()) } else { Err("a name of 1 to 128 bytes") }
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

fn upload_mebibytes(text: &str) -> Result<u64, &'static str> {
    let bytes = mebibytes(text).ok().filter(|bytes| *bytes <= MAX_UPLOAD_BYTES);
    bytes.ok_or("a whole number of MiB from 1 to 100")
}

fn millions(text: &str) -> Result<u64, &'static str> {
    let count = text.parse::<u64>().ok().filter(|count| (1..=MAX_MEGAPIXELS).contains(count));
    count.map(|count| count * 1_000_000).ok_or("a whole number of millions from 1 to 268")
}

fn pictures(text: &str) -> Result<usize, &'static str> {
    let count = count(text).ok().filter(|count| *count <= PICTURES_LIMIT);
    count.ok_or("a whole number from 1 to 8")
}

fn switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("a switch, which is on or off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_TEXT: &str = "[qchat]\ndata-dir = \"/from-file\"\n[leptos]\nsite-addr = \"127.0.0.1:1\"\n";

    fn settings(args: &[&str], file: &str) -> Result<Settings, SettingsError> {
        let args = ["qchat"].iter().chain(args).map(OsString::from).collect();
        match read(args, file, false)? {
            Action::Serve(settings, _) => Ok(*settings),
            action => panic!("{action:?}"),
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
            ("--pictures", "perhaps"),
            ("--max-picture", "101"),
            ("--max-picture-pixels", "0"),
            ("--max-pictures", "9"),
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
        let args = ["qchat", "--leave-cluster", "--data-dir", "here"].map(OsString::from).into();
        assert_eq!(read(args, "", false).unwrap(), Action::LeaveCluster { data_dir: "here".into() });
    }

    #[test]
    fn backups_are_commands_and_the_data_folder_may_come_before_or_after_them() {
        let action = |args: &[&str], file: &str| {
            read(["qchat"].iter().chain(args).map(OsString::from).collect(), file, false).unwrap()
        };
        let data_dir = || PathBuf::from("here");
        let backup = Action::Backup { data_dir: data_dir(), file: "f".into() };
        assert_eq!(action(&["--data-dir", "here", "backup", "f"], FILE_TEXT), backup);
        assert_eq!(action(&["backup", "f", "--data-dir", "here"], FILE_TEXT), backup);
        let of_file = Action::Backup { data_dir: "/from-file".into(), file: "f".into() };
        assert_eq!(action(&["backup", "f"], FILE_TEXT), of_file);
        for (flags, replaces) in [(&["restore", "f"][..], false), (&["restore", "--replace", "f"], true)] {
            let restore = Action::Restore { data_dir: "./data".into(), file: "f".into(), replaces };
            assert_eq!(action(flags, ""), restore);
        }
        for (flags, path) in [(&["check"][..], None), (&["check", "f"], Some("f".into()))] {
            assert_eq!(action(flags, ""), Action::Check { data_dir: "./data".into(), path });
        }
        for wrong in [&["backup"][..], &["restore"], &["check", "f", "g"], &["backup", "f", "--replace"]] {
            let args = ["qchat"].iter().chain(wrong).map(OsString::from).collect();
            assert!(matches!(read(args, "", false), Err(SettingsError::Flags(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_cluster_is_set_by_its_addresses_and_nothing_else_is_needed() {
        let cluster = |args: &[&str], file: &str| settings(args, file).unwrap().cluster;
        assert_eq!(cluster(&["--nats-user", "a", "--nats-replicas", "5"], ""), None);
        let node = cluster(&["--nats-url", "nats://a,tls://b:1"], "").unwrap();
        assert_eq!(node.nats, NatsSettings::of("nats://a,tls://b:1".parse().unwrap()));
        assert_eq!((node.node, node.snapshot_interval), (None, Span::seconds(900)));
        let file = "[qchat]\nnats-url = \"a\"\nnats-tls = true\nnats-name = \"tea\"\nnats-replicas = 1\nnode = \"n1\"";
        let node = cluster(&["--nats-user", "ana", "--nats-password", "hunter2"], file).unwrap();
        assert!(node.nats.tls.required && node.nats.discover && node.nats.replicas == Some(Replicas::ONE));
        assert_eq!((node.nats.name.stream().as_str(), node.node.as_deref()), ("tea_log", Some("n1")));
        assert!(matches!(&node.nats.login, Some(Login::Password { user, .. }) if user == "ana"));
        assert!(!format!("{node:?}").contains("hunter2"), "{node:?}");
    }

    #[test]
    fn a_log_is_recovered_by_a_flag_of_a_node() {
        let action =
            |args: &[&str]| read(["qchat"].iter().chain(args).map(OsString::from).collect(), "", false);
        let done = action(&["--recover-log", "--nats-url", "a"]).unwrap();
        assert!(matches!(done, Action::RecoverLog(settings) if settings.cluster.is_some()));
        let refused = action(&["--recover-log"]).unwrap_err();
        assert_eq!(refused.to_string(), "--recover-log needs --nats-url as well");
    }

    #[test]
    fn a_node_knows_which_lifetimes_it_was_told() {
        let told = |args: &[&str], file: &str| {
            settings(&[&["--nats-url", "a"][..], args].concat(), file).unwrap().cluster.unwrap().told
        };
        assert_eq!(told(&["--page-rate", "off"], ""), ToldLifetimes::default());
        let expected = ToldLifetimes { chat: Some(Span::seconds(1_800)), ..ToldLifetimes::default() };
        assert_eq!(told(&["--chat-lifetime", "30m"], ""), expected, "though it is the default");
        let expected = ToldLifetimes { user: Some(Span::seconds(9)), ..ToldLifetimes::default() };
        assert_eq!(told(&[], "[qchat]\nuser-lifetime = \"9s\""), expected);
    }

    #[test]
    fn settings_of_a_cluster_that_cannot_be_used_are_named_and_no_secret_is_shown() {
        let said = |args: &[&str]| {
            let error = settings(&[&["--nats-url", "a"][..], args].concat(), "").unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
            error
        };
        for (flag, value) in [
            ("--nats-name", "a.b"),
            ("--nats-replicas", "2"),
            ("--nats-max-log", "0"),
            ("--nats-token", ""),
            ("--node", ""),
            ("--snapshot-interval", "often"),
        ] {
            let error = said(&[flag, value]);
            assert!(error.starts_with(&format!("{flag} is {value:?}, which is not a")), "{error}");
        }
        for alone in [
            &["--nats-user", "ana"][..],
            &["--nats-password", "hunter2"],
            &["--nats-certificate", "c"],
            &["--nats-key", "k"],
        ] {
            assert!(said(alone).ends_with("have to be set both"));
        }
        let two = ["--nats-token", "hunter2", "--nats-credentials", "c"];
        assert!(said(&two).starts_with("only one of --nats-credentials, --nats-token, and"));
        let both = ["--nats-token", "hunter2", "--nats-user", "u", "--nats-password", "hunter2"];
        assert!(said(&both).starts_with("only one of"));
        let inside = settings(&["--nats-url", "nats://ana:hunter2@host"], "").unwrap().cluster.unwrap();
        assert!(matches!(inside.nats.login, Some(Login::Password { .. })));
        for more in ["--nats-token", "--nats-credentials"] {
            let twice = settings(&["--nats-url", "nats://ana:hunter2@host", more, "t"], "").unwrap_err();
            assert!(twice.to_string().contains("another login"), "{twice}");
        }
        let wrong = settings(&["--nats-url", "nats://ana:hunter2@host:x"], "").unwrap_err().to_string();
        assert!(!wrong.contains("hunter2") && !wrong.contains("ana"), "{wrong}");
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
