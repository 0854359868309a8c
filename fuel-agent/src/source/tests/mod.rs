//! Images from a server that misbehaves, and from files.

mod fetching;
mod probing;
mod ranging;
mod reading;
