//! Profiles: all that shall go wrong in a run, by name or from a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reflexarc_drivers::link::{FaultError, FaultPlan, FaultRule};
use reflexarc_vla_model::policy::Policy;
use serde::{Deserialize, Serialize};

use super::policy::{FaultyPolicy, Pace, PolicyRule};

/// The profiles that ship.
const SHIPPED: &str = include_str!("../../faults.toml");

/// Everything that shall go wrong. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultProfile {
    /// What it is for, in a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Where all chances come from.
    pub seed: u64,
    /// Faults of the runtime's link.
    pub link: Vec<FaultRule>,
    /// Faults of the policy.
    pub policy: Vec<PolicyRule>,
}

/// Why a profile was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Neither a name nor a file.
    #[error("fault profile `{name}`: expected a file or one of: {}", FaultProfile::names().join(", "))]
    Unknown {
        /// What was given.
        name: String,
    },
    /// The file could not be read.
    #[error("cannot read the fault profile {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML or JSON, names an unknown key, or has a value of the wrong type.
    #[error("the fault profile does not parse: {message}")]
    Parse {
        /// The parser's words.
        message: String,
    },
    /// A rule of the link that cannot be.
    #[error(transparent)]
    Link(#[from] FaultError),
    /// A rule of the policy that cannot be.
    #[error("fault rule {rule} of the policy: {key} = {value}: expected {expected}")]
    Policy {
        /// The rule's place, from 1.
        rule: usize,
        /// The key.
        key: &'static str,
        /// The value found.
        value: f64,
        /// What would have been accepted.
        expected: &'static str,
    },
}

impl FaultProfile {
    /// The names of the profiles that ship, in alphabetical order.
    #[must_use]
    pub fn names() -> Vec<String> {
        shipped().into_keys().collect()
    }

    /// A profile that ships, or one in a file (`.json`, otherwise TOML).
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn load(name: &str) -> Result<Self, ProfileError> {
        if let Some(profile) = shipped().remove(name) {
            return Ok(profile);
        }
        let path = PathBuf::from(name);
        if !path.is_file() {
            return Err(ProfileError::Unknown { name: name.to_owned() });
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ProfileError::Read { path: path.clone(), source })?;
        if path.extension().is_some_and(|extension| extension == "json") {
            let profile: Self = serde_json::from_str(&text)
                .map_err(|error| ProfileError::Parse { message: error.to_string() })?;
            profile.validate()?;
            Ok(profile)
        } else {
            Self::parse(&text)
        }
    }

    /// Reads a TOML text.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let profile: Self =
            toml::from_str(text).map_err(|error| ProfileError::Parse { message: error.to_string() })?;
        profile.validate()?;
        Ok(profile)
    }

    /// Checks the values.
    ///
    /// # Errors
    /// [`ProfileError::Link`], [`ProfileError::Policy`].
    pub fn validate(&self) -> Result<(), ProfileError> {
        self.link_plan().validate()?;
        for (rule, fault) in (1..).zip(&self.policy) {
            fault.validate(rule)?;
        }
        Ok(())
    }

    /// The same profile with other chances.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The part for [`reflexarc_drivers::link::LinkFaults`].
    #[must_use]
    pub fn link_plan(&self) -> FaultPlan {
        FaultPlan { seed: self.seed, rules: self.link.clone() }
    }

    /// `policy` with this profile's faults, which begin at `start_ns` of the observations' time.
    #[must_use]
    pub fn spoil(&self, policy: Box<dyn Policy>, start_ns: u64, pace: Pace) -> FaultyPolicy {
        FaultyPolicy::new(policy, &self.policy, self.seed, start_ns, pace)
    }
}

fn shipped() -> BTreeMap<String, FaultProfile> {
    // A test reads the same text; were it broken, no profile would have a name.
    toml::from_str(SHIPPED).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn the_shipped_profiles_are_sound() {
        let shipped: BTreeMap<String, FaultProfile> = toml::from_str(SHIPPED).unwrap();
        assert!(shipped.len() >= 10);
        for (name, profile) in &shipped {
            profile.validate().unwrap();
            assert!(!profile.about.is_empty(), "{name}");
            assert!(!profile.link.is_empty() || !profile.policy.is_empty(), "{name}");
            assert_eq!(FaultProfile::load(name).unwrap(), *profile);
            let text = toml::to_string(profile).unwrap();
            assert_eq!(FaultProfile::parse(&text).unwrap(), *profile);
        }
    }

    #[test]
    fn what_is_no_profile_is_named() {
        let error = FaultProfile::load("lossy-netwrok").unwrap_err().to_string();
        assert!(error.contains("lossy-network"), "{error}");
        assert!(FaultProfile::parse("[[link]]\nlose = 1").unwrap_err().to_string().contains("lose"));
        let text = "[[policy]]\nfault = \"fail\"\nchance = 2.0";
        let error = FaultProfile::parse(text).unwrap_err().to_string();
        assert_eq!(error, "fault rule 1 of the policy: chance = 2: expected a chance from 0 to 1");
    }
}
