//! What a caller's stream id says: a stream key, plainly or in the access-control syntax (`#!::r=…,m=publish,s=…`).

use crate::PublishRequest;
use crate::session::Refusal;

/// How the structured form begins.
const STRUCTURED: &str = "#!::";
/// The same from senders that hand their URL's escapes on.
const STRUCTURED_ESCAPED: &str = "%23!::";
/// A stream key has less than 100 bytes.
const KEY_LEN_MAX: usize = 256;

/// Reads a stream id.
///
/// # Errors
/// Why it is none to publish by: the refusal, and words.
pub(super) fn read(stream_id: &[u8]) -> Result<PublishRequest, (Refusal, &'static str)> {
    let text = std::str::from_utf8(stream_id).map_err(|_| (Refusal::BadRequest, "the stream id is no UTF-8"))?;
    let text = text.trim_end_matches('\0');
    let unescaped = if text.starts_with(STRUCTURED_ESCAPED) { percent_decoded(text) } else { Some(text.to_owned()) };
    let text = unescaped.ok_or((Refusal::BadRequest, "the stream id has a broken %-escape"))?;
    let Some(fields) = text.strip_prefix(STRUCTURED) else { return request("", &text) };
    let (mut resource, mut key) = (String::new(), String::new());
    for field in fields.split(',').filter(|field| !field.is_empty()) {
        let Some((name, value)) = field.split_once('=') else {
            return Err((Refusal::BadRequest, "a part of the stream id has no `=`"));
        };
        let value = percent_decoded(value).ok_or((Refusal::BadRequest, "the stream id has a broken %-escape"))?;
        match name {
            "r" => resource = value,
            "s" => key = value,
            "m" if value == "publish" => {}
            "m" => return Err((Refusal::BadMode, "this port takes publishers only: use m=publish")),
            "t" if value == "stream" => {}
            "t" => return Err((Refusal::BadRequest, "this port takes streams only: leave t out")),
            // User, host and whatever comes: of no meaning here.
            _ => {}
        }
    }
    request(&resource, &key)
}

fn request(resource: &str, key: &str) -> Result<PublishRequest, (Refusal, &'static str)> {
    if key.is_empty() {
        return Err((Refusal::Key, "the stream id has no stream key: use streamid=KEY or #!::r=INPUT,m=publish,s=KEY"));
    }
    if key.len() > KEY_LEN_MAX {
        return Err((Refusal::Key, "the stream key is too long"));
    }
    Ok(PublishRequest { app: resource.to_owned(), key: key.to_owned() })
}

/// `None` for an escape that is cut short, of no hex digits, or no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_either_form() {
        for (text, app, key) in [
            ("KEY", "", "KEY"),
            ("#!::r=lv_1,m=publish,s=KEY", "lv_1", "KEY"),
            ("#!::s=a%2Cb%3D%25,u=me,m=publish,t=stream", "", "a,b=%"),
            ("#!::s=KEY", "", "KEY"),
            ("%23!::r%3Dlv_1%2Cm%3Dpublish%2Cs%3DKEY", "lv_1", "KEY"),
        ] {
            let request = read(text.as_bytes()).unwrap();
            assert_eq!((request.app.as_str(), request.key.as_str()), (app, key), "{text}");
        }
    }

    #[test]
    fn what_is_no_publisher_is_refused_by_its_code() {
        let refusal = |text: &[u8]| read(text).unwrap_err().0;
        assert_eq!(refusal(b""), Refusal::Key);
        assert_eq!(refusal(b"#!::r=lv_1,m=publish"), Refusal::Key);
        assert_eq!(refusal(&[b'k'; 257]), Refusal::Key);
        assert_eq!(refusal(b"#!::m=request,s=KEY"), Refusal::BadMode);
        assert_eq!(refusal(b"#!::m=bidirectional,s=KEY"), Refusal::BadMode);
        assert_eq!(refusal(b"#!::t=file,s=KEY"), Refusal::BadRequest);
        assert_eq!(refusal(b"#!::s=%4"), Refusal::BadRequest);
        assert_eq!(refusal(b"#!::nonsense"), Refusal::BadRequest);
        assert_eq!(refusal(&[0xff, 0xfe]), Refusal::BadRequest);
    }
}
