//! What the HEADERS of a request ask for: a WebTransport session, or something that is refused in its own way.

use web_transport_proto::{ConnectError, ConnectRequest, Frame, VarInt};

use super::PROTOCOLS;
use super::errors::QPACK_DECOMPRESSION_FAILED;

/// What the CONNECT of an accepted session said.
pub(in crate::quic) struct Opened {
    /// `path?query`.
    pub(in crate::quic) path: String,
    /// The page that asked, from a browser.
    pub(in crate::quic) origin: Option<String>,
}

/// What a request is.
pub(super) enum Request {
    /// A session, with the MoQT draft that was chosen for it.
    Session(Opened, &'static str),
    /// Something else that is whole: answered by this status.
    Other(u16),
    /// RFC 9114 §4.1.2: the stream ends with H3_MESSAGE_ERROR.
    Malformed,
}

/// Reads the field section of a request. `Err`: an error of the connection.
pub(super) fn read(section: &[u8]) -> Result<Request, u64> {
    let decoded = match decode(section) {
        // The newest drafts renamed the token, and the library knows the old name only.
        Err(ConnectError::WrongProtocol(Some(name))) if name == NEW_PROTOCOL => match with_old_protocol(section) {
            Some(section) => decode(&section),
            None => return Ok(Request::Other(501)),
        },
        decoded => decoded,
    };
    match decoded {
        Ok(request) => Ok(session(&request)),
        Err(ConnectError::QpackError(_)) => Err(QPACK_DECOMPRESSION_FAILED),
        Err(ConnectError::FieldSectionTooLarge) => Ok(Request::Other(431)),
        Err(ConnectError::WrongMethod(Some(_))) => Ok(Request::Other(405)),
        // RFC 9220 §3.
        Err(ConnectError::WrongProtocol(Some(_))) => Ok(Request::Other(501)),
        Err(_) => Ok(Request::Malformed),
    }
}

fn session(request: &ConnectRequest) -> Request {
    let chosen = PROTOCOLS.iter().find(|ours| request.protocols.iter().any(|theirs| theirs == *ours));
    let Some(protocol) = chosen else { return Request::Other(400) };
    let path = match request.url.query() {
        Some(query) => format!("{}?{query}", request.url.path()),
        None => request.url.path().to_owned(),
    };
    let origin = request.headers.get(http::header::ORIGIN).and_then(|value| value.to_str().ok());
    Request::Session(Opened { path, origin: origin.map(str::to_owned) }, protocol)
}

/// The library decodes from a whole frame, so its head is put back.
fn decode(section: &[u8]) -> Result<ConnectRequest, ConnectError> {
    let mut wire = Vec::with_capacity(section.len() + 8);
    Frame::HEADERS.encode(&mut wire);
    VarInt::from_u32(u32::try_from(section.len()).unwrap_or(u32::MAX)).encode(&mut wire);
    wire.extend_from_slice(section);
    ConnectRequest::decode(&mut wire.as_slice())
}

/// `:protocol` since draft-ietf-webtrans-http3-15.
const NEW_PROTOCOL: &str = "webtransport-h3";
/// A field line with the old one: a literal name (RFC 9204 §4.5.6) of 9 bytes and a value of 12, none of them Huffman coded.
const OLD_PROTOCOL_LINE: &[u8] = b"\x27\x02:protocol\x0cwebtransport";
/// The name `:protocol`, plain and Huffman coded (RFC 7541 §B).
const PROTOCOL_NAMES: [&[u8]; 2] = [b":protocol", &[0xb9, 0x5d, 0x87, 0x49, 0xc8, 0x7a, 0x3f]];

/// The field section with the line `:protocol` replaced by the old one. `None`: there is no such line.
fn with_old_protocol(section: &[u8]) -> Option<Vec<u8>> {
    let mut rest = section;
    // RFC 9204 §4.5.1: Required Insert Count, then the base.
    prefixed(&mut rest, 8)?;
    prefixed(&mut rest, 7)?;
    while let Some(first) = rest.first() {
        let start = section.len().checked_sub(rest.len())?;
        match first {
            // An indexed line.
            0x80.. => drop(prefixed(&mut rest, 6)?),
            // A literal with the name of a table.
            0x40..=0x7f => {
                prefixed(&mut rest, 4)?;
                string(&mut rest, 7)?;
            }
            // A literal name.
            0x20..=0x3f => {
                let name = string(&mut rest, 3)?;
                string(&mut rest, 7)?;
                if PROTOCOL_NAMES.contains(&name) {
                    return Some([section.get(..start)?, OLD_PROTOCOL_LINE, rest].concat());
                }
            }
            // Lines of the dynamic table, which has no entries.
            _ => return None,
        }
    }
    None
}

/// An integer of RFC 7541 §5.1 in the last `bits` of the first byte and what follows.
fn prefixed(input: &mut &[u8], bits: u32) -> Option<usize> {
    let (first, mut rest) = input.split_first()?;
    let mask = (1usize << bits) - 1;
    let mut value = usize::from(*first) & mask;
    let mut shift = 0;
    let mut more = value == mask;
    while more {
        let (byte, tail) = rest.split_first()?;
        value = value.checked_add(usize::from(byte & 0x7f).checked_shl(shift).filter(|_| shift <= 14)?)?;
        (shift, more, rest) = (shift + 7, byte & 0x80 != 0, tail);
    }
    *input = rest;
    Some(value)
}

/// The bytes of a string whose length has `bits` in the first byte, as they are coded.
fn string<'a>(input: &mut &'a [u8], bits: u32) -> Option<&'a [u8]> {
    let len = prefixed(input, bits)?;
    let (string, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(string)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUFFMAN_NEW: &[u8] = &[0xf0, 0x58, 0xd3, 0x60, 0xea, 0x45, 0x67, 0xb1, 0x2b, 0x4e, 0xcf];

    fn section(lines: &[&[u8]]) -> Vec<u8> {
        // :method CONNECT and :scheme https of the static table, :authority and :path by their names there.
        let mut section = b"\0\0\xcf\xd7\x50\x09localhost\x51\x10/playback/lv_1?a".to_vec();
        lines.iter().for_each(|line| section.extend_from_slice(line));
        section.extend_from_slice(b"\x27\x0fwt-available-protocols\x09\"moqt-18\"");
        section
    }

    fn line(name: &[u8], value: &[u8], huffman: (bool, bool)) -> Vec<u8> {
        let mut line = vec![0x20 | u8::from(huffman.0) << 3 | 0x07, name.len() as u8 - 7];
        line.extend_from_slice(name);
        line.push(u8::from(huffman.1) << 7 | value.len() as u8);
        line.extend_from_slice(value);
        line
    }

    fn path_of(section: &[u8]) -> Option<String> {
        match read(section) {
            Ok(Request::Session(opened, "moqt-18")) => Some(opened.path),
            _ => None,
        }
    }

    #[test]
    fn the_protocol_has_two_names_in_every_coding() {
        let decoy = line(b"x-decoy", b":protocol=webtransport-h3", (false, false));
        for (name, coded) in [(PROTOCOL_NAMES[0], false), (PROTOCOL_NAMES[1], true)] {
            for (value, huffman) in [(&b"webtransport-h3"[..], false), (HUFFMAN_NEW, true), (b"webtransport", false)] {
                let protocol = line(name, value, (coded, huffman));
                for lines in [vec![&protocol[..]], vec![&decoy, &protocol], vec![&protocol, &decoy]] {
                    let path = path_of(&section(&lines));
                    assert_eq!(path.as_deref(), Some("/playback/lv_1?a"), "{value:?} {huffman} {coded}");
                }
            }
        }
    }

    #[test]
    fn everything_else_is_refused_in_its_own_way() {
        let answer = |section: &[u8]| match read(section) {
            Ok(Request::Other(status)) => u64::from(status),
            Ok(Request::Malformed) => 0,
            Ok(Request::Session(..)) => 200,
            Err(code) => code,
        };
        let other = line(PROTOCOL_NAMES[0], b"websocket", (false, false));
        assert_eq!(answer(&section(&[&other])), 501);
        assert_eq!(answer(&section(&[])), 0, "CONNECT without :protocol");
        assert_eq!(answer(&[0xff; 40]), QPACK_DECOMPRESSION_FAILED);
        assert_eq!(answer(b"\x02\x00\x80"), QPACK_DECOMPRESSION_FAILED, "the dynamic table has no entries");
        // GET.
        assert_eq!(answer(b"\0\0\xd1\xd7\x50\x09localhost\xc1"), 405);
        assert_eq!(answer(b"\0\0\xcf\xd7\xc1"), 0, "no authority");
    }
}
