//! How many values a document holds, found out without keeping any: in memory each takes many times the bytes that it
//! takes in the text, in keys that nothing reads too.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The most values that a document may hold; those of a thousand disks are a tenth of it.
pub(crate) const MOST_VALUES: usize = 200_000;

/// Part of serde's error for a document with more values, by which it is recognised.
pub(crate) const TOO_MANY: &str = "more values than are read";

/// The number of values, itself included; at most [`MOST_VALUES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Counter)
    }
}

struct Counter;

impl Counter {
    fn add<E: Error>(sum: usize, Count(more): Count) -> Result<usize, E> {
        let sum = sum.checked_add(more).filter(|sum| *sum <= MOST_VALUES);
        sum.ok_or_else(|| E::custom(TOO_MANY))
    }
}

impl<'de> Visitor<'de> for Counter {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Count, E> {
        Ok(Count(1))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Count, E> {
        Ok(Count(1))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Count, E> {
        Ok(Count(1))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Count, E> {
        Ok(Count(1))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Count, E> {
        Ok(Count(1))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Count, E> {
        Ok(Count(1))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Count, E> {
        Ok(Count(1))
    }

    fn visit_unit<E: Error>(self) -> Result<Count, E> {
        Ok(Count(1))
    }

    fn visit_none<E: Error>(self) -> Result<Count, E> {
        Ok(Count(1))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Count, D::Error> {
        Count::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
        let mut sum = 1;
        while let Some(count) = items.next_element()? {
            sum = Self::add(sum, count)?;
        }
        Ok(Count(sum))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Count, A::Error> {
        let mut sum = 1;
        while let Some((IgnoredAny, count)) = entries.next_entry()? {
            sum = Self::add(sum, count)?;
        }
        Ok(Count(sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> Result<usize, String> {
        let counted: Result<Count, _> = serde_json::from_str(text);
        counted
            .map(|count| count.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_value_counts_wherever_it_stands() {
        assert_eq!(count("7"), Ok(1));
        assert_eq!(
            count(r#"{"a":[1,-2.5,"x",null,true,{}],"b":{"c":18446744073709551615}}"#),
            Ok(10)
        );
    }

    #[test]
    fn too_many_values_are_an_error_wherever_they_stand() {
        let zeros = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert_eq!(count(&zeros(MOST_VALUES - 1)), Ok(MOST_VALUES));
        let half = zeros(MOST_VALUES / 2);
        for text in [
            zeros(MOST_VALUES),
            format!(r#"{{"a":{half},"b":{{"c":{half}}}}}"#),
        ] {
            assert!(count(&text).unwrap_err().contains(TOO_MANY));
        }
    }
}
