//! What the shard does for its HTTPS edge, and what the edge counts.

use std::mem;
use std::time::Instant;

use streams_contract::{Event, Protocol};

use super::{EncoderHandOver, Parcel, Shard};
use crate::broadcast::Admission;
use crate::edge::whip::Letter;
use crate::quic::TlsFiles;

/// Counts of the HTTPS edge and of WebRTC, kept by their tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct EdgeStats {
    /// HTTPS connections now.
    pub open: u64,
    /// HTTPS connections closed for newer ones, or for lack of a place.
    pub turned_away: u64,
    /// Requests answered.
    pub requests: u64,
    /// Of these, refused with a status from 400 on.
    pub refused: u64,
    /// WebRTC sessions now.
    pub webrtc_open: u64,
    /// WebRTC sessions that ended before they were connected.
    pub webrtc_failed: u64,
    /// Datagrams of WebRTC sessions.
    pub webrtc_datagrams: u64,
    /// Datagrams at the WebRTC port that are of no session.
    pub webrtc_strangers: u64,
}

/// The shard's part of the edge.
#[derive(Default)]
pub(super) struct EdgeSide {
    pub(super) stats: EdgeStats,
    /// How often the certificate was read again.
    pub(super) certificate_reloads: u64,
    /// From other shards.
    pub(super) letters: Vec<Letter>,
}

/// Whether somebody may send an offer for an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhipAdmission {
    /// This shard takes it.
    Here,
    /// Another shard is the input's home.
    Elsewhere(usize),
    /// There is no such input.
    Unknown,
    /// The key is not the input's.
    Unauthorized,
    /// The input is disabled.
    Disabled(String),
    /// The input takes another protocol.
    OtherKind(String),
    /// Nobody new is let in.
    Draining,
}

impl Shard {
    /// Counters that the edge's tasks keep.
    pub fn edge_stats(&mut self) -> &mut EdgeStats {
        &mut self.edge.stats
    }

    /// The certificate's files.
    pub fn tls_files(&self) -> &TlsFiles {
        &self.parts.tls
    }

    /// How often the certificate was read again.
    pub fn certificate_reloads(&self) -> u64 {
        self.edge.certificate_reloads
    }

    /// Encoders that other shards handed over.
    pub fn take_arrived(&mut self) -> Vec<EncoderHandOver> {
        mem::take(&mut self.arrived)
    }

    /// Letters of other shards.
    pub fn take_letters(&mut self) -> Vec<Letter> {
        mem::take(&mut self.edge.letters)
    }

    /// Sends a letter; false when that shard's box is full.
    pub fn send_letter(&mut self, to: usize, letter: Letter) -> bool {
        self.parts.mailboxes.get(to).is_some_and(|mailbox| mailbox.post(Parcel::Whip(letter)))
    }

    /// Checks a stream key for an input before an offer is looked at. The home is claimed when media begins.
    pub fn admit_whip(&mut self, input: &str, key: &str, peer: &str) -> WhipAdmission {
        if self.draining {
            return WhipAdmission::Draining;
        }
        self.tick_clock(Instant::now());
        self.apply_table_changes();
        let tables = self.parts.control.tables();
        if tables.input(input).is_none() {
            return WhipAdmission::Unknown;
        }
        let owner = tables.input_of_key(key, self.unix_ms).filter(|owner| owner.entry.id == input);
        let Some(owner) = owner else { return WhipAdmission::Unauthorized };
        match self.parts.inputs.admit(tables, &Protocol::Whip, key, self.unix_ms) {
            Admission::Here(owner) => {
                self.parts.inputs.unclaim(&owner);
                WhipAdmission::Here
            }
            Admission::Elsewhere(home) => WhipAdmission::Elsewhere(home),
            Admission::Refused { reason, .. } => {
                self.ingest.refused += 1;
                self.parts.inputs.refused(input, self.unix_ms, &reason);
                let (input, shard, peer) = (input.to_owned(), self.parts.shard, peer.to_owned());
                self.event(&Event::IngestRefused { input: Some(input), shard, reason: reason.clone(), peer });
                if owner.entry.enabled { WhipAdmission::OtherKind(reason) } else { WhipAdmission::Disabled(reason) }
            }
        }
    }
}
