//! Catalogs: what was read can be printed and read again.

use crate::catalog::{Catalog, CatalogError};

/// Reads a catalog and prints it in both forms.
pub fn catalog(data: &[u8]) {
    let Ok(read) = Catalog::from_json(data) else { return };
    let init_segments = read.tracks.iter().map(|track| track.init_bytes());
    let readable = init_segments.filter(Result::is_ok).count();
    assert!(readable <= read.tracks.len());
    if let Some(first) = read.tracks.first() {
        assert_eq!(read.track(&first.name).map(|track| &track.name), Some(&first.name));
    }
    let _ = read.to_msf_json(1_800_000_000_000);
    let Ok(printed) = read.to_json() else { return };
    let again = Catalog::from_json(&printed);
    // Numbers may take more room than they came in.
    assert!(matches!(&again, Ok(_) | Err(CatalogError::TooLong { .. })), "{again:?}");
    if let Ok(again) = again {
        let names = |catalog: &Catalog| catalog.tracks.iter().map(|track| track.name.clone()).collect::<Vec<_>>();
        assert_eq!((again.live, names(&again)), (read.live, names(&read)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_is_read_and_printed() {
        catalog(br#"{"version":1,"live":true,"tracks":[{"name":"audio","kind":"audio","codec":"opus","init":"!"}]}"#);
        catalog(b"{}");
    }
}
