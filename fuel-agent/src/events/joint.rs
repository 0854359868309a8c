//! Sums up transfers that run at the same time, for output with one line for all of them.

/// All transfers since the last step began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joint(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    what: String,
    done: u64,
    total: Option<u64>,
}

impl Joint {
    /// Records the progress of one transfer.
    pub fn moved(&mut self, what: &str, done: u64, total: Option<u64>) {
        match self.0.iter_mut().find(|part| part.what == what) {
            Some(part) => (part.done, part.total) = (done, total),
            None => self.0.push(Part {
                what: what.to_owned(),
                done,
                total,
            }),
        }
    }

    /// Removes all transfers.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether there are no transfers.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A short name for all of them.
    pub fn what(&self) -> String {
        match self.0.as_slice() {
            [] => String::new(),
            [only] => only.what.clone(),
            several => format!("{} images", several.len()),
        }
    }

    /// Bytes done, summed up.
    pub fn done(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, part| sum.saturating_add(part.done))
    }

    /// Bytes in all, if known for each.
    pub fn total(&self) -> Option<u64> {
        let totals = self.0.iter().map(|part| part.total);
        totals.reduce(|sum, total| sum?.checked_add(total?))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_transfers_are_reported_as_their_sum() {
        let mut joint = Joint::default();
        assert_eq!((joint.done(), joint.total()), (0, None));
        joint.moved("a", 1, Some(10));
        assert_eq!(joint.what(), "a");
        joint.moved("b", 2, Some(20));
        joint.moved("a", 5, Some(10));
        assert_eq!(joint.what(), "2 images");
        assert_eq!((joint.done(), joint.total()), (7, Some(30)));
        joint.moved("b", 2, None);
        assert_eq!(joint.total(), None);
        joint.clear();
        assert!(joint.is_empty());
    }
}
