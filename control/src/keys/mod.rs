//! Signing keys of playback tokens: made, imported, sealed at rest, and used to mint.
//!
//! A *customer-held* key leaves in the answer that made it and only its public half stays. The one *server-held* key of
//! an organisation never leaves: its private half lies in the database, sealed by [`Vault`] with the key file of the
//! data directory, and `/playback-url` mints with it.

mod generate;
mod mint;
mod vault;

pub use generate::{Alg, KeyPair, import_public_key};
pub use mint::{Claims, TTL_MAX_S, TTL_MIN_S, mint};
pub use vault::Vault;
