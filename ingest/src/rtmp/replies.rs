//! What an encoder is answered.

use rtmp_runtime::amf0::{Amf0Value, Command};
use rtmp_runtime::chunk::{ChunkWriter, Message};
use rtmp_runtime::message::{LimitType, ProtocolControl, UserControl, msg_type};

use crate::IngestError;

/// Chunk size of answers, told with the answer to `connect`.
const CHUNK_LEN: u32 = 4096;
/// Bytes after which either side wants an acknowledgement.
pub const WINDOW_LEN: u32 = 2_500_000;
/// The chunk stream of answers to commands: customary, the text leaves it open.
const COMMAND_CHUNK_STREAM_ID: u32 = 3;
/// Longer reasons are cut: encoders show one line.
const REASON_LEN_MAX: usize = 256;
/// What clients want to see in the answer to `connect`, and do not read.
const SERVER_VERSION: &str = "FMS/3,0,1,123";
const SERVER_CAPABILITIES: f64 = 31.0;

/// Enhanced RTMP v2: packets with extensions of their header are understood.
const CAPS_MOD_EX: f64 = 4.0;
/// Enhanced RTMP v2: the codec is passed on as it is, neither decoded nor encoded.
const CAN_FORWARD: f64 = 4.0;
const VIDEO_FOUR_CCS: [&str; 4] = ["avc1", "hvc1", "av01", "vp09"];
const AUDIO_FOUR_CCS: [&str; 2] = ["mp4a", "Opus"];

/// What kind of end it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusCode {
    /// The stream key is wrong, or the input may not be published to.
    BadName,
    /// The publish was accepted, but what came cannot be used.
    Rejected,
}

impl StatusCode {
    fn text(self) -> &'static str {
        match self {
            Self::BadName => "NetStream.Publish.BadName",
            Self::Rejected => "NetStream.Publish.Rejected",
        }
    }
}

/// Writes one connection's answers.
#[derive(Debug)]
pub struct Replies {
    writer: ChunkWriter,
}

impl Replies {
    pub fn new() -> Self {
        Self { writer: ChunkWriter::new() }
    }

    /// The answer to `connect`.
    ///
    /// # Errors
    /// [`IngestError::Rtmp`] when it cannot be written, as with all of these.
    pub fn connected(&mut self, stream_id: u32, transaction: f64, out: &mut Vec<u8>) -> Result<(), IngestError> {
        self.control(ProtocolControl::WindowAckSize(WINDOW_LEN), out)?;
        let limit = ProtocolControl::SetPeerBandwidth { ack_window_size: WINDOW_LEN, limit_type: LimitType::Dynamic };
        self.control(limit, out)?;
        self.control(ProtocolControl::SetChunkSize(CHUNK_LEN), out)?;
        self.writer.set_chunk_size(CHUNK_LEN);
        let server = Amf0Value::Object(vec![
            text("fmsVer", SERVER_VERSION),
            ("capabilities".to_owned(), Amf0Value::Number(SERVER_CAPABILITIES)),
            ("capsEx".to_owned(), Amf0Value::Number(CAPS_MOD_EX)),
            ("fourCcList".to_owned(), four_ccs()),
            ("videoFourCcInfoMap".to_owned(), forwarded(&VIDEO_FOUR_CCS)),
            ("audioFourCcInfoMap".to_owned(), forwarded(&AUDIO_FOUR_CCS)),
        ]);
        let status = status("status", "NetConnection.Connect.Success", "Connection succeeded.");
        self.result(stream_id, transaction, vec![server, status], out)
    }

    /// `_result` with `arguments`.
    ///
    /// # Errors
    /// [`IngestError::Rtmp`].
    pub fn result(
        &mut self,
        stream_id: u32,
        transaction: f64,
        arguments: Vec<Amf0Value>,
        out: &mut Vec<u8>,
    ) -> Result<(), IngestError> {
        self.command(stream_id, Command { name: "_result".to_owned(), transaction_id: transaction, arguments }, out)
    }

    /// The publish is accepted: the client starts to send.
    ///
    /// # Errors
    /// [`IngestError::Rtmp`].
    pub fn start(&mut self, stream_id: u32, out: &mut Vec<u8>) -> Result<(), IngestError> {
        out.extend_from_slice(&self.writer.write(&UserControl::StreamBegin(stream_id).to_message())?);
        self.on_status(stream_id, status("status", "NetStream.Publish.Start", "The stream is published."), out)
    }

    /// The publish is refused or ended.
    ///
    /// # Errors
    /// [`IngestError::Rtmp`].
    pub fn refuse(
        &mut self,
        stream_id: u32,
        code: StatusCode,
        reason: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), IngestError> {
        let reason: String = reason.chars().take(REASON_LEN_MAX).collect();
        self.on_status(stream_id, status("error", code.text(), &reason), out)
    }

    /// So many bytes have come (modulo 2^32, §5.4.3).
    ///
    /// # Errors
    /// [`IngestError::Rtmp`].
    pub fn acknowledge(&mut self, received_len: u64, out: &mut Vec<u8>) -> Result<(), IngestError> {
        self.control(ProtocolControl::Acknowledgement(received_len as u32), out)
    }

    fn on_status(&mut self, stream_id: u32, status: Amf0Value, out: &mut Vec<u8>) -> Result<(), IngestError> {
        let arguments = vec![Amf0Value::Null, status];
        self.command(stream_id, Command { name: "onStatus".to_owned(), transaction_id: 0.0, arguments }, out)
    }

    fn command(&mut self, stream_id: u32, command: Command, out: &mut Vec<u8>) -> Result<(), IngestError> {
        let message = Message {
            chunk_stream_id: COMMAND_CHUNK_STREAM_ID,
            timestamp: 0,
            message_type_id: msg_type::COMMAND_AMF0,
            message_stream_id: stream_id,
            payload: command.to_body()?,
        };
        out.extend_from_slice(&self.writer.write(&message)?);
        Ok(())
    }

    fn control(&mut self, control: ProtocolControl, out: &mut Vec<u8>) -> Result<(), IngestError> {
        out.extend_from_slice(&self.writer.write(&control.try_to_message()?)?);
        Ok(())
    }
}

/// Enhanced RTMP v1's list of codecs.
fn four_ccs() -> Amf0Value {
    let names = VIDEO_FOUR_CCS.iter().chain(&AUDIO_FOUR_CCS);
    Amf0Value::StrictArray(names.map(|name| Amf0Value::String((*name).to_owned())).collect())
}

/// Enhanced RTMP v2's map of codecs.
fn forwarded(four_ccs: &[&str]) -> Amf0Value {
    Amf0Value::Object(four_ccs.iter().map(|name| ((*name).to_owned(), Amf0Value::Number(CAN_FORWARD))).collect())
}

fn text(name: &str, value: &str) -> (String, Amf0Value) {
    (name.to_owned(), Amf0Value::String(value.to_owned()))
}

fn status(level: &str, code: &str, description: &str) -> Amf0Value {
    Amf0Value::Object(vec![text("level", level), text("code", code), text("description", description)])
}
