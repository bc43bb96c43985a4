//! Sequence headers of real encoders: the codec string, the picture, and where decoding can start.

use bytes::Bytes;
use streams_media::fmp4::{InitSegment, write_video_init};
use streams_media::{Av1Config, CodecConfig, HevcConfig, MediaError, Picture, RandomAccess, Vp9Config};

/// x265, Main, 854x480 at 29.97.
const HEVC_MAIN: &str = "0101600000009000000000005af000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003005a\
                         959409a10001002942010101600000030090000003000003005aa006c201e1cde595952930bc05a02000007d20000ea601\
                         a2000100064401c073c189";
/// x265, Main 10, 1920x1080 at 50: 1088 coded rows are cropped.
const HEVC_MAIN10: &str = "0102200000009000000000007bf000fcfdfafa00000f03a00001001840010c01ffff02200000030090000003000003007b\
                           959409a10001002d42010102200000030090000003000003007ba003c0801107cad965654a4c2f0168080000030008\
                           000003019040a2000100064401c073c189";
/// SVT-AV1.
const AV1: &str = "81040c000a0c0200002526355ef805f00080";
/// libvpx, profile 0, level 3, and its first frame's header.
const VP9: &str = "01000000001e820202020000";
const VP9_KEY: &str = "824983420035501df60438241c184a1008d07fd9";

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

fn hevc(hex: &str) -> CodecConfig {
    CodecConfig::Hevc(HevcConfig::parse(bytes(hex)).expect("a record of x265"))
}

fn picture(config: &CodecConfig) -> (u32, u32, Option<f64>) {
    let Picture { width, height, framerate } = config.picture().expect("video");
    (width, height, framerate.map(|rate| (rate * 100.0).round() / 100.0))
}

#[test]
fn each_codec_says_its_string_and_picture_and_has_an_init_segment() {
    let vp9 = Vp9Config::parse(bytes(VP9), &bytes(VP9_KEY)).expect("a record of libvpx");
    for (config, codec, shown) in [
        (hevc(HEVC_MAIN), "hvc1.1.6.L90.90", (854, 480, None)),
        (hevc(HEVC_MAIN10), "hvc1.2.4.L123.90", (1920, 1080, None)),
        (
            CodecConfig::Av1(Av1Config::parse(bytes(AV1)).expect("a record of SVT-AV1")),
            "av01.0.04M.08",
            (854, 480, None),
        ),
        (CodecConfig::Vp9(vp9), "vp09.00.30.08", (854, 480, None)),
    ] {
        assert_eq!((config.codec(), picture(&config)), (codec, shown));
        let init = write_video_init(&config).expect("written");
        InitSegment::parse(&init).expect("one track");
        let entry = &codec.as_bytes()[..4];
        assert!(init.windows(4).any(|four| four == entry), "{codec}");
    }
}

/// One NAL unit of H.265 with a length of four bytes in front.
fn hevc_unit(kind: u8) -> Vec<u8> {
    vec![0, 0, 0, 3, kind << 1, 1, 0x80]
}

#[test]
fn decoding_of_h265_starts_at_random_access_pictures() {
    let config = hevc(HEVC_MAIN);
    let access = |units: &[u8]| config.access(units, true);
    for (kind, wanted) in [
        (19, Some(RandomAccess::Closed)),
        (20, Some(RandomAccess::Closed)),
        (21, Some(RandomAccess::Open)),
        (16, Some(RandomAccess::Open)),
        (1, Some(RandomAccess::None)),
        (39, None),
    ] {
        assert_eq!(access(&hevc_unit(kind)), wanted, "NAL unit type {kind}");
    }
    let with_delimiter = [hevc_unit(35), hevc_unit(39), hevc_unit(19)].concat();
    assert_eq!(access(&with_delimiter), Some(RandomAccess::Closed));
    assert_eq!(access(&with_delimiter[..with_delimiter.len() - 1]), None, "cut short");
    assert_eq!(access(&[0, 0, 0]), None, "no length");
}

#[test]
fn decoding_of_av1_and_vp9_starts_at_key_frames() {
    let config = CodecConfig::Av1(Av1Config::parse(bytes(AV1)).expect("a record"));
    // A sequence header in front, then a frame: type in bits 5 and 6, shown in bit 4.
    let unit = |header: u8| [&[0x0a, 0x01, 0x00, 0x32, 0x02][..], &[header, 0]].concat();
    assert_eq!(config.access(&unit(0x10), false), Some(RandomAccess::Closed));
    assert_eq!(config.access(&unit(0x00), false), Some(RandomAccess::Open), "not shown yet");
    assert_eq!(config.access(&unit(0x30), true), Some(RandomAccess::None), "whatever the container says");
    assert_eq!(config.access(&unit(0x90), true), Some(RandomAccess::None), "an earlier frame is shown");
    assert_eq!(config.access(&[0x0a, 0x01, 0x00], true), None, "no frame");
    assert_eq!(config.access(&[0x32, 0x09, 0x10], true), None, "cut short");
    let delimited = Bytes::from([&[0x12, 0x00][..], &unit(0x10)].concat());
    assert_eq!(Av1Config::without_delimiter(delimited), unit(0x10));
    assert_eq!(Av1Config::without_delimiter(unit(0x10).into()), unit(0x10));

    let key = bytes(VP9_KEY);
    let vp9 = Vp9Config::parse(bytes(VP9), &key).expect("a record");
    assert_eq!(Vp9Config::access(&key), Some(RandomAccess::Closed));
    assert_eq!(Vp9Config::access(&[0x86, 0]), Some(RandomAccess::None));
    assert_eq!(Vp9Config::access(&[0x02]), None);
    assert!(vp9.describes(&key) && vp9.describes(&[0x86, 0]));
    let mut larger = key.to_vec();
    larger[5] ^= 0x01;
    assert!(!vp9.describes(&larger), "another width");
}

#[test]
fn headers_that_are_none_are_refused_by_name() {
    let refused = |error: MediaError| error.to_string();
    assert_eq!(
        refused(HevcConfig::parse(bytes(&HEVC_MAIN[..60])).expect_err("refused")),
        "HEVC sequence header is malformed: it is cut short"
    );
    let no_sets = bytes(&format!("{}00", &HEVC_MAIN[..44]));
    assert_eq!(
        refused(HevcConfig::parse(no_sets).expect_err("refused")),
        "HEVC sequence header is malformed: it has no sequence parameter set"
    );
    assert_eq!(
        refused(Av1Config::parse(bytes(&AV1[..8])).expect_err("refused")),
        "AV1 sequence header is malformed: it has no sequence header that can be read"
    );
    assert_eq!(
        refused(Vp9Config::parse(bytes(VP9), &[0x86, 0]).expect_err("refused")),
        "VP9 sequence header is malformed: its first frame is no key frame"
    );
    assert_eq!(
        refused(Vp9Config::parse(bytes("00"), &bytes(VP9_KEY)).expect_err("refused")),
        "VP9 sequence header is malformed: it is cut short"
    );
}
