//! The command line: clap structs, whose doc comments are the help.
