//! Which operating system upstream takes an image for, and the two things that it decides by that.

use crate::model::operating_system::OperatingSystem;
use crate::model::request::{Dialect, Request};
use crate::model::storage::RaidMetadata;

/// Systems that upstream knows by name in an image's YAML; others are ignored there.
const KNOWN: [&str; 3] = ["Ubuntu", "Centos", "OperatingSystem"];

/// Upstream's guess from the profile's name.
pub fn guess(profile: &str) -> OperatingSystem {
    let profile = profile.to_lowercase();
    if profile.contains("centos") {
        // Its `7` anywhere is upstream's own rule, `x86_7` included.
        if profile.contains('7') {
            OperatingSystem::new("Centos", "7", "0")
        } else {
            OperatingSystem::new("Centos", "6", "5")
        }
    } else if profile.contains("ubuntu") {
        let major = if profile.contains("1404") { "14" } else { "12" };
        OperatingSystem::new("Ubuntu", major, "4")
    } else {
        OperatingSystem::new("OperatingSystem", "unknown", "unknown")
    }
}

/// The system that counts: the one of the image's YAML where upstream knows its name, else the guess.
pub fn effective(profile: &str, image: Option<&OperatingSystem>) -> OperatingSystem {
    image
        .filter(|system| KNOWN.contains(&system.name.as_str()))
        .cloned()
        .unwrap_or_else(|| guess(profile))
}

fn is_centos6(system: &OperatingSystem) -> bool {
    system.name == "Centos" && system.major == "6"
}

/// The version of GRUB that upstream would use.
pub fn grub_version(system: &OperatingSystem) -> u32 {
    if is_centos6(system) { 1 } else { 2 }
}

/// The superblock format of md arrays.
pub fn raid_metadata(system: &OperatingSystem) -> RaidMetadata {
    if is_centos6(system) {
        RaidMetadata::V0_90
    } else {
        RaidMetadata::Default
    }
}

/// Does over again what was decided by the guess, now that the image's YAML (of the image for `/`) has been read.
pub fn refine(request: &mut Request, image: Option<&OperatingSystem>) {
    let system = effective(&request.boot.profile, image);
    request.boot.grub_version = grub_version(&system);
    if request.dialect != Dialect::NailgunSimple {
        for raid in &mut request.storage.raids {
            raid.metadata = raid_metadata(&system);
        }
    }
    request.boot.system = system;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guess_is_upstreams() {
        for (profile, name, major, minor) in [
            ("ubuntu_1404_x86_64", "Ubuntu", "14", "4"),
            ("Ubuntu_1604_x86_64", "Ubuntu", "12", "4"),
            ("ubuntu_bootstrap", "Ubuntu", "12", "4"),
            ("centos-x86_64", "Centos", "6", "5"),
            ("centos7-x86_64", "Centos", "7", "0"),
            ("CentOS-6.7", "Centos", "7", "0"),
            ("debian", "OperatingSystem", "unknown", "unknown"),
            ("", "OperatingSystem", "unknown", "unknown"),
        ] {
            assert_eq!(
                guess(profile),
                OperatingSystem::new(name, major, minor),
                "{profile}"
            );
        }
    }

    #[test]
    fn an_image_overrules_the_guess_only_with_a_known_name() {
        let six = OperatingSystem::new("Centos", "6", "8");
        assert_eq!(effective("ubuntu_1404", Some(&six)), six);
        let grub = OperatingSystem::new("Grub", "1", "0");
        assert_eq!(
            effective("ubuntu_1404", Some(&grub)),
            OperatingSystem::new("Ubuntu", "14", "4")
        );
        assert_eq!(
            (grub_version(&six), raid_metadata(&six)),
            (1, RaidMetadata::V0_90)
        );
        let seven = OperatingSystem::new("Centos", "7", "0");
        assert_eq!(
            (grub_version(&seven), raid_metadata(&seven)),
            (2, RaidMetadata::Default)
        );
    }
}
