//! What a run learns of request, node and images. Reading only: `plan`, `validate` and dry runs hold nothing else.

use std::fmt;

use host::exec::Program;

use crate::model::error::{Error, Kind};
use crate::model::inventory::Inventory;
use crate::model::plan::{Plan, Refusal};
use crate::model::request::{Problem, Request};
use crate::model::sources::Sources;

/// What a run reads of its surroundings. The real one is `sequence::node_discovery::NodeDiscovery`; tests bring their
/// own.
pub trait Discovery {
    /// Reads the request.
    fn request(&mut self) -> Result<Request, Error>;
    /// What the node has; disks that the request names are waited for, bounded.
    fn inventory(&mut self, request: &Request) -> Result<Inventory, Error>;
    /// Probes the images of the request.
    fn sources(&mut self, request: &Request) -> Result<Sources, Error>;
    /// Makes the plan, without touching anything.
    fn plan(
        &mut self,
        request: &Request,
        inventory: &Inventory,
        sources: &Sources,
    ) -> Result<Plan, Error>;
    /// Those of the plan's tools that are not installed.
    fn missing(&self, plan: &Plan) -> Vec<Program>;
    /// The node's own inventory, where [`Self::inventory`] comes from a file; `None` where that is the same.
    fn reality(&mut self) -> Result<Option<Inventory>, Error>;
    /// Whether boot code can be made here.
    fn bootable(&self, plan: &Plan) -> Result<(), Error>;
    /// Whether a server answers now at the URL of a callback; not asked where the network is not to be used.
    fn answers(&mut self, url: &str) -> Result<(), Error>;
}

/// Several reasons, each a link in a chain of causes, so that they are printed one by one.
#[derive(Debug)]
struct Reasons {
    text: String,
    next: Option<Box<Self>>,
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Reasons {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.next
            .as_deref()
            .map(|next| -> &(dyn std::error::Error + 'static) { next })
    }
}

fn chain(texts: Vec<String>) -> Option<Reasons> {
    texts.into_iter().rev().fold(None, |next, text| {
        Some(Reasons {
            text,
            next: next.map(Box::new),
        })
    })
}

/// Many problems of a request as one error that names them all, each with its path and what would be right.
pub fn request_error(problems: &[Problem]) -> Error {
    let texts = problems
        .iter()
        .map(|Problem { path, what, hint }| {
            if path.is_empty() {
                format!("{what}; {hint}")
            } else {
                format!("`{path}` {what}; {hint}")
            }
        })
        .collect();
    let what = match problems.len() {
        1 => "the request has a problem".to_owned(),
        count => format!("the request has {count} problems"),
    };
    with_reasons(Error::new(Kind::Request, what), texts)
}

/// Many errors as one: the first, when it is alone; else one that names them all, of the first one's kind.
pub fn combine(what: &str, errors: Vec<Error>) -> Result<(), Error> {
    let mut errors = errors.into_iter();
    let Some(first) = errors.next() else {
        return Ok(());
    };
    let rest: Vec<Error> = errors.collect();
    if rest.is_empty() {
        return Err(first);
    }
    let head = Error {
        retryable: first.retryable && rest.iter().all(|error| error.retryable),
        ..Error::new(first.kind, format!("{what} for {} reasons", rest.len() + 1))
    };
    let texts = [first].into_iter().chain(rest).map(|error| line(&error));
    Err(with_reasons(head, texts.collect()))
}

/// Why a plan is refused, as errors.
pub fn refusal_errors<'a>(refusals: impl Iterator<Item = &'a Refusal>) -> Vec<Error> {
    refusals
        .map(|refusal| Error::new(refusal.kind, refusal.what.clone()).hint(refusal.hint.clone()))
        .collect()
}

fn line(error: &Error) -> String {
    let line = error.one_line();
    match &error.hint {
        Some(hint) => format!("{line}; {hint}"),
        None => line,
    }
}

/// The most reasons that are listed.
const MOST_LISTED: usize = 200;

fn with_reasons(error: Error, mut texts: Vec<String>) -> Error {
    let more = texts.len().saturating_sub(MOST_LISTED);
    if more > 0 {
        texts.truncate(MOST_LISTED);
        texts.push(format!("and {more} more"));
    }
    match chain(texts) {
        Some(reasons) => error.because(reasons),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::render;

    #[test]
    fn all_problems_of_a_request_are_told_with_path_and_what_would_be_right() {
        let problem = |path: &str, what: &str, hint: &str| Problem {
            path: path.to_owned(),
            what: what.to_owned(),
            hint: hint.to_owned(),
        };
        let problems = [
            problem("ks_meta.pm_data", "is missing", "add the layout"),
            problem("", "the document is empty", "send one"),
        ];
        insta::assert_snapshot!(render(&request_error(&problems)), @r"
        error: the request has 2 problems
          cause: `ks_meta.pm_data` is missing; add the layout
          cause: the document is empty; send one
        ");
        insta::assert_snapshot!(render(&request_error(&problems[1..])), @r"
        error: the request has a problem
          cause: the document is empty; send one
        ");
    }

    #[test]
    fn one_reason_is_itself_and_many_are_told_together() {
        combine("refused", Vec::new()).unwrap();
        let one = || Error::new(Kind::Refused, "`/dev/sda` is mounted").hint("unmount it");
        let two = || {
            Error::new(Kind::Image, "no answer")
                .because("timed out")
                .retryable()
        };
        let error = combine("refused", vec![one()]).unwrap_err();
        insta::assert_snapshot!(render(&error), @r"
        error: `/dev/sda` is mounted
          hint: unmount it
        ");
        let error = combine("refused", vec![one(), two()]).unwrap_err();
        assert_eq!((error.kind, error.retryable), (Kind::Refused, false));
        insta::assert_snapshot!(render(&error), @r"
        error: refused for 2 reasons
          cause: `/dev/sda` is mounted; unmount it
          cause: no answer: timed out
        ");
    }

    #[test]
    fn of_very_many_reasons_the_first_200_are_listed() {
        let errors = |count: usize| -> Vec<Error> {
            let error = |number| Error::new(Kind::Hardware, format!("no disk {number}"));
            (0..count).map(error).collect()
        };
        let text = render(&combine("refused", errors(1000)).unwrap_err());
        assert!(
            text.starts_with("error: refused for 1000 reasons\n"),
            "{text}"
        );
        assert!(
            text.trim_end()
                .ends_with("cause: no disk 199\n  cause: and 800 more"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 202);
        let text = render(&combine("refused", errors(200)).unwrap_err());
        assert!(text.trim_end().ends_with("no disk 199"), "{text}");
    }
}
