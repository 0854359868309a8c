//! What happened: as JSON and as a person's summary, also when it failed.
