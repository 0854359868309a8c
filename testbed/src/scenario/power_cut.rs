//! A power cut in the worst moment: the node must not boot what is half there.

use anyhow::Result;

use super::install::{check_system, enter_pulled, is_done, wish};
use crate::happenings::{Happening, Source};
use crate::lab::Lab;
use crate::request::Layout;

/// Cuts the power while the image is written over an installed system, on a node that tries its disk before the network.
pub(super) fn power_cut(lab: &mut Lab) -> Result<()> {
    let wish = wish(lab, Layout::Lvm, 1)?;
    enter_pulled(lab, &wish)?;
    let mut shape = lab.shape(1, 512, 1);
    let node = lab.power_on(&shape)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    drop(node);
    // the orchestrator wants it installed again; the network is first this once
    enter_pulled(lab, &wish)?;
    let mark = lab.happenings.mark();
    let node = lab.power_on(&shape)?;
    let mark = lab.wait(mark, "the image to be written", is_image, |_| ())?;
    drop(node);
    // now the disk stands before the network, and nothing on it may start
    shape.disk_first = true;
    let node = lab.power_on(&shape)?;
    let mark = lab.wait(mark, "the completion after the power cut", is_done, |_| ())?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    drop(node);
    Ok(())
}

/// Whether the agent says that it writes the image.
fn is_image(happening: &Happening) -> bool {
    happening.source == Source::Console
        && happening.text.contains("image")
        && happening.text.contains('%')
}
