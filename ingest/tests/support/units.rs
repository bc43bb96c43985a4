//! Access units made by hand.

use std::sync::Arc;

use bytes::Bytes;
use streams_media::{AacConfig, AccessUnit, AvcConfig, CodecConfig, RandomAccess};

/// H.264 Main, 1280x720, 25 frames a second.
const RECORD_720P: &[u8] = &[
    0x01, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0x00, 0x17, 0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40,
    0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x83, 0xc6, 0x0c, 0xa8, 0x01, 0x00, 0x04, 0x68, 0xef, 0x3c, 0x80,
];
/// AAC-LC, 48 kHz, six channels.
const ASC_5_1: &[u8] = &[0x11, 0xb0];
/// AAC-LC, 44.1 kHz, stereo.
const ASC_STEREO: &[u8] = &[0x12, 0x10];

pub fn avc() -> Arc<CodecConfig> {
    Arc::new(CodecConfig::Avc(AvcConfig::parse(Bytes::from_static(RECORD_720P)).expect("a valid record")))
}

/// The same pictures by a record that differs in its picture parameter set.
pub fn avc_changed() -> Arc<CodecConfig> {
    let mut record = RECORD_720P.to_vec();
    record.extend_from_slice(&[0x00]);
    let pps_len = record.len() - 5;
    record[pps_len - 1] = 5;
    Arc::new(CodecConfig::Avc(AvcConfig::parse(record.into()).expect("a valid record")))
}

pub fn aac() -> Arc<CodecConfig> {
    Arc::new(CodecConfig::Aac(AacConfig::parse(Bytes::from_static(ASC_5_1)).expect("a valid configuration")))
}

pub fn aac_stereo() -> Arc<CodecConfig> {
    Arc::new(CodecConfig::Aac(AacConfig::parse(Bytes::from_static(ASC_STEREO)).expect("a valid configuration")))
}

/// A frame of `config` that decodes at `dts_ms`.
pub fn video(config: &Arc<CodecConfig>, dts_ms: i64, key: bool) -> AccessUnit {
    let header = if key { 0x65 } else { 0x41 };
    let data = Bytes::from(vec![0, 0, 0, 3, header, 0x88, 0x84]);
    let access = if key { RandomAccess::Closed } else { RandomAccess::None };
    AccessUnit { pts_us: dts_ms * 1000, dts_us: dts_ms * 1000, access, data, config: Arc::clone(config) }
}

/// A frame of `config` with FLV's milliseconds.
pub fn audio(config: &Arc<CodecConfig>, dts_ms: i64) -> AccessUnit {
    let data = Bytes::from_static(&[0x21, 0x10, 0x04, 0x60]);
    let access = RandomAccess::Closed;
    AccessUnit { pts_us: dts_ms * 1000, dts_us: dts_ms * 1000, access, data, config: Arc::clone(config) }
}

/// FLV's time of the n-th AAC frame at 48 kHz.
pub fn aac_ms(frame: i64) -> i64 {
    frame * 1024 / 48
}
