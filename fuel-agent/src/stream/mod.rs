//! The data path: source, decoders, verification, zero runs, writer.
