//! Settings: flags, then the environment, then Leptos.toml, then defaults.

use std::{
    env, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Parser;
use serde::Deserialize;

/// Where the settings of a folder are kept.
pub const FILE: &str = "Leptos.toml";

const DEFAULT_ADDRESS: &str = "127.0.0.1:3000";
const DEFAULT_DATA_DIR: &str = "./data";
const DEFAULT_RELOAD_PORT: u32 = 3001;

/// What Qchat is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen. Port 0 takes a free one.
    pub address: SocketAddr,
    /// Where the database and the key are.
    pub data_dir: PathBuf,
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
        name: &'static str,
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
    after_help = "QCHAT_LOG says what is logged to the standard error, such as warn [default: info]. Flags come before the environment, that before Leptos.toml in the current folder, that before the defaults."
)]
pub struct Flags {
    /// Where to listen [env: LEPTOS_SITE_ADDR] [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    site_addr: Option<String>,
    /// Where the database and the session key are kept [env: QCHAT_DATA_DIR] [default: ./data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    qchat: QchatTable,
    leptos: LeptosTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct QchatTable {
    data_dir: Option<String>,
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
        environment: impl Fn(&'static str) -> Option<String>,
        file: &str,
    ) -> Result<Self, SettingsError> {
        let file: File =
            toml::from_str(file).map_err(|error| SettingsError::File(error.message().to_owned()))?;
        let (name, address) = first([
            ("--site-addr", flags.site_addr),
            ("LEPTOS_SITE_ADDR", environment("LEPTOS_SITE_ADDR")),
            ("site-addr in Leptos.toml", file.leptos.site_addr),
            ("the default address", Some(DEFAULT_ADDRESS.to_owned())),
        ]);
        let address = address.parse().map_err(|_| SettingsError::Value {
            name,
            value: address,
            wanted: "an IP address with a port, such as 127.0.0.1:3000",
        })?;
        let (name, data_dir) = first([
            ("--data-dir", flags.data_dir),
            ("QCHAT_DATA_DIR", environment("QCHAT_DATA_DIR")),
            ("data-dir in Leptos.toml", file.qchat.data_dir),
            ("the default data folder", Some(DEFAULT_DATA_DIR.to_owned())),
        ]);
        if data_dir.is_empty() {
            return Err(SettingsError::Value { name, value: data_dir, wanted: "a folder, such as ./data" });
        }
        let reload_port = file.leptos.reload_port.unwrap_or(DEFAULT_RELOAD_PORT);
        Ok(Self { address, data_dir: data_dir.into(), reload_port })
    }
}

fn first<const N: usize>(sources: [(&'static str, Option<String>); N]) -> (&'static str, String) {
    sources.into_iter().find_map(|(name, value)| value.map(|value| (name, value))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_TEXT: &str = "[qchat]\ndata-dir = \"/from-file\"\n[leptos]\nsite-addr = \"127.0.0.1:1\"\n";

    fn nothing(_: &'static str) -> Option<String> {
        None
    }

    #[test]
    fn flags_come_first_then_the_environment_then_the_file_then_defaults() {
        let flags = || Flags { site_addr: Some("127.0.0.1:3".into()), data_dir: None };
        let environment = |name| (name == "LEPTOS_SITE_ADDR").then(|| "127.0.0.1:2".to_owned());
        let port = |settings: Result<Settings, SettingsError>| settings.unwrap().address.port();
        assert_eq!(port(Settings::merge(flags(), environment, FILE_TEXT)), 3);
        assert_eq!(port(Settings::merge(Flags::default(), environment, FILE_TEXT)), 2);
        assert_eq!(port(Settings::merge(Flags::default(), nothing, FILE_TEXT)), 1);
        assert_eq!(port(Settings::merge(Flags::default(), nothing, "")), 3000);
        assert_eq!(Settings::merge(flags(), nothing, FILE_TEXT).unwrap().data_dir, Path::new("/from-file"));
        assert_eq!(Settings::merge(flags(), nothing, "").unwrap().data_dir, Path::new("./data"));
    }

    #[test]
    fn a_wrong_value_is_named() {
        let environment = |name| (name == "LEPTOS_SITE_ADDR").then(|| "everywhere".to_owned());
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
