//! Handshakes that answer a Retry and then fall silent, from one address.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::quic::{Stranger, pause};
use super::target::{Abuse, Going, Target};
use crate::error::BenchError;
use crate::fanout::joining::client_config;

/// Handshakes that wait for the server's first answer at a time.
const IN_FLIGHT: usize = 64;
/// Longest wait for it.
const ANSWER_MAX: Duration = Duration::from_millis(200);

/// See the module.
pub struct HalfOpenQuic;

impl Abuse for HalfOpenQuic {
    fn key(&self) -> &'static str {
        "half_open_quic"
    }

    fn name(&self) -> &'static str {
        "half-open handshakes (8)"
    }

    fn run(&mut self, target: &Target, going: &Going) -> Result<(), BenchError> {
        let mut config = client_config()?;
        let mut waiting: VecDeque<(Stranger, Instant)> = VecDeque::new();
        while going.on() {
            while waiting.len() < IN_FLIGHT {
                let mut stranger = Stranger::new(0, target, None, &mut config)?;
                stranger.step(&mut |_, _| ());
                waiting.push_back((stranger, Instant::now()));
            }
            let before = waiting.len();
            waiting.retain_mut(|(stranger, since)| {
                if stranger.answers_retry() {
                    going.did();
                    return false;
                }
                since.elapsed() < ANSWER_MAX
            });
            if waiting.len() == before {
                pause();
            }
        }
        Ok(())
    }
}

impl Stranger {
    /// Reads one answer of the server: a Retry is answered with the Initial that has its token, anything else with silence. True
    /// when the server keeps a half-open handshake from now on.
    fn answers_retry(&mut self) -> bool {
        match self.receive_one() {
            None => false,
            Some(first) if is_retry(first) => {
                self.flush();
                true
            }
            Some(_) => true,
        }
    }
}

/// Long header, type 3 (RFC 9000 §17.2.5).
fn is_retry(first: u8) -> bool {
    first & 0xf0 == 0xf0
}
