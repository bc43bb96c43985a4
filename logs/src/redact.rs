//! Takes secrets out of log lines. Every line of every log passes here, whatever wrote it.
//!
//! Hidden: values of `tok=`, `sk=`, `token=`, `key=`; what follows `Bearer`; our own secrets by their prefix (`sk_…`,
//! `ak_…`); everything that looks like a JWT (`eyJ….….…`), wherever it stands; PEM private keys.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Prefix of a stream key.
pub const STREAM_KEY_PREFIX: &str = "sk_";
/// Prefix of an API key.
pub const API_KEY_PREFIX: &str = "ak_";
const HIDDEN: &str = "[redacted]";
/// Names whose value, after `=` or `:`, is a secret.
const SECRET_NAMES: [&str; 8] = ["tok", "sk", "token", "key", "stream_key", "api_key", "srt_passphrase", "passphrase"];
/// A word of our own prefix and at least so long is a secret; shorter ones are prose about prefixes.
const SECRET_LEN_MIN: usize = 20;

/// The text without its secrets.
pub fn redact(text: &str) -> Cow<'_, str> {
    if text.contains("PRIVATE KEY") {
        return Cow::Owned(format!("{HIDDEN}: a line that held a private key\n"));
    }
    let mut out = String::new();
    let (mut copied, mut context) = (0, Context::default());
    for word in words(text) {
        let secret = context.names_a_secret(text, &word) || is_secret(word.text);
        if secret {
            out.push_str(text.get(copied..word.start).unwrap_or_default());
            out.push_str(HIDDEN);
            copied = word.start + word.text.len();
        }
        context = Context { name: word.text, end: word.start + word.text.len() };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

struct Word<'a> {
    start: usize,
    text: &'a str,
}

/// The word before, and where it ended: `tok` `=` `…`, `"key": "…"`, `Bearer …`.
#[derive(Default)]
struct Context<'a> {
    name: &'a str,
    end: usize,
}

impl Context<'_> {
    fn names_a_secret(&self, text: &str, word: &Word<'_>) -> bool {
        let between = text.get(self.end..word.start).unwrap_or_default();
        let assigned = between.contains(['=', ':']) && between.chars().all(|c| "=:\"\\' ".contains(c));
        let lower = self.name.to_ascii_lowercase();
        (assigned && SECRET_NAMES.contains(&lower.as_str()))
            || (lower == "bearer" && between.trim_matches(' ').is_empty())
    }
}

/// Runs of the characters that keys and tokens are made of.
fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let base = text.as_ptr() as usize;
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))
        .filter(|word| !word.is_empty())
        .map(move |word| Word { start: word.as_ptr() as usize - base, text: word })
}

fn is_secret(word: &str) -> bool {
    let ours = [STREAM_KEY_PREFIX, API_KEY_PREFIX].iter().any(|prefix| word.starts_with(prefix));
    let jwt = word.starts_with("eyJ") && word.contains('.');
    (ours && word.len() >= SECRET_LEN_MIN) || jwt
}

/// A log destination that redacts each line on its way. `fmt` hands over one whole event a `write`.
pub struct Redacting<M>(
    /// Where the lines go.
    pub M,
);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Redacting<M> {
    type Writer = RedactingWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactingWriter(self.0.make_writer())
    }
}

/// The writer of one event.
pub struct RedactingWriter<W>(W);

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(redact(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn secrets_vanish_wherever_they_stand() {
        let jwt = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJsdl8xIn0.c2lnbmF0dXJl";
        let cases = [
            format!("GET /watch/lv_1?tok={jwt} 200"),
            format!("GET /hls/lv_1/{jwt}/main.m3u8"),
            format!("Authorization: Bearer {jwt}"),
            "authorization: bearer opaque-thing".to_owned(),
            "publish ?sk=hunter2&x=1".to_owned(),
            "{\"stream_key\": \"hunter2\"}".to_owned(),
            "{\\\"stream_key\\\":\\\"hunter2\\\"}".to_owned(),
            "rtmp name sk_abcdefghijklmnopqrstuvwxyz".to_owned(),
            "key ak_abcdefghijklmnopqrstuvwxyz".to_owned(),
            "api_key=hunter2".to_owned(),
            "-----BEGIN PRIVATE KEY-----\nhunter2".to_owned(),
        ];
        for case in cases {
            let text = redact(&case);
            assert!(text.contains(HIDDEN), "{text}");
            for secret in [jwt, "hunter2", "opaque-thing", "abcdefghijklmnopqrstuvwxyz"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }

    #[test]
    fn what_is_logged_is_redacted_on_its_way() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Redacting(Sink(log.clone()))).finish();
        let secret = format!("{STREAM_KEY_PREFIX}abcdefghijklmnopqrstuvwxyz");
        let token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJsdl8xIn0.c2lnbmF0dXJl";
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(secret, url = format!("/watch/lv_1?tok={token}"), "encoder says {secret}");
            tracing::error!(error = %io::Error::other(format!("bad token {token}")), "failed");
        });
        let text = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        assert!(text.contains("encoder says") && text.contains("failed"), "{text}");
        assert!(!text.contains(&secret) && !text.contains(token), "{text}");
    }

    /// A log in memory.
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            Self(self.0.clone())
        }
    }

    impl Write for Sink {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "GET /v1/live-inputs/lv_01ABC 200 in 3 ms",
            "key files have the prefix sk_ or ak_",
            "kid=key_01AB",
            "größe 3",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
