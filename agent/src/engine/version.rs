//! The version of the API that is spoken.

use std::fmt;

use super::error::EngineError;

/// The oldest API version that is spoken: the least that today's engines accept.
const OLDEST: ApiVersion = ApiVersion(1, 40);
/// The newest one that was read up on. A newer engine still serves it.
const NEWEST: ApiVersion = ApiVersion(1, 55);
/// A version of the Engine API, as in `/v1.41/containers/json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(u16, u16);

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        // A proxy may write it as a path has it.
        let (major, minor) = text.trim().trim_start_matches('v').split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }

    /// What both sides speak, or why there is no such version.
    pub fn negotiate(engine: Option<&str>) -> Result<Self, EngineError> {
        let told = engine.ok_or_else(|| {
            EngineError::NoEngine("it answers without an Api-Version: not a container engine".to_owned())
        })?;
        let version = Self::parse(told)
            .ok_or_else(|| EngineError::NoEngine(format!("its Api-Version {told:?} is not a version")))?;
        if version < OLDEST {
            return Err(EngineError::NoEngine(format!(
                "its API {version} is older than {OLDEST}, the oldest that is supported"
            )));
        }
        Ok(version.min(NEWEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_negotiated() {
        let negotiate = |text| ApiVersion::negotiate(text).map(|v| v.to_string());
        assert_eq!(negotiate(Some("1.41")).unwrap(), "1.41");
        assert_eq!(negotiate(Some("v1.41")).unwrap(), "1.41");
        assert_eq!(negotiate(Some("1.99")).unwrap(), NEWEST.to_string());
        assert_eq!(negotiate(Some("2.0")).unwrap(), NEWEST.to_string());
        for refused in [Some("1.39"), Some("one"), None] {
            assert!(negotiate(refused).is_err(), "{refused:?}");
        }
    }
}
