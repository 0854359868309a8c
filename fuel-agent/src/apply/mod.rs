//! Effects without decisions: one file per kind of step.
