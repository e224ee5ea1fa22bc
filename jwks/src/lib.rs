//! The keys that issuers publish: fetched from JWKS URLs (RFC 7517) and through OpenID Connect discovery, and kept fresh.
//!
//! [`Book`] decides what is fetched when, and what is thought of it: no I/O, the clock is handed in. [`Fetcher`] does it, bounded in time
//! and size, and connects only where [`AddressPolicy`] lets it. Who tenants are is no business of this crate.

mod address;
mod book;
mod connection;
mod discovery;
mod error;
mod fetcher;
mod freshness;
mod trust;

pub use address::{AddressPolicy, ParseError};
pub use book::{Book, Due, FETCHES_MAX, News};
pub use error::FetchError;
pub use fetcher::{Cache, Fetcher, Options, Success};
pub use trust::{TrustError, authorities, built_in};
