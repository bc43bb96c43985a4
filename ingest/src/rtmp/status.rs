//! The error that tells an encoder why it is cut.

use rtmp_runtime::amf0::{Amf0Value, Command};
use rtmp_runtime::chunk::{ChunkWriter, Message};
use rtmp_runtime::message::msg_type;
use rtmp_runtime::server::DEFAULT_CHUNK_SIZE;

use crate::IngestError;

/// A chunk stream that the session's own replies never use, so that no header compression stands between them.
const STATUS_CHUNK_STREAM_ID: u32 = 5;
/// Longer reasons are cut: encoders show one line.
const REASON_LEN_MAX: usize = 256;

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

/// Appends an `onStatus` command of level `error` on message stream `stream_id`.
///
/// # Errors
/// [`IngestError::Rtmp`] when the command cannot be written.
pub fn write_error(stream_id: u32, code: StatusCode, reason: &str, out: &mut Vec<u8>) -> Result<(), IngestError> {
    let field = |name: &str, value: &str| (name.to_owned(), Amf0Value::String(value.to_owned()));
    let reason: String = reason.chars().take(REASON_LEN_MAX).collect();
    let status = Command {
        name: "onStatus".to_owned(),
        transaction_id: 0.0,
        arguments: vec![
            Amf0Value::Null,
            Amf0Value::Object(vec![field("level", "error"), field("code", code.text()), field("description", &reason)]),
        ],
    };
    let message = Message {
        chunk_stream_id: STATUS_CHUNK_STREAM_ID,
        timestamp: 0,
        message_type_id: msg_type::COMMAND_AMF0,
        message_stream_id: stream_id,
        payload: status.to_body()?,
    };
    let mut writer = ChunkWriter::new();
    writer.set_chunk_size(DEFAULT_CHUNK_SIZE);
    out.extend_from_slice(&writer.write(&message)?);
    Ok(())
}
