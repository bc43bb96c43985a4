//! The floor: quiche alone, writing the same streams to as many connections with the engine's own settings. What the engine
//! needs beyond it is the engine's.

use std::time::Instant;

use bytes::Bytes;
use quiche::{ConnectionId, RecvInfo};
use streams_engine::quic::{Quic, SEND_PAYLOAD_LEN_MAX, TlsFiles, server_config};
use streams_relay_core::wire::Draft;

use super::check::{FIRST_MEDIA_STREAM, Object};
use super::crowd::Crowd;
use super::joining::{Joining, client_config};
use super::meter::Tally;
use super::receiver::{Depth, Established};
use super::sink::{FRAMES, JOIN_MAX, Side, server};
use crate::error::BenchError;
use crate::group;

/// As the engine's default.
const IDLE_TIMEOUT_MS: u64 = 30_000;
/// Bytes of a frame, as the engine's.
const FRAME_LEN: usize = 65_507;

/// A connection, and what quiche has not taken of the object.
struct Server {
    quic: Quic,
    rest: Option<Bytes>,
}

/// A visit's packets in their frame.
#[derive(Default)]
struct Visit {
    frame: Vec<u8>,
    packets: Vec<std::ops::Range<usize>>,
}

/// The connections and their viewers.
pub struct Floor {
    servers: Vec<Server>,
    visits: Vec<Visit>,
    answers: Vec<(usize, Vec<u8>)>,
    crowd: Crowd,
    stream: u64,
}

impl Floor {
    /// Connects the viewers.
    ///
    /// # Errors
    /// A handshake that fails.
    pub fn new(tls: &TlsFiles, viewers: usize, depth: Depth) -> Result<Self, BenchError> {
        let (mut server_config, mut client_config) = (server_config(tls, IDLE_TIMEOUT_MS)?, client_config()?);
        let (mut servers, mut established) = (Vec::with_capacity(viewers), Vec::with_capacity(viewers));
        for index in 0..viewers {
            let (quic, viewer) = connect(index, &mut server_config, &mut client_config)?;
            servers.push(Server { quic, rest: None });
            established.push(viewer);
        }
        let visits = (0..FRAMES).map(|_| Visit { frame: vec![0; FRAME_LEN], packets: Vec::new() });
        let crowd = Crowd::new(established, depth);
        Ok(Self { servers, visits: visits.collect(), answers: Vec::new(), crowd, stream: FIRST_MEDIA_STREAM })
    }

    /// Sends what the connections from `first` on have to send, as many as there are frames. False when there was nothing.
    fn send(&mut self, first: usize, fin: bool, tally: &mut Tally) -> Result<bool, BenchError> {
        let Self { servers, visits, stream, .. } = self;
        let chunk = servers.get_mut(first..).unwrap_or_default();
        let sent = tally.measure(|| {
            let mut any = false;
            for (server, visit) in chunk.iter_mut().zip(visits.iter_mut()) {
                server.write(*stream, fin)?;
                any |= server.send(visit)?;
            }
            Ok::<_, BenchError>(any)
        })?;
        for (index, visit) in visits.iter_mut().enumerate() {
            if visit.packets.is_empty() {
                continue;
            }
            tally.packets += visit.packets.len() as u64;
            tally.bytes += visit.packets.iter().map(|range| range.len() as u64).sum::<u64>();
            let packets = visit.packets.iter().filter_map(|range| visit.frame.get(range.clone()));
            self.crowd.take(super::joining::address(first + index), packets)?;
            visit.packets.clear();
        }
        Ok(sent)
    }

