//! SDP fragments of trickle ICE (RFC 8840, `application/trickle-ice-sdpfrag`).

/// Longest fragment.
pub const FRAGMENT_LEN_MAX: usize = 16 << 10;
/// Candidates that are looked at.
const CANDIDATES_MAX: usize = 64;
/// Of user fragment and password (RFC 8445 §5.3).
const CREDENTIAL_LEN_MAX: usize = 256;

/// What a client tells of its ICE agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IceFragment {
    /// `a=ice-ufrag`.
    pub ufrag: Option<String>,
    /// `a=ice-pwd`; a secret of the session.
    pub pwd: Option<String>,
    /// Candidates, each as it stands behind `a=`.
    pub candidates: Vec<String>,
}

impl IceFragment {
    /// Reads a fragment; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > FRAGMENT_LEN_MAX {
            return None;
        }
        let mut fragment = Self::default();
        for line in text.lines().map(str::trim_end) {
            if let Some(ufrag) = line.strip_prefix("a=ice-ufrag:") {
                fragment.ufrag = Some(credential(ufrag)?);
            } else if let Some(pwd) = line.strip_prefix("a=ice-pwd:") {
                fragment.pwd = Some(credential(pwd)?);
            } else if let Some(candidate) = line.strip_prefix("a=").filter(|rest| rest.starts_with("candidate:")) {
                if fragment.candidates.len() < CANDIDATES_MAX {
                    fragment.candidates.push(candidate.to_owned());
                }
            } else if !line.is_empty() && line.as_bytes().get(1) != Some(&b'=') {
                return None;
            }
        }
        Some(fragment)
    }
}

/// RFC 8839 §5.4: letters, digits, plus and slash.
fn credential(text: &str) -> Option<String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    (plain && (4..=CREDENTIAL_LEN_MAX).contains(&text.len())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_read_and_what_is_none_is_refused() {
        let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
                    a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";
        let fragment = IceFragment::parse(text).expect("a fragment");
        assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
        assert_eq!(fragment.candidates, ["candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host"]);
        assert_eq!(IceFragment::parse("{}\n"), None);
        assert_eq!(IceFragment::parse("a=ice-ufrag:a b c d"), None);
        assert_eq!(IceFragment::parse(&"a=x\n".repeat(FRAGMENT_LEN_MAX)), None);
        let many = IceFragment::parse(&"a=candidate:1\n".repeat(CANDIDATES_MAX * 2)).expect("a fragment");
        assert_eq!(many.candidates.len(), CANDIDATES_MAX);
    }
}
