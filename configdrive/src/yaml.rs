//! YAML that YAML 1.1 readers (cloud-init's PyYAML) read back unchanged.

use serde::Serialize;

/// A value that YAML cannot represent; never returned for the values of this crate.
#[derive(Debug, thiserror::Error)]
#[error("cannot write as YAML: {0}")]
pub struct YamlError(String);

/// The value as a YAML document. Long lines are never folded, so that they can be copied from the file.
pub(crate) fn render(value: &impl Serialize) -> Result<String, YamlError> {
    let options = serde_saphyr::ser_options! {
        compact_list_indent: true,
        folded_wrap_chars: usize::MAX,
        prefer_block_scalars: true,
    };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, value, options)
        .map_err(|e| YamlError(e.to_string()))?;
    Ok(text)
}

/// A cloud-config document: the header that cloud-init looks for, then the value.
pub fn cloud_config(value: &impl Serialize) -> Result<String, YamlError> {
    Ok(format!("#cloud-config\n{}", render(value)?))
}
