//! A playback token is accepted when everything about it is right, and each single wrong thing is refused by name.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use streams_relay_core::token::{TOKEN_LEN_MAX, Verified, VerifyingKeys};
use streams_relay_core::wire::SessionError;
use streams_relay_core::{AuthError, AuthFault, Directory, Resource, SigningAlgorithm, SigningKey};

const NOW_S: u64 = 1_800_000_000;

/// A key with both halves, as its owner holds it.
struct Pair {
    private: EncodingKey,
    public_pem: String,
}

static ED: LazyLock<Pair> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let private = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
    Pair { private, public_pem: pair.public_key_pem() }
});

static RSA: LazyLock<Pair> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let private = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
    Pair { private, public_pem: pair.public_key_pem() }
});

#[derive(Default)]
struct Tables {
    keys: HashMap<&'static str, SigningKey>,
    resources: HashMap<&'static str, Resource>,
}

impl Directory for Tables {
    fn signing_key(&self, kid: &str) -> Option<SigningKey> {
        self.keys.get(kid).cloned()
    }

    fn resource(&self, id: &str) -> Option<Resource> {
        self.resources.get(id).cloned()
    }

    fn publish_key_ok(&self, _input_id: &str, _key: &str, _unix_now_ms: u64) -> bool {
        false
    }
}

/// Two orgs; `lv_1` of org_a is also known as `pb_1`; one key of each kind, and a revoked one.
fn tables() -> Tables {
    let key = |alg, org: &str, pair: &Pair, revoked| SigningKey {
        alg,
        org: org.to_owned(),
        public_key_pem: pair.public_pem.clone(),
        revoked,
    };
    let resource =
        |canonical: &str, org: &str| Resource { canonical: canonical.to_owned(), org: org.to_owned(), enabled: true };
    Tables {
        keys: HashMap::from([
            ("ed", key(SigningAlgorithm::EdDsa, "org_a", &ED, false)),
            ("rsa", key(SigningAlgorithm::Rs256, "org_a", &RSA, false)),
            ("revoked", key(SigningAlgorithm::EdDsa, "org_a", &ED, true)),
            ("other_org", key(SigningAlgorithm::EdDsa, "org_b", &ED, false)),
        ]),
        resources: HashMap::from([
            ("lv_1", resource("lv_1", "org_a")),
            ("pb_1", resource("lv_1", "org_a")),
            ("lv_2", resource("lv_2", "org_a")),
            ("lv_b", resource("lv_b", "org_b")),
        ]),
    }
}

fn claims() -> Value {
    json!({"iss": "org_a", "sub": "lv_1", "aud": "playback", "iat": NOW_S - 10, "exp": NOW_S + 3600})
}

/// The usual claims with one of them set, or removed by null.
fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

