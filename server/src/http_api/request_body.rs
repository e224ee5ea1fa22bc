//! A request's body, read within bounds of size and time.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::problem::Problem;

/// Largest body, in bytes: what four events of the largest size any tenant may have need, or a hundred of 40 kB.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the body of a refused request is read on.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of the body of a refused request is read on, in bytes.
const DISCARD_BYTES_MAX: usize = 16 << 20;

/// The whole body, which has to be JSON by its content type.
pub async fn read_json(headers: &HeaderMap, body: &mut Body) -> Result<Bytes, Problem> {
    check_type(headers)?;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes: u64| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large(declared));
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(None)),
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "malformed", "the body ended before it was complete")),
        Err(_) => {
            let detail = format!("the body did not come within {} seconds", BODY_TIMEOUT.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail))
        }
    }
}

/// Reads on what a client may still be sending, so that it comes to read the answer.
pub async fn discard(headers: &HeaderMap, body: &mut Body) {
    // Whoever asked before sending has not begun to.
    if body.is_end_stream() || headers.contains_key(header::EXPECT) {
        return;
    }
    let rest = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    timeout(DISCARD_TIMEOUT, rest).await.ok();
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail| Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split_once(';').map_or(kind, |(kind, _)| kind).trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return unsupported("the body must be JSON: send the header Content-Type: application/json");
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return unsupported("the body must not be compressed: leave the header Content-Encoding away");
    }
    Ok(())
}

fn too_large(bytes: Option<u64>) -> Problem {
    let detail = "the body is too large: send fewer events at once";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_bytes_max", detail).with_numbers(Some(BODY_BYTES_MAX as u64), bytes)
}
