//! Which operating system is in an image.

use serde::{Deserialize, Serialize};

/// An operating system, as Fuel's YAML names it. In JSON it is the list of the three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, String, String)", into = "(String, String, String)")]
pub struct OperatingSystem {
    /// Its name, like `Ubuntu`.
    pub name: String,
    /// Major version, like `14`; `unknown` where only its kind is.
    pub major: String,
    /// Minor version, like `04`.
    pub minor: String,
}

impl OperatingSystem {
    /// From the three words.
    pub fn new(name: &str, major: &str, minor: &str) -> Self {
        Self::from((name.to_owned(), major.to_owned(), minor.to_owned()))
    }
}

impl From<(String, String, String)> for OperatingSystem {
    fn from((name, major, minor): (String, String, String)) -> Self {
        Self { name, major, minor }
    }
}

impl From<OperatingSystem> for (String, String, String) {
    fn from(system: OperatingSystem) -> Self {
        (system.name, system.major, system.minor)
    }
}
