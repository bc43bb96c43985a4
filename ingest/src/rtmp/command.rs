//! What a client asks for (RTMP 1.0 §7.2).

use super::amf::{AmfReader, AmfValue};
use crate::IngestError;

/// Values of a command, nested ones counted. Encoders send about twenty in `connect`.
const VALUES_MAX: usize = 1024;

/// A command that means something to an ingest server.
#[derive(Debug, PartialEq)]
pub enum Command {
    Connect {
        app: String,
    },
    CreateStream,
    /// `releaseStream`, `FCPublish`: wants an answer and nothing else.
    Courtesy,
    Publish {
        name: String,
    },
    /// `deleteStream`, `FCUnpublish`.
    End,
    Other,
}

/// Reads the body of a command message. The number says which answer belongs to it.
///
/// # Errors
/// [`IngestError::Command`] when it is no command, or lacks what its name asks for.
pub fn parse(body: &[u8]) -> Result<(Command, f64), IngestError> {
    let mut reader = AmfReader::new(body, VALUES_MAX);
    let Some(AmfValue::Text(name)) = reader.value() else {
        return Err(IngestError::Command { what: "a command does not begin with its name" });
    };
    let Some(AmfValue::Number(transaction)) = reader.value() else {
        return Err(IngestError::Command { what: "a command has no transaction number" });
    };
    let command = match name {
        b"connect" => {
            let missing = IngestError::Command { what: "connect names no application" };
            Command::Connect { app: app(&mut reader).ok_or(missing)? }
        }
        b"createStream" => Command::CreateStream,
        b"releaseStream" | b"FCPublish" => Command::Courtesy,
        b"publish" => {
            let missing = IngestError::Command { what: "publish names no stream" };
            Command::Publish { name: second_text(&mut reader).ok_or(missing)? }
        }
        b"deleteStream" | b"FCUnpublish" => Command::End,
        _ => Command::Other,
    };
    Ok((command, transaction))
}

/// `app` of the command object.
fn app(reader: &mut AmfReader<'_>) -> Option<String> {
    let AmfValue::Fields = reader.value()? else { return None };
    while let Some(name) = reader.field()? {
        let value = reader.value()?;
        if let (b"app", AmfValue::Text(app)) = (name, value) {
            return text(app);
        }
        reader.skip(value)?;
    }
    None
}

/// The argument behind the command object.
fn second_text(reader: &mut AmfReader<'_>) -> Option<String> {
    let object = reader.value()?;
    reader.skip(object)?;
    match reader.value()? {
        AmfValue::Text(name) => text(name),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}
