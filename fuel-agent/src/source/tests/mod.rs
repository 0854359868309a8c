//! Images from a server that misbehaves, and from files.

mod believing;
mod fetching;
mod probing;
mod ranging;
mod reading;
mod signing;
