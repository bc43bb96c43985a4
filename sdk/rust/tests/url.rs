//! What is a URL of something to watch, and what is not.

use streams_sdk::{ClientErrorKind, SessionUrl};

#[test]
fn a_url_is_taken_apart_for_the_connection_and_for_setup() {
    let url = SessionUrl::playback("moqt://example.com:5000/playback/lv_1?tok=a.b.c").unwrap();
    assert_eq!((url.host.as_str(), url.port), ("example.com", 5000));
    assert_eq!((url.authority.as_str(), url.path.as_str()), ("example.com:5000", "/playback/lv_1?tok=a.b.c"));
}

#[test]
fn a_url_without_a_port_means_4433() {
    let url = SessionUrl::playback("moqt://example.com/playback/lv_1").unwrap();
    assert_eq!((url.port, url.authority.as_str()), (4433, "example.com"));
}

#[test]
fn an_ipv6_address_is_connected_to_without_brackets_and_named_with_them() {
    let url = SessionUrl::playback("moqt://[::1]:4433/playback/lv_1?tok=x").unwrap();
    assert_eq!((url.host.as_str(), url.authority.as_str()), ("::1", "[::1]:4433"));
}

#[test]
fn anything_else_is_a_usage_error_that_says_what_is_expected() {
    for text in [
        "",
        "example.com/playback/lv_1",
        "https://example.com/playback/lv_1",
        "moqt:///playback/lv_1",
        "moqt://example.com",
        "moqt://example.com/playback/",
        "moqt://example.com/publish/lv_1",
        "moqt://example.com:99999/playback/lv_1",
    ] {
        let error = SessionUrl::playback(text).unwrap_err();
        assert_eq!(error.kind, ClientErrorKind::Usage, "{text}");
        assert!(error.reason.contains("moqt://HOST:PORT/playback/<id>"), "{text}: {}", error.reason);
    }
}

#[test]
fn the_token_is_not_printed() {
    let url = SessionUrl::playback("moqt://example.com/playback/lv_1?tok=secret").unwrap();
    assert!(!format!("{url:?}").contains("secret"));
    let error = SessionUrl::playback("moqt://example.com/other/lv_1?tok=secret").unwrap_err();
    assert!(!error.reason.contains("secret"));
}
