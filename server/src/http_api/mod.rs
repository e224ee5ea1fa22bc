//! The HTTP API of the public port.

use std::sync::Arc;

use axum::Router;

use crate::core::Core;

/// The routes.
pub fn router(_core: Arc<Core>) -> Router {
    Router::new()
}
