//! The URL of something to watch (draft-18 §3.1.1).

use url::Url;

use crate::PlayError;

/// Port of a URL that names none.
const PORT_DEFAULT: u16 = 4433;

/// A `moqt:` URL, taken apart for the connection and for SETUP. Holds the token, so it prints without it.
#[derive(Clone, PartialEq, Eq)]
pub struct PlaybackUrl {
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// What AUTHORITY carries.
    pub authority: String,
    /// What PATH carries: path and query.
    pub path: String,
}

impl PlaybackUrl {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`crate::PlayErrorKind::Usage`]: not a `moqt:` URL with a host and a path `/playback/<id>`.
    pub fn parse(text: &str) -> Result<Self, PlayError> {
        let expected = "expected moqt://HOST:PORT/playback/<id>?tok=<token>";
        let url = Url::parse(text).map_err(|error| PlayError::usage(format!("not a URL ({error}); {expected}")))?;
        if url.scheme() != "moqt" {
            return Err(PlayError::usage(format!("a URL with the scheme {}; {expected}", url.scheme())));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| PlayError::usage(format!("a URL without a host; {expected}")))?;
        let id = url.path().strip_prefix("/playback/").filter(|id| !id.is_empty());
        if id.is_none() {
            return Err(PlayError::usage(format!("a URL with the path {}; {expected}", url.path())));
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

impl std::fmt::Debug for PlaybackUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "moqt://{}{}", self.authority, self.path.split('?').next().unwrap_or_default())
    }
}
