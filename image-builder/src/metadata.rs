//! The YAML that lies beside an image and that Fuel's agents and ours read: sizes and digests of the raw data.

use os_image::metadata::{Image, Metadata, MetadataError, System};

use crate::tally::Tallies;

/// The document for an image whose packed forms are `NAME.img.gz` and `NAME.img.zst`.
///
/// `raw_sha256` and `container_sha256` are ours, and ignored by upstream's agents.
pub(crate) fn fuel_yaml(
    name: &str,
    packages: &[String],
    tallies: &Tallies,
) -> Result<String, MetadataError> {
    let forms = [
        ("img.gz", "gzip", &tallies.gz),
        ("img.zst", "zstd", &tallies.zst),
    ];
    let images = forms.map(|(suffix, container, tally)| Image {
        container_name: format!("{name}.{suffix}"),
        container: Some(container.to_owned()),
        container_size: Some(tally.size.0),
        container_md5: Some(tally.md5.clone()),
        container_sha256: Some(tally.sha256.clone()),
        format: Some("ext4".to_owned()),
        raw_name: None,
        raw_size: Some(tallies.raw.size.0),
        raw_md5: Some(tallies.raw.md5.clone()),
        raw_sha256: Some(tallies.raw.sha256.clone()),
    });
    let system = System {
        name: "Debian".to_owned(),
        major: "12".to_owned(),
        minor: "0".to_owned(),
    };
    let metadata = Metadata {
        system: Some(system),
        packages: packages.to_vec(),
        images: images.to_vec(),
        ..Metadata::default()
    };
    metadata.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;
    use host::units::Bytes;

    #[test]
    fn what_is_written_is_what_an_agent_reads() {
        let tally = |n: u8| Tally {
            size: Bytes(n.into()),
            md5: format!("{n:032x}"),
            sha256: format!("{n:064x}"),
        };
        let tallies = Tallies {
            raw: tally(1),
            gz: tally(2),
            zst: tally(3),
        };
        let text = fuel_yaml("debian-12", &["lvm2".to_owned()], &tallies).unwrap();
        let read = Metadata::parse(&text).unwrap();
        let image = read.image("debian-12.img.zst").unwrap();
        assert_eq!(image.raw_size, Some(1));
        assert_eq!(
            image.raw_sha256.as_deref(),
            Some(tallies.raw.sha256.as_str())
        );
        assert_eq!(
            image.container_md5.as_deref(),
            Some(tallies.zst.md5.as_str())
        );
    }
}
