//! Limits: never more than allowed, every place given back, every refusal told.

mod connections;
mod rates;
