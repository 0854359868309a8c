//! One function a sub-command; `run` itself only calls `sequence`.
