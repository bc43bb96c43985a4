//! RTMP connections that say nothing, or half a handshake, and stay.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;

use super::quic::pause;
use super::rtmp::hello;
use super::target::{Abuse, Going, Target, tcp_from};
use crate::error::BenchError;

/// Connections that are held at a time: more than a shard takes.
const HELD: usize = 1_024;
/// Addresses that they come from.
const ADDRESSES: usize = 64;

/// See the module.
pub struct HalfOpenRtmp;

impl Abuse for HalfOpenRtmp {
    fn key(&self) -> &'static str {
        "half_open_rtmp"
    }

    fn name(&self) -> &'static str {
        "half-open RTMP (9)"
    }

    fn run(&mut self, target: &Target, going: &Going) -> Result<(), BenchError> {
        let mut held: VecDeque<TcpStream> = VecDeque::new();
        let hello = hello();
        for index in (0..ADDRESSES).cycle() {
            if !going.on() {
                break;
            }
            if held.len() >= HELD {
                held.pop_front();
            }
            let Ok(mut socket) = tcp_from(index, target.rtmp) else {
                pause();
                continue;
            };
            // Every second one begins its handshake. The server may have closed it already.
            if index % 2 == 0 {
                let _ = socket.write_all(&hello);
            }
            held.push_back(socket);
            going.did();
        }
        Ok(())
    }
}
