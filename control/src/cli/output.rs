//! What the command prints: one JSON object, or text for a person.

use std::io::{self, Write};

use serde_json::{Value, json};
use streams_sdk::PlayErrorKind;

use crate::Error;

/// Where results and errors go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// `json`: one object a command.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads this.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result: as JSON, or as `text` makes it.
    pub fn show(&self, value: &Value, text: impl FnOnce() -> String) -> Result<(), Error> {
        let text = if self.json { format!("{value:#}\n") } else { text() };
        print(&text)
    }

    /// A line about progress, beside the result.
    pub fn note(&self, line: &str) {
        // Nobody to tell when standard error is closed.
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// An error: with `--json` an object on standard error too, so that standard output holds results alone.
    pub fn error(&self, error: &Error) {
        let kind = match error {
            Error::Api { kind, .. } => kind.as_str(),
            Error::Unreachable { .. } | Error::NoCredentials { .. } | Error::NoEngine { .. } => "unreachable",
            Error::Play(error) => match error.kind {
                PlayErrorKind::Usage => "usage",
                PlayErrorKind::NotFound => "not_found",
                PlayErrorKind::Auth => "auth_failed",
                PlayErrorKind::Unreachable => "unreachable",
                PlayErrorKind::Untrusted => "untrusted",
                PlayErrorKind::Failed => "failed",
            },
            Error::Usage(_) | Error::Config(_) | Error::NoDataDir => "usage",
            _ => "failed",
        };
        let line = match self.json {
            true => json!({ "error": { "type": kind, "detail": error.to_string() } }).to_string(),
            false => format!("streams: {error}"),
        };
        self.note(&line);
    }
}

/// Prints to standard output. A reader that went away (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::file("write to", "standard output")(error))
        }
        _ => Ok(()),
    }
}

/// Rows under a head, columns as wide as their widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec())).chain(body).collect()
}

/// Names and values, aligned; pairs without a value are left out.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let shown = pairs.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("  {name:<width$}  {value}\n")).collect()
}

/// A field of a JSON object as text; empty when it is absent or null.
pub fn field(value: &Value, name: &str) -> String {
    match value.pointer(&format!("/{}", name.replace('.', "/"))) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_empty_values_are_left_out() {
        let rows = vec![vec!["lv_1".to_owned(), "Grüße".to_owned(), "idle".to_owned()]];
        assert_eq!(table(&["ID", "NAME", "STATUS"], &rows), "ID    NAME   STATUS\nlv_1  Grüße  idle\n");
        assert_eq!(pairs(&[("a", "1".into()), ("longer", String::new())]), "  a       1\n");
        assert_eq!(field(&json!({"urls": {"srt": null, "rtmp": "x"}}), "urls.rtmp"), "x");
    }
}