fn sign(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(serde_json::to_vec(json).unwrap());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn ed_token(claims: &Value) -> String {
    sign(&json!({"alg": "EdDSA", "kid": "ed", "typ": "JWT"}), claims, &ED.private, Algorithm::EdDSA)
}

fn verify(token: &str, path_id: &str, tables: &Tables, now_s: u64) -> Result<Verified, AuthError> {
    streams_relay_core::token::verify(token, path_id, tables, &mut VerifyingKeys::default(), now_s * 1000)
}

fn fault(token: &str) -> AuthFault {
    verify(token, "lv_1", &tables(), NOW_S).expect_err("the token must be refused").fault
}

fn fault_of(claims: &Value) -> AuthFault {
    fault(&ed_token(claims))
}

#[test]
fn a_right_token_of_either_algorithm_is_accepted() {
    let verified = verify(&ed_token(&claims()), "lv_1", &tables(), NOW_S).unwrap();
    assert_eq!((verified.kid.as_str(), verified.org.as_str(), verified.canonical.as_str()), ("ed", "org_a", "lv_1"));
    assert_eq!((verified.iat_ms, verified.exp_ms), ((NOW_S - 10) * 1000, (NOW_S + 3600) * 1000));
    assert_eq!((verified.renditions, verified.max_sessions), (None, None));

    let header = json!({"alg": "RS256", "kid": "rsa"});
    let token = sign(&header, &claims(), &RSA.private, Algorithm::RS256);
    assert_eq!(verify(&token, "lv_1", &tables(), NOW_S).unwrap().kid, "rsa");
}

#[test]
fn optional_claims_come_through() {
    let mut claims = claims();
    claims["jti"] = json!("j1");
    claims["nbf"] = json!(NOW_S - 10);
    claims["renditions"] = json!(["720p"]);
    claims["origins"] = json!(["https://example.com"]);
    claims["ip"] = json!(["192.0.2.0/24"]);
    claims["max_sessions"] = json!(3);
    claims["something_new"] = json!({"a": 1});
    let verified = verify(&ed_token(&claims), "lv_1", &tables(), NOW_S).unwrap();
    assert_eq!(verified.jti.as_deref(), Some("j1"));
    assert_eq!(verified.renditions, Some(vec!["720p".to_owned()]));
    assert_eq!(verified.origins, Some(vec!["https://example.com".to_owned()]));
    assert_eq!(verified.ip, Some(vec!["192.0.2.0/24".to_owned()]));
    assert_eq!(verified.max_sessions, Some(3));
}

#[test]
fn an_audience_list_that_holds_playback_is_accepted() {
    let token = ed_token(&claims_with("aud", json!(["upload", "playback"])));
    assert!(verify(&token, "lv_1", &tables(), NOW_S).is_ok());
}

#[test]
fn a_subject_may_be_another_name_of_the_same_resource() {
    let token = ed_token(&claims_with("sub", json!("pb_1")));
    assert_eq!(verify(&token, "lv_1", &tables(), NOW_S).unwrap().canonical, "lv_1");
    let token = ed_token(&claims());
    assert_eq!(verify(&token, "pb_1", &tables(), NOW_S).unwrap().canonical, "lv_1");
}

#[test]
fn no_token_is_refused() {
    assert_eq!(fault(""), AuthFault::Missing);
}

#[test]
fn a_token_above_the_size_limit_is_refused_before_it_is_read() {
    assert_eq!(fault(&"x".repeat(TOKEN_LEN_MAX + 1)), AuthFault::TooLong);
    assert_eq!(fault(&"x".repeat(TOKEN_LEN_MAX)), AuthFault::Unreadable);
}

#[test]
fn what_is_no_token_is_refused() {
    for text in ["x", "a.b", "a.b.c", "..", "e30.e30.", "a.b.c.d", "\u{1F3A5}.x.y"] {
        let fault = fault(text);
        assert!(matches!(fault, AuthFault::Unreadable), "{text}: {fault}");
    }
}

#[test]
fn a_token_without_a_key_id_is_refused() {
    let token = sign(&json!({"alg": "EdDSA"}), &claims(), &ED.private, Algorithm::EdDSA);
    assert_eq!(fault(&token), AuthFault::NoKid);
}

#[test]
fn a_token_of_an_unknown_key_is_refused() {
    let token = sign(&json!({"alg": "EdDSA", "kid": "nobody"}), &claims(), &ED.private, Algorithm::EdDSA);
    assert_eq!(fault(&token), AuthFault::UnknownKid);
}

#[test]
fn a_token_of_a_revoked_key_is_refused() {
    let token = sign(&json!({"alg": "EdDSA", "kid": "revoked"}), &claims(), &ED.private, Algorithm::EdDSA);
    assert_eq!(fault(&token), AuthFault::RevokedKid);
}

#[test]
fn a_token_without_a_signature_is_refused_whatever_the_spelling_of_none() {
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let token = sign(&json!({"alg": none, "kid": "ed"}), &claims(), &ED.private, Algorithm::EdDSA);
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(fault(&unsigned), AuthFault::WrongAlgorithm, "{none}");
    }
}

#[test]
fn a_public_key_used_as_a_shared_secret_is_refused() {
    let secret = EncodingKey::from_secret(RSA.public_pem.as_bytes());
    let honest_header = json!({"alg": "HS256", "kid": "rsa"});
    let token = sign(&honest_header, &claims(), &secret, Algorithm::HS256);
    assert_eq!(fault(&token), AuthFault::WrongAlgorithm);
    let lying_header = json!({"alg": "RS256", "kid": "rsa"});
    let token = sign(&lying_header, &claims(), &secret, Algorithm::HS256);
    assert_eq!(fault(&token), AuthFault::BadSignature);
}

