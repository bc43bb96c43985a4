//! AAC in ADTS frames (ISO/IEC 13818-7 §6.2).

use bytes::Bytes;

/// Fields of a header without its CRC.
const HEADER_LEN: usize = 7;
const CRC_LEN: usize = 2;

/// One coded frame and what its header says of the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AacFrame {
    /// The AudioSpecificConfig.
    pub(super) asc: Vec<u8>,
    /// The raw data block.
    pub(super) data: Bytes,
}

/// What stands at the begin of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A frame, and the bytes that it took.
    Frame(AacFrame, usize),
    /// The rest of a frame is to come.
    Part,
    /// No frame: go on at this byte.
    Skip(usize),
}

/// Reads the frame at the begin of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Read {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return Read::Part };
    let [sync, flags, profile, channels_and_len, len, len_and_fullness, blocks] = *header;
    if sync != 0xff || flags & 0xf6 != 0xf0 {
        return Read::Skip(next_sync(bytes));
    }
    let frame_len =
        usize::from(channels_and_len & 0b11) << 11 | usize::from(len) << 3 | usize::from(len_and_fullness >> 5);
    let with_crc = flags & 1 == 0;
    let header_len = if with_crc { HEADER_LEN.saturating_add(CRC_LEN) } else { HEADER_LEN };
    // Several raw data blocks in a frame have positions and CRCs of their own; no encoder is known that sends them.
    if frame_len <= header_len || blocks & 0b11 != 0 {
        return Read::Skip(next_sync(bytes));
    }
    let Some(frame) = bytes.get(..frame_len) else { return Read::Part };
    let object_type = (profile >> 6).saturating_add(1);
    let rate_index = (profile >> 2) & 0xf;
    let channels = (profile & 1) << 2 | channels_and_len >> 6;
    let asc = vec![object_type << 3 | rate_index >> 1, rate_index << 7 | channels << 3];
    let data = Bytes::copy_from_slice(frame.get(header_len..).unwrap_or_default());
    Read::Frame(AacFrame { asc, data }, frame_len)
}

fn next_sync(bytes: &[u8]) -> usize {
    let behind = bytes.get(1..).unwrap_or_default();
    behind.iter().position(|byte| *byte == 0xff).map_or(bytes.len(), |at| at.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AAC-LC, 48 kHz, stereo, without CRC.
    fn frame(data: &[u8]) -> Vec<u8> {
        let len = u8::try_from(HEADER_LEN + data.len()).unwrap();
        [&[0xff, 0xf1, 0x4c, 0x80, len >> 3, len << 5 | 0x1f, 0xfc], data].concat()
    }

    #[test]
    fn a_frame_is_read_with_its_configuration() {
        let bytes = [frame(&[1, 2, 3]), frame(&[4])].concat();
        let Read::Frame(first, len) = read(&bytes) else { panic!("no frame") };
        assert_eq!((first.asc, first.data.as_ref(), len), (vec![0x11, 0x90], &[1, 2, 3][..], 10));
        assert!(matches!(read(&bytes[len..]), Read::Frame(frame, 8) if frame.data == [4][..]));
    }

    #[test]
    fn cut_frames_wait_and_noise_is_skipped() {
        let bytes = frame(&[1, 2, 3]);
        for len in 0..bytes.len() {
            assert_eq!(read(&bytes[..len]), Read::Part);
        }
        let noisy = [&[3, 0xff, 9], &bytes[..]].concat();
        assert_eq!(read(&noisy), Read::Skip(1));
        assert_eq!(read(&noisy[1..]), Read::Skip(2));
        assert!(matches!(read(&noisy[3..]), Read::Frame(..)));
    }
}
