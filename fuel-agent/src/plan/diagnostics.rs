//! What is found out on the way to a plan: errors, refusals, warnings, each once and in order.

use super::PlanError;
use crate::model::error::Kind;
use crate::model::plan::{Refusal, RefusedBy};
use crate::model::request::Request;

/// The most warnings that are kept: a bad request could have thousands.
const MOST_LISTED: usize = 200;

/// Collects what the makers find.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    /// Errors for which there will be no plan.
    pub(super) errors: Vec<PlanError>,
    /// It will not be carried out as it stands.
    pub(super) refusals: Vec<Refusal>,
    /// Unusual, but done.
    pub(super) warnings: Vec<String>,
}

impl Diagnostics {
    /// Starts with what was found in the request itself.
    pub(super) fn of(request: &Request) -> Self {
        let mut diagnostics = Self::default();
        for warning in &request.warnings {
            diagnostics.warn(warning.clone());
        }
        for problem in &request.refusals {
            diagnostics.refuse_run(Kind::Request, problem.to_string(), problem.hint.clone());
        }
        diagnostics
    }

    /// There can be no plan because of this.
    pub(super) fn error(&mut self, error: PlanError) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// `run` and `validate` will refuse.
    pub(super) fn refuse_run(
        &mut self,
        kind: Kind,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.refuse(kind, RefusedBy::Run, what.into(), hint.into());
    }

    /// It does not fit: `plan` has its exit status too.
    pub(super) fn does_not_fit(
        &mut self,
        kind: Kind,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.refuse(kind, RefusedBy::Plan, what.into(), hint.into());
    }

    fn refuse(&mut self, kind: Kind, by: RefusedBy, what: String, hint: String) {
        let refusal = Refusal {
            kind,
            by,
            what,
            hint,
        };
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    /// Something unusual that will be done all the same.
    pub(super) fn warn(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.warnings.len() < MOST_LISTED && !self.warnings.contains(&what) {
            self.warnings.push(what);
        }
    }
}