#[test]
fn the_header_cannot_choose_another_algorithm_than_the_keys() {
    let token = sign(&json!({"alg": "RS256", "kid": "ed"}), &claims(), &RSA.private, Algorithm::RS256);
    assert_eq!(fault(&token), AuthFault::WrongAlgorithm);
    let token = sign(&json!({"alg": "RS512", "kid": "rsa"}), &claims(), &RSA.private, Algorithm::RS512);
    assert_eq!(fault(&token), AuthFault::WrongAlgorithm);
}

#[test]
fn a_header_with_critical_extensions_is_refused() {
    let header = json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": false});
    assert_eq!(fault(&sign(&header, &claims(), &ED.private, Algorithm::EdDSA)), AuthFault::Unreadable);
}

#[test]
fn a_key_that_is_no_key_verifies_nothing() {
    let mut tables = tables();
    tables.keys.get_mut("ed").unwrap().public_key_pem = "no key".to_owned();
    assert_eq!(verify(&ed_token(&claims()), "lv_1", &tables, NOW_S).unwrap_err().fault, AuthFault::UnusableKey);
    tables.keys.get_mut("ed").unwrap().public_key_pem = RSA.public_pem.clone();
    assert_eq!(verify(&ed_token(&claims()), "lv_1", &tables, NOW_S).unwrap_err().fault, AuthFault::UnusableKey);
}

#[test]
fn a_changed_or_foreign_signature_is_refused() {
    let token = ed_token(&claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    assert_eq!(fault(&format!("{message}.{flipped}{}", &signature[1..])), AuthFault::BadSignature);
    assert_eq!(fault(&format!("{message}.")), AuthFault::BadSignature);
    assert_eq!(fault(&format!("{message}.!!")), AuthFault::BadSignature);

    let stranger = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let stranger = EncodingKey::from_ed_pem(stranger.serialize_pem().as_bytes()).unwrap();
    let token = sign(&json!({"alg": "EdDSA", "kid": "ed"}), &claims(), &stranger, Algorithm::EdDSA);
    assert_eq!(fault(&token), AuthFault::BadSignature);
}

#[test]
fn changed_claims_are_refused() {
    let token = ed_token(&claims());
    let signature = token.rsplit_once('.').unwrap().1;
    let header = token.split_once('.').unwrap().0;
    let longer = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims_with("exp", json!(NOW_S + 80_000))).unwrap());
    assert_eq!(fault(&format!("{header}.{longer}.{signature}")), AuthFault::BadSignature);
}

#[test]
fn times_with_fractions_and_exponents_are_accepted_as_the_rfc_has_them() {
    let mut claims = claims();
    claims["iat"] = json!(NOW_S as f64 - 0.138);
    claims["nbf"] = json!(862.0);
    claims["exp"] = json!(NOW_S as f64 + 600.5);
    let verified = verify(&ed_token(&claims), "lv_1", &tables(), NOW_S).unwrap();
    assert_eq!((verified.iat_ms, verified.exp_ms), (NOW_S * 1000 - 138, NOW_S * 1000 + 600_500));
    // As text, for the printer of JSON here writes no exponents.
    let text = r#"{"iss":"org_a","sub":"lv_1","aud":"playback","iat":1.8e9,"nbf":0.0,"exp":18000036E2}"#;
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"ed"}"#), URL_SAFE_NO_PAD.encode(text));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &ED.private, Algorithm::EdDSA).unwrap();
    let verified = verify(&format!("{message}.{signature}"), "lv_1", &tables(), NOW_S).unwrap();
    assert_eq!((verified.iat_ms, verified.exp_ms), (NOW_S * 1000, NOW_S * 1000 + 3_600_000));
}

#[test]
fn a_fraction_counts_to_the_millisecond() {
    let token = ed_token(&claims_with("exp", json!(NOW_S as f64 + 0.5)));
    let at = |ms| {
        streams_relay_core::token::verify(&token, "lv_1", &tables(), &mut VerifyingKeys::default(), ms)
            .map(|verified| verified.exp_ms)
            .map_err(|error| error.fault)
    };
    assert_eq!(at(NOW_S * 1000 + 5_499), Ok(NOW_S * 1000 + 500));
    assert_eq!(at(NOW_S * 1000 + 5_500), Err(AuthFault::Expired));
}

