//! The setting `reverify`: what becomes of a node that is installed by its stamp, once its disks were compared.

use super::stages::Run;
use crate::events::Event;
use crate::model::error::{Error, Kind};
use crate::model::report::ReverifiedImage;
use crate::model::stage::Stage;
use crate::settings::Reverify;

impl Run<'_> {
    /// Compares the images of a node whose stamp is right with its disks, where the setting asks for it. `false`: the node
    /// is to be installed again.
    ///
    /// Only images that an installation leaves as it wrote them decide: any other differs on every node, which is told
    /// and means nothing by itself.
    pub(super) fn is_as_written(&mut self) -> Result<bool, Error> {
        let policy = self.about.settings.reverify;
        if policy == Reverify::No {
            return Ok(true);
        }
        let found = self.executor.reverify(self.preflight.known.plan()?)?;
        let decides = |it: &ReverifiedImage| it.left_as_written && it.compared.is_some();
        let (mut differing, mut is_decided) = (Vec::new(), false);
        for (image, error) in found {
            self.tell(&image);
            is_decided |= decides(&image);
            if image.left_as_written && image.differs() {
                differing.push(image.to_string());
            }
            self.progress.reverified.push(image);
            if let (Some(error), true) = (error, policy != Reverify::Report) {
                return Err(error);
            }
        }
        if !is_decided && policy != Reverify::Report {
            let what = "`reverify` decides nothing here: no image of this request can be compared that an \
                        installation leaves as it wrote it";
            self.preflight.warn(Stage::Validate, what.to_owned());
        }
        match policy {
            Reverify::Fail if !differing.is_empty() => {
                let what = format!("the node was changed: {}", differing.join("; "));
                let hint = "find out what changed it; `reinstall` installs it again";
                Err(Error::new(Kind::Refused, what).hint(hint))
            }
            Reverify::Reinstall => Ok(differing.is_empty()),
            Reverify::No | Reverify::Report | Reverify::Fail => Ok(true),
        }
    }

    fn tell(&mut self, image: &ReverifiedImage) {
        let expected = if image.left_as_written {
            ""
        } else {
            " (the installation itself changes it)"
        };
        let message = format!("{image}{expected}");
        if image.left_as_written && (image.differs() || image.compared.is_none()) {
            self.preflight.warn(Stage::Validate, message);
        } else {
            let stage = Stage::Validate;
            self.events.emit(&Event::Note { stage, message });
        }
    }
}
