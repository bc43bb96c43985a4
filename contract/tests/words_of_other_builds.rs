//! Words that this build does not know: kept, shown, passed on, and taken for nothing else.

use proptest::prelude::*;
use streams_contract::{
    CloseCause, Event, IngestKind, InputEntry, InputState, KeyAlgorithm, Protocol, RuntimeEntry, SessionKind, decode,
    encode,
};

/// A word read from JSON and written again.
fn crossed<T: serde::Serialize + serde::de::DeserializeOwned>(word: &str) -> (T, String) {
    let written = serde_json::to_string(word).expect("JSON");
    let read: T = serde_json::from_str(&written).expect("any word is read");
    let again = serde_json::to_string(&read).expect("JSON");
    assert_eq!(again, written);
    (read, written)
}

proptest! {
    #[test]
    fn any_word_survives_a_round_trip(word in "\\PC{0,40}") {
        prop_assert_eq!(&crossed::<InputState>(&word).0.to_string(), &word);
        prop_assert_eq!(&crossed::<IngestKind>(&word).0.to_string(), &word);
        prop_assert_eq!(&crossed::<Protocol>(&word).0.to_string(), &word);
        prop_assert_eq!(&crossed::<SessionKind>(&word).0.to_string(), &word);
        prop_assert_eq!(&crossed::<CloseCause>(&word).0.to_string(), &word);
        prop_assert_eq!(&crossed::<KeyAlgorithm>(&word).0.to_string(), &word);
    }

    #[test]
    fn a_document_with_unknown_words_is_passed_on_whole(state in "[a-z_]{1,20}", protocol in "[a-z_]{1,20}") {
        let text = format!(
            r#"{{"input":"lv_1","state":"{state}","protocol":"{protocol}","shard":1,"since_ms":7,"tracks":[],"last_error":null,"warnings":[],"link":null}}"#
        );
        let entry: RuntimeEntry = decode(text.as_bytes()).expect("read");
        prop_assert_eq!(String::from_utf8(encode(&entry).expect("written")).expect("text"), text);
    }
}

#[test]
fn known_words_are_what_they_always_were() {
    let words = |all: &[InputState]| all.iter().map(|word| word.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(words(InputState::ALL), ["idle", "active", "reconnecting"]);
    for kind in IngestKind::ALL {
        assert_eq!(&crossed::<IngestKind>(kind.as_str()).0, kind);
    }
    for cause in CloseCause::ALL {
        assert_eq!(&crossed::<CloseCause>(cause.as_str()).0, cause);
    }
    assert_eq!((KeyAlgorithm::EdDsa.as_str(), KeyAlgorithm::Rs256.as_str()), ("EdDSA", "RS256"));
}

#[test]
fn an_unknown_word_is_none_of_the_known_ones() {
    let entry: RuntimeEntry = decode(br#"{"input":"lv_1","state":"paused"}"#).expect("read");
    assert_eq!(entry.state, InputState::Unknown("paused".into()));
    assert!(!InputState::ALL.contains(&entry.state));
    assert!(!entry.protocol.is_said(), "nothing was said of it");
    // An input of a kind that this build does not know takes no encoder by mistake.
    let entry: InputEntry = decode(br#"{"id":"lv_1","ingest":"rist"}"#).expect("read");
    assert!([Protocol::Rtmp, Protocol::Srt, Protocol::Whip, Protocol::Moqt].iter().all(|by| !entry.ingest.takes(by)));
    assert!(IngestKind::Any.takes(&Protocol::Unknown("rist".into())));
    assert!(IngestKind::Rtmp.takes(&Protocol::Rtmp) && !IngestKind::Srt.takes(&Protocol::Rtmp));
    assert!(serde_json::from_str::<InputState>("7").is_err(), "a word is text");
}

#[test]
fn the_end_of_a_session_is_read_from_an_engine_that_names_no_cause() {
    let older = br#"{"event":"SessionClosed","session":7,"shard":1,"reason":"auth_failed: no token"}"#;
    let Event::SessionClosed { cause, reason, .. } = decode(older).expect("read") else { panic!("another event") };
    assert_eq!((cause.is_said(), cause.is_auth(), reason.as_str()), (false, false, "auth_failed: no token"));
    assert!(CloseCause::TokenExpired.is_auth() && CloseCause::Unauthorized.is_auth() && !CloseCause::Ended.is_auth());
}
