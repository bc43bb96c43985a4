//! Packets of 188 bytes out of bytes that may be cut anywhere.

use mpeg2ts_reader::packet::Packet;

/// Finds packets. What is no whole packet yet is kept.
#[derive(Debug, Default)]
pub(super) struct Framer {
    partial: Vec<u8>,
    /// Bytes of the input that were no part of a packet.
    skipped: u64,
}

impl Framer {
    /// Bytes skipped so far in search of a packet.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Gives each packet of `input`, in order, to `each`; the first error ends it.
    pub(super) fn push<E>(
        &mut self,
        input: &[u8],
        mut each: impl FnMut(&Packet<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut joined = Vec::new();
        let mut rest = input;
        if !self.partial.is_empty() {
            joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(input);
            rest = &joined;
        }
        while let Some((bytes, after)) = rest.split_at_checked(Packet::SIZE) {
            // The next packet has to begin right behind this one, where there is anything.
            let follows = after.first().is_none_or(|byte| Packet::is_sync_byte(*byte));
            match Packet::try_new(bytes).filter(|_| follows) {
                Some(packet) => {
                    each(&packet)?;
                    rest = after;
                }
                None => rest = self.seek(rest),
            }
        }
        self.partial = rest.to_vec();
        drop(joined);
        Ok(())
    }

    /// Goes on at the next byte that may begin a packet.
    fn seek<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let behind = bytes.get(1..).unwrap_or_default();
        let ahead = behind.iter().position(|byte| Packet::is_sync_byte(*byte)).unwrap_or(behind.len());
        self.skipped = self.skipped.saturating_add(ahead as u64).saturating_add(1);
        behind.get(ahead..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(mark: u8) -> [u8; Packet::SIZE] {
        let mut packet = [mark; Packet::SIZE];
        packet[0] = Packet::SYNC_BYTE;
        packet
    }

    fn marks(framer: &mut Framer, pieces: &[&[u8]]) -> Vec<u8> {
        let mut marks = Vec::new();
        for piece in pieces {
            let mut mark = |packet: &Packet<'_>| {
                marks.push(packet.buffer()[187]);
                Ok::<_, ()>(())
            };
            framer.push(piece, &mut mark).unwrap();
        }
        marks
    }

    #[test]
    fn packets_are_found_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = (1..=5).flat_map(packet).collect();
        for piece_len in [1, 7, 188, 189, 500, 1316] {
            let mut framer = Framer::default();
            let pieces: Vec<&[u8]> = bytes.chunks(piece_len).collect();
            assert_eq!(marks(&mut framer, &pieces), [1, 2, 3, 4, 5], "pieces of {piece_len}");
            assert_eq!(framer.skipped(), 0);
        }
    }

    #[test]
    fn bytes_between_packets_are_skipped_and_counted() {
        let mut framer = Framer::default();
        let noise = [0x47, 0, 0x47, 0x11];
        let bytes = [&packet(1)[..], &noise, &packet(2), &packet(3)].concat();
        // The packet in front of the noise is not believed when what follows is no packet.
        assert_eq!(marks(&mut framer, &[&bytes]).last(), Some(&3));
        assert!(framer.skipped() >= noise.len() as u64);
    }
}
