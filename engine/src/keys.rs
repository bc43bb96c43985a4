//! The engine's own secrets, kept in the data directory so that a restarted engine recognises its connection ids.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};

use crate::EngineError;

const FILE_LEN: usize = 1 + 16 + 32 + 32;
/// What engines wrote that knew no Retry.
const FILE_LEN_WITHOUT_RETRY: usize = FILE_LEN - 32;

/// Keys of the connection id scheme (see [`crate::quic::cid`]).
#[derive(Clone)]
pub struct EngineKeys {
    /// Key epoch, 0..=7, in the first bits of every connection id.
    pub epoch: u8,
    /// Keys the id's mask and MAC.
    pub cid: [u8; 16],
    /// Keys the stateless reset tokens.
    pub reset: [u8; 32],
    /// Keys the Retry tokens (see [`crate::quic::RetryTokens`]).
    pub retry: [u8; 32],
}

impl EngineKeys {
    /// Reads `DIR/engine/keys`, or makes it (mode 0600) on the first start. One without a Retry key is given one.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, EngineError> {
        let folder = data_dir.join("engine");
        fs::create_dir_all(&folder).map_err(|source| EngineError::file("make the folder", &folder, source))?;
        let path = folder.join("keys");
        match fs::read(&path) {
            Ok(bytes) if bytes.len() == FILE_LEN_WITHOUT_RETRY => Self::create(&path, &bytes),
            Ok(bytes) => {
                Self::parse(&bytes).ok_or_else(|| EngineError::BadKeyFile { path: path.clone(), len: bytes.len() })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::create(&path, &[]),
            Err(source) => Err(EngineError::file("read", &path, source)),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FILE_LEN] = bytes.try_into().ok()?;
        let (epoch, rest) = bytes.split_first()?;
        let (cid, rest) = rest.split_first_chunk::<16>()?;
        let (reset, retry) = rest.split_first_chunk::<32>()?;
        Some(Self { epoch: *epoch & 7, cid: *cid, reset: *reset, retry: retry.try_into().ok()? })
    }

    /// Writes a file that begins with `known` and goes on at random. It has its name only once it is whole.
    fn create(path: &Path, known: &[u8]) -> Result<Self, EngineError> {
        let mut bytes = [0u8; FILE_LEN];
        SystemRandom::new().fill(&mut bytes).map_err(|_| EngineError::Keys("the system's random source"))?;
        for (byte, known) in bytes.iter_mut().zip(known) {
            *byte = *known;
        }
        let new = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            // Left by a start that was cut off; whatever else it is, it is not written through.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        write().map_err(|source| EngineError::file("write", path, source))?;
        Self::parse(&bytes).ok_or(EngineError::Keys("the new key file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_outlive_the_engine_and_a_file_without_a_retry_key_gets_one() {
        let data = std::env::temp_dir().join(format!("streams-engine-keys-{}", std::process::id()));
        let path = data.join("engine").join("keys");
        let first = EngineKeys::load_or_create(&data).expect("made");
        assert_eq!(fs::metadata(&path).expect("written").permissions().mode() & 0o777, 0o600);
        let again = EngineKeys::load_or_create(&data).expect("read");
        assert_eq!((again.cid, again.reset, again.retry), (first.cid, first.reset, first.retry));

        let bytes = fs::read(&path).expect("readable");
        fs::write(&path, &bytes[..FILE_LEN_WITHOUT_RETRY]).expect("writable");
        let grown = EngineKeys::load_or_create(&data).expect("grown");
        assert_eq!((grown.epoch, grown.cid, grown.reset), (first.epoch, first.cid, first.reset));
        assert_ne!(grown.retry, first.retry);
        assert_eq!(EngineKeys::load_or_create(&data).expect("read").retry, grown.retry);

        fs::write(&path, &bytes[..FILE_LEN - 1]).expect("writable");
        assert!(matches!(EngineKeys::load_or_create(&data), Err(EngineError::BadKeyFile { .. })));
        let _ = fs::remove_dir_all(&data);
    }
}
