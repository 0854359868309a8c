//! The only room that speaks HTTP: sources and callbacks.
