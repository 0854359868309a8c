//! The door: parse, call, render, exit.
fn main() {}