    /// The viewers' acknowledgements reach their connections.
    fn acknowledge(&mut self, tally: &mut Tally) {
        let Self { servers, answers, crowd, .. } = self;
        let mut count = 0;
        crowd.acknowledge(|from, packet| {
            if answers.len() == count {
                answers.push((0, Vec::new()));
            }
            if let (Some((to, buffer)), Some(index)) = (answers.get_mut(count), super::joining::index_at(from)) {
                *to = index;
                buffer.clear();
                buffer.extend_from_slice(packet);
                count += 1;
            }
        });
        tally.measure(|| {
            for (index, packet) in answers.iter_mut().take(count) {
                if let Some(server) = servers.get_mut(*index) {
                    let info = RecvInfo { from: super::joining::address(*index), to: super::sink::server() };
                    // A packet that quiche cannot open would leave data unacknowledged, and the next object stuck.
                    let _ = server.quic.recv(packet, info);
                }
            }
        });
    }
}

impl Server {
    fn write(&mut self, stream: u64, fin: bool) -> Result<(), BenchError> {
        let Some(bytes) = self.rest.take() else { return Ok(()) };
        match self.quic.stream_send_zc(stream, bytes.clone(), fin) {
            Ok((sent, _)) if sent < bytes.len() => self.rest = Some(bytes.slice(sent..)),
            Ok(_) => {}
            Err(quiche::Error::Done) => self.rest = Some(bytes),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn send(&mut self, visit: &mut Visit) -> Result<bool, BenchError> {
        let mut at = 0;
        while let Some(out) = visit.frame.get_mut(at..at + SEND_PAYLOAD_LEN_MAX) {
            match self.quic.send(out) {
                Ok((len, _)) => {
                    visit.packets.push(at..at + len);
                    at += len;
                }
                Err(quiche::Error::Done) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(at > 0)
    }
}

impl Side for Floor {
    fn object(&mut self, object: &Object, tally: &mut Tally) -> Result<(), BenchError> {
        self.crowd.check.publish(object);
        let mut bytes = Vec::new();
        if object.id == 0 {
            group::header(1, object.group).encode(Draft::D18, &mut bytes);
        }
        object.framed(false, &mut bytes);
        let bytes = Bytes::from(bytes);
        self.servers.iter_mut().for_each(|server| server.rest = Some(bytes.clone()));
        for first in (0..self.servers.len()).step_by(FRAMES) {
            while self.send(first, object.ends_group, tally)? {
                self.acknowledge(tally);
            }
        }
        if self.servers.iter().any(|server| server.rest.is_some()) {
            return Err(BenchError::Protocol("quiche alone did not take an object"));
        }
        if object.ends_group {
            self.stream += 4;
        }
        tally.objects += self.servers.len() as u64;
        self.crowd.check.settle();
        Ok(())
    }

    fn crowd(&self) -> &Crowd {
        &self.crowd
    }
}

/// The handshake of one viewer.
fn connect(
    index: usize,
    server_config: &mut quiche::Config,
    client_config: &mut quiche::Config,
) -> Result<(Quic, Established), BenchError> {
    let mut viewer = Joining::new(index, super::joining::address(index), server(), client_config, None)?;
    let mut id = [0xee; 16];
    id[..8].copy_from_slice(&(index as u64).to_be_bytes());
    let id = ConnectionId::from_ref(&id);
    let mut quic: Quic = quiche::accept_with_buf_factory(&id, None, server(), viewer.address(), server_config)?;
    let (deadline, mut packet) = (Instant::now() + JOIN_MAX, [0; 1_500]);
    loop {
        let mut quiet = true;
        let from = viewer.address();
        viewer.send(|packet| {
            quiet = false;
            // As above: what is lost here shows as a handshake that never ends.
            let _ = quic.recv(&mut packet.to_vec(), RecvInfo { from, to: server() });
        });
        while let Ok((len, _)) = quic.send(&mut packet) {
            quiet = false;
            viewer.take(packet.get_mut(..len).unwrap_or_default())?;
        }
        if quiet && viewer.is_done() && quic.is_established() {
            return Ok((quic, viewer.establish()?));
        }
        if Instant::now() > deadline {
            return Err(BenchError::TooLong { what: "a viewer's handshake", patience: JOIN_MAX });
        }
    }
}
