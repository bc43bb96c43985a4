//! The list of tracks of one broadcast, which a viewer reads before anything else.
//!
//! One model, two documents: [`Catalog::to_json`] is the `.catalog` track (and `catalog.json` of an asset),
//! [`Catalog::to_msf_json`] is the `catalog` track for MSF players with CMAF packaging. Both carry the same init segments.

mod model;
mod msf;

pub use model::{Catalog, CatalogError, CatalogTrack, TrackKind};

/// Name of the track that carries [`Catalog::to_json`]; a new full catalog is a new group with one object.
pub const CATALOG_TRACK: &str = ".catalog";
/// Name of the track that carries [`Catalog::to_msf_json`] (MSF: "track name exactly `catalog`").
pub const MSF_CATALOG_TRACK: &str = "catalog";
