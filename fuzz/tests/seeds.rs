//! Real bytes and some of their relatives break no target: the short form of what `scripts/fuzz` does for longer.

use streams_engine::fuzzing as engine;
use streams_fuzz::check;
use streams_ingest::fuzzing as ingest;
use streams_media::fuzzing as media;
use streams_relay_core::fuzzing as relay;

/// A session of an encoder is some ten kilobytes long and takes a few hundred microseconds.
const CHANGED: u32 = 1_000;

#[test]
fn what_encoders_send_breaks_nothing() {
    check("rtmp_session", ingest::rtmp_session, CHANGED);
    check("flv_tags", ingest::flv_tags, CHANGED);
    check("ts", ingest::ts, CHANGED);
    check("srt", ingest::srt, CHANGED);
    check("avc_config", media::avc_config, CHANGED);
    check("video_config", media::video_config, CHANGED);
    check("aac_config", media::aac_config, CHANGED);
}

#[test]
fn what_viewers_and_publishers_send_breaks_nothing() {
    check("wire_control", relay::wire_control, CHANGED);
    check("wire_data", relay::wire_data, CHANGED);
    check("relay_session", relay::relay_session, CHANGED);
    check("webtransport", engine::webtransport, CHANGED);
    check("capsules", engine::capsules, CHANGED);
}

#[test]
fn what_stands_in_documents_and_media_breaks_nothing() {
    check("tokens", relay::tokens, CHANGED);
    check("catalog", media::catalog, CHANGED);
    check("fmp4", media::fmp4, CHANGED);
    check("movie", media::movie, CHANGED);
}
