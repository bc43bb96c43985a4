//! How str0m is set up for one encoder, and what it answers.

use std::time::Instant;

use str0m::change::SdpOffer;
use str0m::config::DtlsCert;
use str0m::format::{Codec, PayloadParams};
use str0m::media::Frequency;
use str0m::{Candidate, IceCreds, Rtc, RtcConfig, RtcError};

use super::offer::OfferError;
use super::session::{IceAddresses, IceCredentials};

/// H.264 as encoders offer it (RFC 6184 §8.1): profiles and constraints as the first two bytes say; the level is not held against
/// anybody. Constrained baseline, baseline, main, high, constrained high.
const H264_PROFILES: [u32; 5] = [0x42_e0_1f, 0x42_00_1f, 0x4d_00_1f, 0x64_00_1f, 0x64_0c_1f];
/// Payload types of ours; an answer repeats those of the offer.
const FIRST_PAYLOAD_TYPE: u8 = 97;
const OPUS_PAYLOAD_TYPE: u8 = 96;
/// Packets held back until lost ones before them came: a key frame of 1 MiB is 900 packets.
const REORDERING_VIDEO: usize = 1_000;
/// 160 ms of sound.
const REORDERING_AUDIO: usize = 8;

/// A peer connection that only receives. Its ICE is a lite one (RFC 8445 §2.5): whoever could send an offer reaches this server, and
/// FFmpeg answers no check of ours once its own has succeeded.
pub fn connection(now: Instant, ice: &IceCredentials, certificate: Option<DtlsCert>) -> Rtc {
    let mut config = RtcConfig::new()
        .set_local_ice_credentials(ice.creds())
        .set_ice_lite(true)
        .clear_codecs()
        .set_reordering_size_video(REORDERING_VIDEO)
        .set_reordering_size_audio(REORDERING_AUDIO);
    if let Some(certificate) = certificate {
        config = config.set_dtls_cert(certificate);
    }
    let codecs = config.codec_config();
    codecs.add_config(
        OPUS_PAYLOAD_TYPE.into(),
        None,
        Codec::Opus,
        Frequency::FORTY_EIGHT_KHZ,
        Some(2),
        str0m::format::FormatParams { min_p_time: Some(10), use_inband_fec: Some(true), ..Default::default() },
    );
    let mut payload_type = FIRST_PAYLOAD_TYPE;
    for fragments in [true, false] {
        for profile in H264_PROFILES {
            let resend = payload_type.saturating_add(1);
            codecs.add_h264(payload_type.into(), Some(resend.into()), fragments, profile);
            payload_type = payload_type.saturating_add(2);
        }
    }
    config.build(now)
}

/// Tells the connection where it can be reached.
pub fn add_candidates(rtc: &mut Rtc, addresses: &IceAddresses) {
    for candidate in candidates(addresses) {
        rtc.add_local_candidate(candidate);
    }
}

/// The answer to a checked offer.
///
/// # Errors
/// [`OfferError`]: str0m cannot take it.
pub fn answer(rtc: &mut Rtc, offer: &str) -> Result<String, OfferError> {
    let offer = SdpOffer::from_sdp_string(offer).map_err(|error| OfferError::Malformed(error.to_string()))?;
    let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| match error {
        RtcError::RemoteSdp(what) => OfferError::Malformed(what),
        other => OfferError::Malformed(other.to_string()),
    })?;
    Ok(with_stereo(&answer.to_sdp_string()))
}

/// RFC 7587 §6.1: who does not ask for two channels gets one.
fn with_stereo(answer: &str) -> String {
    let opus = answer
        .lines()
        .filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '))
        .find(|(_, encoding)| encoding.to_ascii_lowercase().starts_with("opus/"))
        .map(|(payload_type, _)| format!("a=fmtp:{payload_type} "));
    let Some(prefix) = opus else { return answer.to_owned() };
    let lines = answer.lines().map(|line| match line.starts_with(&prefix) {
        true if !line.contains("stereo=1") => format!("{line};stereo=1\r\n"),
        _ => format!("{line}\r\n"),
    });
    lines.collect()
}

/// The answer has a payload type for each track of the offer.
pub fn has_media(answer: &str) -> bool {
    let mut ports = answer.lines().filter_map(|line| line.strip_prefix("m=")?.split(' ').nth(1));
    ports.all(|port| port != "0")
}

/// Whether a frame is of the codec that it should be.
pub fn is(params: &PayloadParams, codec: Codec) -> bool {
    params.spec().codec == codec
}

/// Candidates of ours as they stand in a fragment.
pub fn candidate_lines(addresses: &IceAddresses) -> Vec<String> {
    candidates(addresses).map(|candidate| format!("a={}\r\n", candidate.to_sdp_string())).collect()
}

/// A lite agent has host candidates alone (RFC 8445 §5.2): the address of its socket, and what a NAT makes of it.
fn candidates(addresses: &IceAddresses) -> impl Iterator<Item = Candidate> {
    let addresses = [Some(addresses.bound), addresses.public].into_iter().flatten();
    addresses.filter_map(|address| Candidate::host(address, "udp").ok())
}

impl IceCredentials {
    pub(super) fn creds(&self) -> IceCreds {
        IceCreds { ufrag: self.ufrag.clone(), pass: self.pwd.clone() }
    }
}
