//! Whose a STUN request is (RFC 8489), before any session looks at it.

const HEADER_LEN: usize = 20;
const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0, 1];
const USERNAME: u16 = 0x0006;
/// RFC 8489 §14.3: a name has less than 509 bytes.
const USERNAME_LEN_MAX: usize = 508;

/// The user fragment of ours that a binding request names; `None` for anything else.
pub fn local_ufrag(datagram: &[u8]) -> Option<&str> {
    let header = datagram.first_chunk::<HEADER_LEN>()?;
    if header.first_chunk::<2>()? != &BINDING_REQUEST || header.get(4..8)? != MAGIC {
        return None;
    }
    let mut rest = datagram.get(HEADER_LEN..)?;
    while let Some(([k0, k1, l0, l1], tail)) = rest.split_first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*k0, *k1]) == USERNAME {
            let name = tail.get(..len).filter(|name| name.len() <= USERNAME_LEN_MAX)?;
            // RFC 8445 §7.2.2: the receiver's fragment stands in front.
            return std::str::from_utf8(name).ok()?.split_once(':').map(|(local, _)| local);
        }
        rest = tail.get(len.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(attributes: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
        datagram.extend([7; 12]);
        datagram.extend(attributes);
        datagram
    }

    #[test]
    fn a_request_names_its_session_behind_other_attributes() {
        // Priority, then a username of 9 bytes with its padding.
        let mut attributes = vec![0, 0x24, 0, 4, 1, 2, 3, 4, 0, 6, 0, 9];
        attributes.extend(b"ours:peer\0\0\0");
        assert_eq!(local_ufrag(&request(&attributes)), Some("ours"));
        assert_eq!(local_ufrag(&request(&attributes[..14])), None, "cut off");
        assert_eq!(local_ufrag(&request(&[])), None);
        let mut response = request(&attributes);
        response[0] = 1;
        assert_eq!(local_ufrag(&response), None, "an answer is known by its sender");
    }
}
