//! The engine's own secrets, kept in the data directory so that a restarted engine recognises its connection ids.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};

use crate::EngineError;

const FILE_LEN: usize = 1 + 16 + 32;

/// Keys of the connection id scheme (see [`crate::quic::cid`]).
#[derive(Clone)]
pub struct EngineKeys {
    /// Key epoch, 0..=7, in the first bits of every connection id.
    pub epoch: u8,
    /// Keys the id's mask and MAC.
    pub cid: [u8; 16],
    /// Keys the stateless reset tokens.
    pub reset: [u8; 32],
}

impl EngineKeys {
    /// Reads `DIR/engine/keys`, or makes it (mode 0600) on the first start.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, EngineError> {
        let folder = data_dir.join("engine");
        fs::create_dir_all(&folder).map_err(|source| EngineError::file("make the folder", &folder, source))?;
        let path = folder.join("keys");
        match fs::read(&path) {
            Ok(bytes) => {
                Self::parse(&bytes).ok_or_else(|| EngineError::BadKeyFile { path: path.clone(), len: bytes.len() })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::create(&path),
            Err(source) => Err(EngineError::file("read", &path, source)),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FILE_LEN] = bytes.try_into().ok()?;
        let (epoch, rest) = bytes.split_first()?;
        let (cid, reset) = rest.split_first_chunk::<16>()?;
        Some(Self { epoch: *epoch & 7, cid: *cid, reset: reset.try_into().ok()? })
    }

    fn create(path: &Path) -> Result<Self, EngineError> {
        let mut bytes = [0u8; FILE_LEN];
        SystemRandom::new().fill(&mut bytes).map_err(|_| EngineError::Keys("the system's random source"))?;
        let write = || -> std::io::Result<()> {
            let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        write().map_err(|source| EngineError::file("write", path, source))?;
        Self::parse(&bytes).ok_or(EngineError::Keys("the new key file"))
    }
}
