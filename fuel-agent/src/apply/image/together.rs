//! Several images at the same time: a thread each, and the first that fails stops the others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use host::cancel::Cancel;

use super::{Prepared, Ready, arrived, keep, prepare};
use crate::apply::context::Context;
use crate::apply::outcome::{Outcome, StepResult, StepRun};
use crate::events::{Event, Events};
use crate::model::error::Error;
use crate::model::index::ImageIndex;
use crate::model::report::ImageOutcome;
use crate::model::stage::Stage;
use crate::stream::StreamError;

/// How writing one of them ended.
enum Written {
    /// It is on its device.
    Whole(Box<ImageOutcome>),
    /// There was nothing to be written to.
    Skipped(Outcome),
    /// It was the first to fail.
    Failed(Error),
    /// Another had failed before.
    Stopped,
}

/// Writes these images of the plan; one [`StepRun`] for each, in their order.
pub(in crate::apply) fn write_together(
    context: &mut Context<'_>,
    images: &[ImageIndex],
) -> Vec<StepRun> {
    let group = Group {
        stop: context.host.cancel.below(),
        has_failed: AtomicBool::new(false),
        events: context.events,
    };
    let mut prepared = Vec::with_capacity(images.len());
    for image in images {
        match prepare(context, *image, &group.stop, images.len()) {
            Ok(one) => prepared.push(one),
            Err(error) => return none_begun(images.len(), prepared.len(), error),
        }
    }
    let written = group.write(prepared);
    let mut is_broken = group.has_failed.load(Ordering::SeqCst);
    let each = images.iter().zip(written).map(|(image, (written, took))| {
        let began = Instant::now();
        let ending = match written {
            Written::Skipped(outcome) => StepResult::Done(outcome),
            Written::Failed(error) => StepResult::Failed(error),
            Written::Stopped => StepResult::Stopped,
            Written::Whole(outcome) => {
                keep(context, *image, *outcome);
                // what is on its device is checked only where the run goes on
                if is_broken {
                    StepResult::Done(Outcome::Changed)
                } else {
                    arrived(context, *image).into()
                }
            }
        };
        is_broken |= matches!(ending, StepResult::Failed(_));
        let took = took + began.elapsed();
        StepRun { ending, took }
    });
    each.collect()
}

/// What it comes to when the image of that index could not even begin.
fn none_begun(count: usize, failed: usize, error: Error) -> Vec<StepRun> {
    let mut error = Some(error);
    let each = (0..count).map(|index| StepRun {
        ending: match error.take_if(|_| index == failed) {
            Some(error) => StepResult::Failed(error),
            None => StepResult::Stopped,
        },
        took: Duration::ZERO,
    });
    each.collect()
}

/// State that the threads share.
struct Group<'a> {
    stop: Cancel,
    has_failed: AtomicBool,
    events: &'a dyn Events,
}

impl Group<'_> {
    fn write(&self, prepared: Vec<Prepared<'_>>) -> Vec<(Written, Duration)> {
        thread::scope(|scope| {
            let begun: Vec<_> = prepared
                .into_iter()
                .map(|one| {
                    let ready = match one {
                        Prepared::Ready(ready) => ready,
                        Prepared::Skipped(outcome) => return Err(Written::Skipped(outcome)),
                    };
                    let thread = thread::Builder::new().name("image".to_owned());
                    let spawned = thread.spawn_scoped(scope, || self.write_one(*ready));
                    spawned.map_err(|source| self.failed(StreamError::Thread { source }))
                })
                .collect();
            let ended = begun.into_iter().map(|begun| match begun {
                // its panics are caught within
                Ok(thread) => thread
                    .join()
                    .unwrap_or_else(|_| (self.failed(StreamError::Panicked), Duration::ZERO)),
                Err(written) => (written, Duration::ZERO),
            });
            ended.collect()
        })
    }

    fn write_one(&self, ready: Ready<'_>) -> (Written, Duration) {
        let began = Instant::now();
        let named = Named {
            device: ready.device.clone(),
            events: self.events,
        };
        let written = catch_unwind(AssertUnwindSafe(|| ready.write(&named)));
        let written = match written.unwrap_or(Err(StreamError::Panicked)) {
            Ok(outcome) => Written::Whole(Box::new(outcome)),
            Err(error) => self.failed(error),
        };
        (written, began.elapsed())
    }

    /// The first error stops the others. One that comes after it for a reason of its own is worth a word.
    fn failed(&self, error: StreamError) -> Written {
        let is_first = !self.has_failed.swap(true, Ordering::SeqCst);
        self.stop.cancel();
        let error = Error::from(error);
        if is_first {
            return Written::Failed(error);
        }
        if error.kind != crate::model::error::Kind::Interrupted {
            self.events.emit(&Event::Warning {
                stage: Some(Stage::Image),
                message: format!("another image failed as well: {}", error.one_line()),
            });
        }
        Written::Stopped
    }
}

/// Adds to an event which of several images it is about: they may even have the same name.
struct Named<'a> {
    device: String,
    events: &'a dyn Events,
}

impl Events for Named<'_> {
    fn emit(&self, event: &Event) {
        let (device, mut event) = (&self.device, event.clone());
        match &mut event {
            Event::Progress { what, .. } => *what = format!("{what} to {device}"),
            Event::Note { message, .. } | Event::Warning { message, .. } => {
                *message = format!("{device}: {message}");
            }
            _ => {}
        }
        self.events.emit(&event);
    }
}
