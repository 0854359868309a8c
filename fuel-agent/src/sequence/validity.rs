//! Whether a request still holds, and for this node: checked before anything is looked at.

use std::time::Duration;

use super::machine::Machine;
use crate::model::error::{Error, Kind};
use crate::model::time::rfc3339;
use crate::request::Validity;

/// Refuses what has expired at `now`, the time since 1970, or is for another node. `machine` is `None` where another
/// one is planned for than the one that plans.
pub(super) fn check(
    validity: &Validity,
    machine: Option<&Machine>,
    now: Duration,
) -> Result<(), Error> {
    if let Some(expires) = validity.expires.filter(|expires| now >= *expires) {
        let what = format!(
            "the request expired at {}, and the clock of this node says {}",
            rfc3339(expires),
            rfc3339(now)
        );
        return Err(Error::new(Kind::Refused, what).hint(
            "have a new one made; if the clock is wrong, set it with `provision.time=` or `provision.ntp=`",
        ));
    }
    let (Some(node), Some(machine)) = (&validity.node, machine) else {
        return Ok(());
    };
    let names = [&machine.serial, &machine.uuid];
    if names
        .iter()
        .any(|name| !name.is_empty() && name.eq_ignore_ascii_case(node))
    {
        return Ok(());
    }
    let known = |name: &str| {
        if name.is_empty() {
            "unknown".to_owned()
        } else {
            format!("`{name}`")
        }
    };
    let what = format!(
        "the request is for the node `{node}`, and this one's serial number is {}, its UUID {}",
        known(&machine.serial),
        known(&machine.uuid)
    );
    Err(Error::new(Kind::Refused, what).hint("give each node its own request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(expires: Option<u64>, node: Option<&str>, machine: Option<&Machine>) -> String {
        let validity = Validity {
            expires: expires.map(Duration::from_secs),
            node: node.map(str::to_owned),
        };
        match check(&validity, machine, Duration::from_secs(1000)) {
            Ok(()) => String::new(),
            Err(error) => {
                assert_eq!(error.kind, Kind::Refused);
                error.what
            }
        }
    }

    #[test]
    fn a_request_holds_until_its_time_and_on_its_node() {
        let machine = Machine {
            serial: "S3X9".to_owned(),
            uuid: "4c4c4544-0042".to_owned(),
            ..Machine::default()
        };
        let unidentified = Machine::default();
        for (expires, node, on) in [
            (None, None, Some(&unidentified)),
            (Some(1001), None, Some(&unidentified)),
            (None, Some("s3x9"), Some(&machine)),
            (Some(1001), Some("4C4C4544-0042"), Some(&machine)),
            (None, Some("other"), None),
        ] {
            assert_eq!(refused(expires, node, on), "", "{expires:?} {node:?}");
        }
        for expires in [0, 999, 1000] {
            let what = refused(Some(expires), Some("S3X9"), Some(&machine));
            assert!(
                what.starts_with("the request expired at 1970-01-01T00:"),
                "{what}"
            );
        }
        assert_eq!(
            refused(None, Some("S3X"), Some(&machine)),
            "the request is for the node `S3X`, and this one's serial number is `S3X9`, its UUID `4c4c4544-0042`"
        );
        assert_eq!(
            refused(None, Some("x"), Some(&unidentified)),
            "the request is for the node `x`, and this one's serial number is unknown, its UUID unknown"
        );
    }
}