#[test]
fn a_time_that_is_no_number_of_seconds_is_refused_by_name() {
    for claim in ["iat", "nbf", "exp"] {
        assert_eq!(fault_of(&claims_with(claim, json!("1800000000"))), AuthFault::TimeIsText { claim });
        for milliseconds in [json!(NOW_S * 1000), json!(NOW_S as f64 * 1000.0 + 0.5), json!(1e300), json!(u64::MAX)] {
            assert_eq!(fault_of(&claims_with(claim, milliseconds)), AuthFault::TimeInMilliseconds { claim });
        }
        for value in [json!(-5), json!(-0.5), json!(true), json!([1]), json!({})] {
            assert_eq!(fault_of(&claims_with(claim, value.clone())), AuthFault::TimeUnreadable { claim }, "{value}");
        }
    }
    let reason = AuthError::from(AuthFault::TimeInMilliseconds { claim: "exp" }).reason();
    assert!(reason.contains("exp") && reason.contains("milliseconds"), "{reason}");
}

#[test]
fn a_token_without_a_lifetime_is_refused() {
    for claim in ["iat", "exp"] {
        assert_eq!(fault_of(&claims_with(claim, Value::Null)), AuthFault::NoLifetime, "{claim}");
    }
}

#[test]
fn a_key_is_read_once_and_again_when_it_changed() {
    let (mut tables, mut parsed) = (tables(), VerifyingKeys::default());
    let token = ed_token(&claims());
    let mut verify = |tables: &Tables| {
        let fault = streams_relay_core::token::verify(&token, "lv_1", tables, &mut parsed, NOW_S * 1000).err();
        (fault.map(|error| error.fault), parsed.reads())
    };
    assert_eq!((0..100).map(|_| verify(&tables)).collect::<Vec<_>>(), vec![(None, 1); 100]);
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    tables.keys.get_mut("ed").unwrap().public_key_pem = other.public_key_pem();
    assert_eq!(verify(&tables), (Some(AuthFault::BadSignature), 2));
}

#[test]
fn a_lifetime_above_a_day_or_below_nothing_is_refused() {
    let mut day = claims();
    day["iat"] = json!(NOW_S);
    day["exp"] = json!(NOW_S + 86_400);
    assert!(verify(&ed_token(&day), "lv_1", &tables(), NOW_S).is_ok());
    day["exp"] = json!(NOW_S + 86_401);
    assert_eq!(fault_of(&day), AuthFault::LifetimeOutOfRange);
    day["exp"] = json!(NOW_S - 1);
    assert_eq!(fault_of(&day), AuthFault::LifetimeOutOfRange);
}

#[test]
fn an_expired_token_is_refused_after_five_seconds_of_leeway() {
    let exp = |s: u64| ed_token(&claims_with("exp", json!(s)));
    assert!(verify(&exp(NOW_S - 4), "lv_1", &tables(), NOW_S).is_ok());
    let error = verify(&exp(NOW_S - 5), "lv_1", &tables(), NOW_S).unwrap_err();
    assert_eq!(error.fault, AuthFault::Expired);
    assert_eq!(error.session_code(), SessionError::ExpiredAuthToken);
}

#[test]
fn a_token_from_the_future_is_refused_after_five_seconds_of_leeway() {
    for name in ["nbf", "iat"] {
        assert!(verify(&ed_token(&claims_with(name, json!(NOW_S + 5))), "lv_1", &tables(), NOW_S).is_ok(), "{name}");
        assert_eq!(fault_of(&claims_with(name, json!(NOW_S + 6))), AuthFault::NotYetValid, "{name}");
    }
}

#[test]
fn another_audience_is_refused() {
    for audience in [Value::Null, json!("upload"), json!([]), json!(["upload"])] {
        assert_eq!(fault_of(&claims_with("aud", audience.clone())), AuthFault::WrongAudience, "{audience}");
    }
    assert_eq!(fault_of(&claims_with("aud", json!({"playback": true}))), AuthFault::Unreadable);
}

