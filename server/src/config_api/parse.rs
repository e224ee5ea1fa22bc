//! From the bytes of a push to what it says, if it is of a version that is spoken here.

use carillon_tenant::{
    protocol::{Versions, version_of},
    push::{Delta, Snapshot},
};
use http::StatusCode;
use serde::de::DeserializeOwned;

use super::{Refused, malformed, refused};

/// A push, of whatever version.
pub trait Push: DeserializeOwned + Send + 'static {
    /// Its version.
    fn protocol_version(&self) -> u32;
}

impl Push for Snapshot {
    fn protocol_version(&self) -> u32 {
        self.protocol_version
    }
}

impl Push for Delta {
    fn protocol_version(&self) -> u32 {
        self.protocol_version
    }
}

/// Reads a push of one of the versions `spoken`.
pub fn parse<P: Push>(body: &[u8], spoken: Versions) -> Result<P, Refused> {
    let other_version = |version: u32| {
        let message = format!("this server speaks {spoken} of the protocol, the push is of version {version}");
        refused(StatusCode::BAD_REQUEST, "protocol_version", message)
    };
    match serde_json::from_slice::<P>(body) {
        Ok(push) if spoken.contains(push.protocol_version()) => Ok(push),
        Ok(push) => Err(other_version(push.protocol_version())),
        // A push of another version may hold anything else.
        Err(error) => match version_of(body) {
            Some(version) if !spoken.contains(version) => Err(other_version(version)),
            _ => Err(malformed(describe::<P>(body, &error))),
        },
    }
}

/// Where a body is wrong, and in which way. The parser's own words may quote what they found, and that may be a key.
fn describe<P: Push>(body: &[u8], error: &serde_json::Error) -> String {
    let path = serde_path_to_error::deserialize::<_, P>(&mut serde_json::Deserializer::from_slice(body)).err();
    let path = path.map(|error| error.path().to_string()).unwrap_or_default();
    let problem = match error.classify() {
        serde_json::error::Category::Data => "is not what the protocol says",
        _ => "is not JSON",
    };
    format!("{path} {problem}, at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SNAPSHOT: &str = include_str!("../../../tenant/golden/snapshot.json");
    const DELTA: &str = include_str!("../../../tenant/golden/delta.json");

    fn of_version(push: &str, version: u32) -> Vec<u8> {
        let mut push: Value = serde_json::from_str(push).unwrap();
        push["protocolVersion"] = json!(version);
        push.to_string().into_bytes()
    }

    #[test]
    fn pushes_of_every_spoken_version_are_read_and_others_told_which_those_are() {
        let spoken = Versions { minimum: 2, maximum: 3 };
        for version in [2, 3] {
            assert_eq!(parse::<Snapshot>(&of_version(SNAPSHOT, version), spoken).unwrap().protocol_version, version);
            assert_eq!(parse::<Delta>(&of_version(DELTA, version), spoken).unwrap().protocol_version, version);
        }
        for version in [1, 4] {
            let Refused(status, error) = parse::<Snapshot>(&of_version(SNAPSHOT, version), spoken).unwrap_err();
            assert_eq!((status, error.code.as_str()), (StatusCode::BAD_REQUEST, "protocol_version"));
            let told = format!("this server speaks versions 2 to 3 of the protocol, the push is of version {version}");
            assert_eq!(error.message, told);
        }
        let other = json!({"protocolVersion": 4, "world": {}}).to_string();
        assert_eq!(parse::<Delta>(other.as_bytes(), spoken).unwrap_err().1.code, "protocol_version");
        let unknown = json!({"protocolVersion": 3, "world": {}}).to_string();
        assert_eq!(parse::<Delta>(unknown.as_bytes(), spoken).unwrap_err().1.code, "malformed");
    }
}
