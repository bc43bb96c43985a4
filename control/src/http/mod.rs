//! Control's HTTP servers: the REST API and the player page.
//!
//! ```text
//!  listener ▶ bounds on connections ([`connections`]) ▶ TLS or plain ([`servers`]) ▶ router ─┬▶ api   /v1, health, metrics
//!                                                                                            └▶ web   player page, its files
//! ```
//!
//! Nothing of the product is decided here: a handler reads a request, asks [`crate::resources`], and writes the answer.

pub mod api;
pub(crate) mod connections;
pub(crate) mod servers;
pub(crate) mod web;
