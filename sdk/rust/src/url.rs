//! The URL of something to watch or to publish (draft-18 §3.1.1).

use url::Url;

use crate::ClientError;

/// Port of a URL that names none.
const PORT_DEFAULT: u16 = 4433;

/// A `moqt:` URL, taken apart for the connection and for SETUP. Holds the token, so it prints without it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionUrl {
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// What AUTHORITY carries.
    pub authority: String,
    /// What PATH carries: path and query.
    pub path: String,
}

impl SessionUrl {
    /// Takes the URL of something to watch apart.
    ///
    /// # Errors
    /// [`crate::ClientErrorKind::Usage`]: not a `moqt:` URL with a host and a path `/playback/<id>`.
    pub fn playback(text: &str) -> Result<Self, ClientError> {
        Self::parse(text, "/playback/", "moqt://HOST:PORT/playback/<id>?tok=<token>")
    }

    /// Takes the URL of an input to publish to apart.
    ///
    /// # Errors
    /// [`crate::ClientErrorKind::Usage`]: not a `moqt:` URL with a host and a path `/publish/<id>`.
    pub fn publish(text: &str) -> Result<Self, ClientError> {
        Self::parse(text, "/publish/", "moqt://HOST:PORT/publish/<input id>?sk=<stream key>")
    }

    fn parse(text: &str, folder: &str, expected: &str) -> Result<Self, ClientError> {
        let refuse = |found: String| ClientError::usage(format!("{found}; expected {expected}"));
        let url = Url::parse(text).map_err(|error| refuse(format!("not a URL ({error})")))?;
        if url.scheme() != "moqt" {
            return Err(refuse(format!("a URL with the scheme {}", url.scheme())));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| refuse("a URL without a host".into()))?;
        if url.path().strip_prefix(folder).is_none_or(str::is_empty) {
            return Err(refuse(format!("a URL with the path {}", url.path())));
        }
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(PORT_DEFAULT),
            authority,
            path,
        })
    }
}

impl std::fmt::Debug for SessionUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "moqt://{}{}", self.authority, self.path.split('?').next().unwrap_or_default())
    }
}
