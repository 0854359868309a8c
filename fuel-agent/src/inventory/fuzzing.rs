//! A door for the fuzzer: what tools, udev and the kernel answer about disks of earlier tenants.

use super::{answers, identity, machine, udev};

/// Reads `output` as the answer of each tool in turn.
pub fn answers(status: i32, output: &[u8]) {
    let text = &*String::from_utf8_lossy(output);
    let signature = answers::parse_blkid(status, text);
    assert!(signature.kind.is_none_or(|kind| !kind.is_empty()));
    if let Some(found) = answers::parse_mdadm(text) {
        let array = answers::Array::of(found);
        let name = array.node.strip_prefix("/dev/md/").unwrap_or_default();
        assert!(!name.is_empty() && name != ".." && !name.contains('/'));
    }
    for volume in answers::parse_pvs(text).unwrap_or_default() {
        assert!(volume.device.starts_with('/') && !volume.group.is_empty());
    }
    let record = udev::Record::parse(text);
    for key in ["ID_SERIAL", "ID_MODEL", "ID_FS_TYPE", "ID_FS_LABEL"] {
        let _ = (record.get(key), record.decoded(key));
    }
    let _ = machine::parse_memory(text);
    let _ = (identity::wwn(text), identity::natural_order(text));
    let _ = (
        identity::transport(text, text),
        identity::vpd_serial(output),
    );
}
