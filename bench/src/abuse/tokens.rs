//! Messages full of tokens: forged ones of a real key, each of which costs a check of its signature, and a good one behind them, so
//! that the session stays.

use std::time::Duration;

use streams_relay_core::client::{Join, SubscribeRequest};
use streams_relay_core::wire::{AuthToken, FullTrackName, Parameters};

use super::quic::Stranger;
use super::target::{Abuse, Going, Target};
use crate::error::BenchError;
use crate::fanout::joining::client_config;

/// Tokens in a message: as many of the usual length as fit into its 63 KiB.
const TOKENS: usize = 480;
/// Bytes that they may have together.
const TOKENS_LEN_MAX: usize = 62 << 10;
/// Base64 of 64 bytes, as Ed25519 signs.
const SIGNATURE_LEN: usize = 86;
/// Lengths and types in front of a token.
const TOKEN_HEAD_LEN: usize = 6;
/// How long a handshake and the offer of a namespace may take.
const OFFER_MAX: Duration = Duration::from_secs(5);
/// How long one message may take to be read.
const READ_MAX: Duration = Duration::from_millis(50);

/// See the module.
pub struct Tokens;

impl Abuse for Tokens {
    fn key(&self) -> &'static str {
        "tokens"
    }

    fn name(&self) -> &'static str {
        "messages of 480 tokens (15)"
    }

    fn run(&mut self, target: &Target, going: &Going) -> Result<(), BenchError> {
        let mut config = client_config()?;
        let path = &target.playback.path;
        let token = path.split_once("tok=").map(|(_, token)| token).unwrap_or_default();
        for index in (0..usize::from(u8::MAX)).cycle() {
            if !going.on() {
                break;
            }
            let mut stranger = Stranger::new(index, target, Some(path), &mut config)?;
            let offered = stranger.wait_offer(OFFER_MAX, going);
            let track = offered.map(|namespace| FullTrackName::new(namespace, "video/none"));
            let Some(Ok(track)) = track else { continue };
            while going.on() && !stranger.is_over() {
                let subscribe = SubscribeRequest { join: Join::NextObject, ..SubscribeRequest::live(track.clone()) };
                let tokens = forged(token);
                stranger.ask(|client| {
                    let request = client.subscribe(subscribe);
                    client.update(request, Parameters { auth_tokens: tokens, ..Parameters::default() });
                });
                going.did();
                stranger.rest(READ_MAX);
            }
        }
        Ok(())
    }
}

/// Tokens that say nothing and are signed by nobody, with the header of `token`, and `token` itself.
fn forged(token: &str) -> Vec<AuthToken> {
    let header = token.split('.').next().unwrap_or_default();
    // The last character of a signature holds two bits of it; A leaves the others zero, as they have to be.
    let forged = |number: usize| format!("{header}.e30.{number:A<SIGNATURE_LEN$}");
    let len_max = TOKENS_LEN_MAX - token.len();
    let count = TOKENS.min(len_max / (forged(0).len() + TOKEN_HEAD_LEN));
    (0..count).map(forged).chain([token.to_owned()]).map(|token| AuthToken::playback(&token)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forged_tokens_have_the_form_of_real_ones_and_fit_into_a_message() {
        let real = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.body.signature";
        let tokens = forged(real);
        assert_eq!(tokens.last(), Some(&AuthToken::playback(real)));
        assert!(tokens.len() > 300, "{}", tokens.len());
        let AuthToken::UseValue { value, .. } = &tokens[7] else { panic!("it is no token") };
        let parts: Vec<&[u8]> = value.split(|byte| *byte == b'.').collect();
        assert_eq!((parts.len(), parts[1], parts[2].len()), (3, &b"e30"[..], SIGNATURE_LEN));
        assert!(parts[2].starts_with(b"7A") && parts[2].ends_with(b"A"));
        let len: usize = tokens.len() * (value.len() + TOKEN_HEAD_LEN);
        assert!(len <= TOKENS_LEN_MAX);
    }
}
