//! The version of the wire that a session negotiated.

/// A version of MoQ Transport. It comes from the negotiated ALPN or WebTransport protocol and is never guessed from bytes:
/// some messages keep their number and change their meaning between versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Draft {
    /// draft-ietf-moq-transport-18.
    #[default]
    D18,
}

impl Draft {
    /// Versions we speak, the preferred one first.
    pub const SUPPORTED: &'static [Self] = &[Self::D18];

    /// The name in ALPN and in `WT-Protocol`.
    pub const fn alpn(self) -> &'static str {
        match self {
            Self::D18 => "moqt-18",
        }
    }

    /// The version with this ALPN or `WT-Protocol` name.
    pub fn from_alpn(name: &[u8]) -> Option<Self> {
        Self::SUPPORTED.iter().copied().find(|draft| draft.alpn().as_bytes() == name)
    }
}
