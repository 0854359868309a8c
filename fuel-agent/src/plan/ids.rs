//! Where new identifiers come from: random in a run, counted in tests, so that a plan is the same twice.

use uuid::Uuid;

/// Source of identifiers.
pub trait Ids {
    /// An identifier never given before.
    fn uuid(&mut self) -> Uuid;
}

/// Identifiers that count: the same ones every time, well-formed, and distinct. For tests and for plans that are only
/// shown.
#[derive(Clone, Debug, Default)]
pub struct CountedIds(u64);

impl Ids for CountedIds {
    fn uuid(&mut self) -> Uuid {
        self.0 += 1;
        uuid::Builder::from_custom_bytes(u128::from(self.0).to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_ids_are_valid_and_differ() {
        let mut ids = CountedIds::default();
        let (a, b) = (ids.uuid(), ids.uuid());
        assert_ne!(a, b);
        assert_eq!(a.to_string(), "00000000-0000-8000-8000-000000000001");
    }
}
