//! The stages in their order, gates, and which steps run in which stage.
