//! Reading the file, then the environment, then the checks that span several keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Origin};
use crate::keys::{Config, KEYS, KeyInfo, SECTIONS};
use crate::value::Profile;

/// Where each key that is not at its default came from, so that a later check can name the line.
type Origins = HashMap<&'static str, Origin>;

impl Config {
    /// The file (when one is named), then the environment, then every check.
    ///
    /// `env` is normally `std::env::vars()`. Variables that name no key are left alone: `STREAMS_DATA` and its like
    /// belong to the command.
    pub fn load(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut origins = Origins::new();
        if let Some(file) = file {
            let text =
                std::fs::read_to_string(file).map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
            apply_file(&mut config, &mut origins, &text, file)?;
        }
        apply_env(&mut config, &mut origins, env)?;
        config.check_with(&origins)?;
        Ok(config)
    }

    /// The text of a file, which `file` names in errors; no environment.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut origins = Origins::new();
        apply_file(&mut config, &mut origins, text, file)?;
        config.check_with(&origins)?;
        Ok(config)
    }

    /// The checks that span several keys, for a caller that has just put command-line flags over the loaded values.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_with(&Origins::new())
    }

    fn check_with(&self, origins: &Origins) -> Result<(), ConfigError> {
        let conflict = |key: &'static str, reason: String| ConfigError::Conflict {
            origin: origins.get(key).cloned().unwrap_or(Origin::Flags),
            key,
            reason,
        };
        if self.relay.open && !self.server.host.is_loopback() {
            let reason = format!(
                "an open relay must not leave the machine: set server.host to a loopback address (it is {}) or relay.open to false",
                self.server.host
            );
            return Err(conflict("relay.open", reason));
        }
        if self.relay.open && self.server.profile != Profile::Dev {
            let reason = format!(
                "it is for interop tests: set server.profile to \"dev\" (it is \"{}\") or relay.open to false",
                self.server.profile
            );
            return Err(conflict("relay.open", reason));
        }
        if !self.server.public_address.is_empty() && self.public_address().is_none() {
            let reason = format!("{} is no IP address", self.server.public_address);
            return Err(conflict("server.public_address", reason));
        }
        let tcp = [
            ("ports.rtmp", self.ports.rtmp),
            ("ports.edge", self.edge_port()),
            ("ports.https", self.ports.https),
            ("ports.http_dev", self.ports.http_dev),
        ];
        for (i, (key, port)) in tcp.iter().enumerate() {
            if let Some((other, _)) = tcp.iter().take(i).find(|(_, taken)| taken == port) {
                return Err(conflict(key, format!("port {port} is already that of {other}: give each its own")));
            }
        }
        if self.ports.srt == self.ports.quic {
            let reason = format!("port {} is already that of ports.quic: give each its own", self.ports.srt);
            return Err(conflict("ports.srt", reason));
        }
        Ok(())
    }

    /// The data directory: `server.data`, or the user's XDG data folder + `/streams`.
    ///
    /// `env` looks a variable up, normally `|name| std::env::var_os(name)`. `None` when there is neither a home folder
    /// nor `XDG_DATA_HOME`: the caller must ask for `--data`.
    pub fn data_dir(&self, env: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
        if !self.server.data.as_os_str().is_empty() {
            return Some(self.server.data.clone());
        }
        let folder = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")))?;
        Some(base.join("streams"))
    }

    /// TCP port of the shards' HTTPS: `ports.edge`, or the number of `ports.quic`.
    pub fn edge_port(&self) -> u16 {
        if self.ports.edge == 0 { self.ports.quic } else { self.ports.edge }
    }

    /// `server.public_address`, where there is one.
    pub fn public_address(&self) -> Option<std::net::IpAddr> {
        self.server.public_address.parse().ok()
    }

    /// The number of shards: `engine.shards`, or one a core and two at least, so that a viewer's shard and an
    /// encoder's shard may differ on every machine.
    pub fn shards(&self) -> usize {
        match self.engine.shards {
            0 => std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 64),
            shards => shards,
        }
    }
}