#[test]
fn another_subject_is_refused() {
    for subject in [Value::Null, json!("lv_2"), json!("lv_nowhere"), json!("")] {
        assert_eq!(fault_of(&claims_with("sub", subject.clone())), AuthFault::WrongSubject, "{subject}");
    }
}

#[test]
fn a_resource_that_does_not_exist_is_refused() {
    let token = ed_token(&claims_with("sub", json!("lv_gone")));
    assert_eq!(verify(&token, "lv_gone", &tables(), NOW_S).unwrap_err().fault, AuthFault::UnknownResource);
}

#[test]
fn another_issuer_is_refused() {
    for issuer in [Value::Null, json!("org_b"), json!("")] {
        assert_eq!(fault_of(&claims_with("iss", issuer.clone())), AuthFault::WrongIssuer, "{issuer}");
    }
}

#[test]
fn a_key_of_another_org_is_refused_whoever_the_token_names() {
    for (issuer, expected) in [("org_a", AuthFault::WrongIssuer), ("org_b", AuthFault::UnknownResource)] {
        let header = json!({"alg": "EdDSA", "kid": "other_org"});
        let token = sign(&header, &claims_with("iss", json!(issuer)), &ED.private, Algorithm::EdDSA);
        assert_eq!(fault(&token), expected, "{issuer}");
    }
}

#[test]
fn a_resource_of_another_org_looks_like_one_that_does_not_exist() {
    let asked = |id: &str| {
        let token = ed_token(&claims_with("sub", json!(id)));
        verify(&token, id, &tables(), NOW_S).unwrap_err().reason()
    };
    assert_eq!(asked("lv_b"), asked("lv_gone"));
    // Nor does a token for something else tell what exists.
    let reason = |id: &str| verify(&ed_token(&claims()), id, &tables(), NOW_S).unwrap_err().reason();
    assert_eq!([reason("lv_2"), reason("lv_b")], [reason("lv_gone"), reason("lv_gone")]);
}

#[test]
fn an_id_that_is_switched_off_opens_nothing_whichever_side_names_it() {
    let off = |id: &'static str, path: &str, sub: &str| {
        let mut tables = tables();
        tables.resources.get_mut(id).unwrap().enabled = false;
        verify(&ed_token(&claims_with("sub", json!(sub))), path, &tables, NOW_S).map_err(|error| error.fault)
    };
    assert_eq!(off("pb_1", "lv_1", "pb_1").unwrap_err(), AuthFault::WrongSubject);
    assert_eq!(off("pb_1", "pb_1", "pb_1").unwrap_err(), AuthFault::UnknownResource);
    assert_eq!(off("lv_1", "pb_1", "pb_1").unwrap_err(), AuthFault::UnknownResource);
    assert!(off("pb_1", "lv_1", "lv_1").is_ok());
}

#[test]
fn a_restriction_of_a_wrong_type_is_refused_and_not_ignored() {
    for (name, value) in [
        ("renditions", json!("720p")),
        ("origins", json!([1])),
        ("ip", json!({})),
        ("max_sessions", json!(-1)),
        ("jti", json!(7)),
    ] {
        assert_eq!(fault_of(&claims_with(name, value)), AuthFault::Unreadable, "{name}");
    }
}

#[test]
fn every_refusal_says_auth_failed_and_nothing_of_the_token() {
    let tables = tables();
    let secretive = ed_token(&claims_with("sub", json!("lv_2")));
    for token in ["", "a.b.c", secretive.as_str(), &"x".repeat(5000)] {
        let error = verify(token, "lv_1", &tables, NOW_S).unwrap_err();
        let reason = error.reason();
        assert!(reason.starts_with("auth_failed: "), "{reason}");
        assert!(reason.len() > "auth_failed: ".len() && !reason.contains("lv_2"), "{reason}");
        if token.len() > 3 {
            assert!(!reason.contains(&token[..4]), "{reason}");
        }
    }
    assert_eq!(verify("", "lv_1", &tables, NOW_S).unwrap_err().session_code(), SessionError::Unauthorized);
    assert_eq!(verify("a.b.c", "lv_1", &tables, NOW_S).unwrap_err().session_code(), SessionError::Unauthorized);
}
