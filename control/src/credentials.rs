//! `DIR/credentials.toml`: how the command on this machine reaches the API.

use serde::{Deserialize, Serialize};

use crate::datadir::{DataDir, write_private};
use crate::{Error, ids};

/// The content of the file.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// Base URL of the API, without `/v1`.
    pub api: String,
    /// An API key with scope `admin`.
    pub api_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("api", &self.api).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the file; `None` when there is none.
    pub fn read(dir: &DataDir) -> Result<Option<Self>, Error> {
        let path = dir.credentials();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { action: "read", path, source }),
        };
        let field = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(key, _)| key.trim() == name)
                .and_then(|(_, value)| serde_json::from_str::<String>(value.trim()).ok())
        };
        match (field("api"), field("api_key")) {
            (Some(api), Some(api_key)) => Ok(Some(Self { api, api_key })),
            _ => Err(Error::NoCredentials { path }),
        }
    }

    /// Writes the file, mode 0600. TOML's basic strings and JSON's agree on what a URL and a key need.
    pub fn write(&self, dir: &DataDir) -> Result<(), Error> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let text = format!(
            "# How the `streams` command reaches this installation. Keep it secret.\napi = {}\napi_key = {}\n",
            quoted(&self.api),
            quoted(&self.api_key)
        );
        write_private(&dir.credentials(), text.as_bytes())
    }

    /// The hash under which the database knows the key.
    pub fn key_sha256(&self) -> String {
        ids::sha256_hex(self.api_key.as_bytes())
    }
}
