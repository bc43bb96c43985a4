//! What the matching needs of a CMAF chunk: its decoding time and its payload.

/// One chunk (`moof` + `mdat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// `baseMediaDecodeTime`, in the track's timescale.
    pub tfdt: u64,
    /// The samples' bytes.
    pub payload: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Reads a chunk; `None` when it is none.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let traf = find(find(bytes, b"moof")?, b"traf")?;
        let (version, tail) = find(traf, b"tfdt")?.split_first()?;
        // Full box: version, then 24 bits of flags.
        let time = tail.get(3..)?;
        let tfdt = match version {
            0 => u64::from(u32::from_be_bytes(*time.first_chunk()?)),
            _ => u64::from_be_bytes(*time.first_chunk()?),
        };
        Some(Self { tfdt, payload: find(bytes, b"mdat")? })
    }
}

/// The body of the first box of that kind.
fn find<'a>(mut bytes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    loop {
        let (length, tail) = bytes.split_first_chunk::<4>()?;
        let (kind, tail) = tail.split_first_chunk::<4>()?;
        let body_len = usize::try_from(u32::from_be_bytes(*length)).ok()?.checked_sub(8)?;
        let (body, rest) = tail.split_at_checked(body_len)?;
        if kind == wanted {
            return Some(body);
        }
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(body);
        bytes
    }

    fn chunk(tfdt: &[u8]) -> Vec<u8> {
        let traf = boxed(b"traf", &[boxed(b"tfhd", &[0; 8]), boxed(b"tfdt", tfdt)].concat());
        let moof = boxed(b"moof", &[boxed(b"mfhd", &[0; 8]), traf].concat());
        [moof, boxed(b"mdat", b"frame")].concat()
    }

    #[test]
    fn both_lengths_of_a_decoding_time_are_read() {
        let short = chunk(&[0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(Chunk::parse(&short), Some(Chunk { tfdt: 0x102, payload: b"frame" }));
        let long = chunk(&[1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!(Chunk::parse(&long), Some(Chunk { tfdt: 0x1_0000_0002, payload: b"frame" }));
    }

    #[test]
    fn a_chunk_that_is_cut_short_is_none() {
        let whole = chunk(&[0, 0, 0, 0, 0, 0, 1, 2]);
        for length in 0..whole.len() {
            assert_eq!(Chunk::parse(&whole[..length]), None, "{length}");
        }
    }
}
