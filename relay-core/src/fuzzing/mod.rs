//! What a fuzzer calls: any bytes into one parser, and the rules that hold whatever comes out.
//!
//! Each function takes bytes of an outsider, panics when a rule is broken, and keeps nothing from call to call but keys.

mod relay;
mod tokens;

pub use relay::{relay_session, wire_control, wire_data};
pub use tokens::tokens;
