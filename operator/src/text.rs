//! Columns of text for a person, and the fields of an answer that go into them.

use serde_json::Value;

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
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_are_aligned_and_empty_values_are_left_out() {
        let rows = vec![vec!["lv_1".to_owned(), "Grüße".to_owned(), "idle".to_owned()]];
        assert_eq!(table(&["ID", "NAME", "STATUS"], &rows), "ID    NAME   STATUS\nlv_1  Grüße  idle\n");
        assert_eq!(pairs(&[("a", "1".into()), ("longer", String::new())]), "  a       1\n");
        assert_eq!(field(&json!({"urls": {"srt": null, "rtmp": "x"}}), "urls.rtmp"), "x");
    }
}