fn apply_file(config: &mut Config, origins: &mut Origins, text: &str, file: &Path) -> Result<(), ConfigError> {
    let at = |offset: usize| Origin::File { file: file.to_owned(), line: line_of(text, offset) };
    let document = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        origin: at(error.span().map_or(0, |span| span.start)),
        reason: error.message().trim().to_owned(),
    })?;
    for (section, body) in document.get_ref() {
        let name: &str = section.get_ref();
        let origin = at(section.span().start);
        if !SECTIONS.iter().any(|known| known.name == name) {
            let nearest = nearest(name, SECTIONS.iter().map(|known| known.name)).unwrap_or("server");
            return Err(ConfigError::UnknownSection { origin, section: name.to_owned(), nearest });
        }
        let DeValue::Table(keys) = body.get_ref() else {
            return Err(ConfigError::Syntax { origin, reason: format!("`{name}` is a section: write `[{name}]`") });
        };
        for (key, value) in keys {
            let (key_name, origin): (&str, _) = (key.get_ref(), at(key.span().start));
            apply_key(config, origins, (name, key_name), value, (text, origin))?;
        }
    }
    Ok(())
}

fn apply_key(
    config: &mut Config,
    origins: &mut Origins,
    (section, name): (&str, &str),
    value: &Spanned<DeValue<'_>>,
    (text, origin): (&str, Origin),
) -> Result<(), ConfigError> {
    let Some(key) = KEYS.iter().find(|key| key.section == section && key.key == name) else {
        let wanted = format!("{section}.{name}");
        let in_section = KEYS.iter().filter(|key| key.section == section).map(|key| key.path);
        let nearest = nearest_path(&wanted, in_section);
        return Err(ConfigError::UnknownKey { origin, key: wanted, nearest });
    };
    if !(key.set_toml)(config, value.get_ref()) {
        let written = text.get(value.span()).unwrap_or_default().trim().to_owned();
        return Err(refused(key, origin, written));
    }
    origins.insert(key.path, origin);
    Ok(())
}

fn apply_env(
    config: &mut Config,
    origins: &mut Origins,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<(), ConfigError> {
    let by_variable: HashMap<String, &KeyInfo> = KEYS.iter().map(|key| (variable(key), key)).collect();
    for (name, text) in env {
        let Some(key) = by_variable.get(&name) else { continue };
        let origin = Origin::Env { variable: name };
        if !(key.set_text)(config, &text) {
            return Err(refused(key, origin, format!("\"{text}\"")));
        }
        origins.insert(key.path, origin);
    }
    Ok(())
}

/// `ports.http_dev` -> `STREAMS_PORTS_HTTP_DEV`.
fn variable(key: &KeyInfo) -> String {
    format!("STREAMS_{}_{}", key.section, key.key).to_uppercase()
}

fn refused(key: &KeyInfo, origin: Origin, value: String) -> ConfigError {
    ConfigError::BadValue { origin, key: key.path, value, expected: (key.expected)() }
}

/// The line, from 1, of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The nearest key: one of the same section when it is close, else of any section (a key in the wrong section is the
/// usual mistake).
fn nearest_path(wanted: &str, in_section: impl Iterator<Item = &'static str>) -> String {
    let name = |path: &str| path.split_once('.').map_or(String::new(), |(_, name)| name.to_owned());
    let wanted_name = name(wanted);
    if let Some(moved) = KEYS.iter().find(|key| key.key == wanted_name) {
        return moved.path.to_owned();
    }
    let same = in_section.min_by_key(|path| distance(&wanted_name, &name(path)));
    let any = KEYS.iter().map(|key| key.path).min_by_key(|path| distance(&wanted_name, &name(path)));
    let close = |path: &&str| distance(&wanted_name, &name(path)) <= wanted_name.len() / 2;
    same.filter(close).or(any).unwrap_or("server.host").to_owned()
}

fn nearest(wanted: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    known.min_by_key(|name| distance(wanted, name))
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for (j, (to, window)) in b.iter().zip(row.windows(2)).enumerate() {
            let [diagonal, above] = window else { continue };
            let left = next.get(j).copied().unwrap_or(usize::MAX - 1);
            next.push((diagonal + usize::from(from != *to)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
