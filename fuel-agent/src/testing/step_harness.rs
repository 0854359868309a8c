//! A machine of fakes with the sample plan, on which the tests of steps perform them.

use std::sync::Mutex;

use host::cancel::Cancel;
use host::fake::{self, FakeDevices, FakeMounts, Script};
use host::units::Bytes;

use super::sample_plan;
use crate::apply::context::{Context, Options, State};
use crate::apply::outcome::{Outcome, StepRun};
use crate::apply::{perform, perform_together, probe, undo};
use crate::events::{Event, Events};
use crate::http::HttpSettings;
use crate::model::error::Error;
use crate::model::index::{DiskIndex, ImageIndex, PhysicalVolumeIndex};
use crate::model::plan::{Plan, PlannedPhysicalVolume, PlannedVolumeGroup};
use crate::model::stage::Stage;
use crate::model::step::{ImageStep, PlannedStep, Step};
use crate::model::storage::BlockRef;
use crate::plan::approve::ApprovedPlan;
use crate::source::policy::PackedPolicy;
use host::blockdev::Devices;

/// What was told.
#[derive(Default)]
pub(crate) struct RecordedEvents {
    warnings: Mutex<Vec<String>>,
    /// What has moved bytes.
    moved: Mutex<Vec<String>>,
}

impl Events for RecordedEvents {
    fn emit(&self, event: &Event) {
        match event {
            Event::Warning { message, .. } => self.warnings.lock().unwrap().push(message.clone()),
            Event::Progress { what, .. } => self.moved.lock().unwrap().push(what.clone()),
            _ => {}
        }
    }
}

impl RecordedEvents {
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap().clone()
    }

    pub(crate) fn moved(&self) -> Vec<String> {
        self.moved.lock().unwrap().clone()
    }
}

/// Everything that a step works on.
pub(crate) struct StepHarness {
    pub(crate) plan: Plan,
    pub(crate) script: Script,
    pub(crate) disks: FakeDevices,
    pub(crate) mounts: FakeMounts,
    pub(crate) state: State,
    pub(crate) recorded: RecordedEvents,
    pub(crate) work: tempfile::TempDir,
    pub(crate) packed: PackedPolicy,
    /// Asked by images that are written at the same time.
    pub(crate) cancel: Cancel,
}

/// The disk of the sample plan, its partitions known to the kernel, and what is made on them.
pub(crate) fn sized() -> FakeDevices {
    let mut disks = FakeDevices::new()
        .with("/dev/md0", Bytes(128 << 20))
        .with("/dev/mapper/os-root", Bytes(512 << 20))
        .with("/dev/mapper/os-swap", Bytes(512 << 20))
        .with("/dev/sda", Bytes(2 << 30));
    for partition in &plan().disks[0].partitions {
        let disk = "/dev/sda".as_ref();
        disks
            .add_partition(disk, partition.number, partition.extent)
            .unwrap();
    }
    disks
}

/// The sample plan with the volume group that its logical volumes are in.
pub(crate) fn plan() -> Plan {
    let mut plan = sample_plan::plan();
    plan.physical_volumes = vec![PlannedPhysicalVolume {
        on: BlockRef::Partition {
            disk: DiskIndex(0),
            number: 4,
        },
        metadata_size: Bytes(28 << 20),
        metadata_copies: 2,
    }];
    plan.volume_groups = vec![PlannedVolumeGroup {
        name: "os".to_owned(),
        physical_volumes: vec![PhysicalVolumeIndex(0)],
        keep_data: false,
    }];
    plan
}

impl StepHarness {
    pub(crate) fn new() -> Self {
        Self {
            plan: plan(),
            script: Script::new(),
            disks: sized(),
            mounts: FakeMounts::new(),
            state: State::default(),
            recorded: RecordedEvents::default(),
            work: tempfile::tempdir().unwrap(),
            packed: PackedPolicy::default(),
            cancel: Cancel::new(),
        }
    }

    pub(crate) fn one(&mut self, step: &Step) -> Result<Outcome, Error> {
        let mut host = fake::host(&self.script, &self.disks, &self.mounts);
        self.on(&mut host, step)
    }

    /// Performs a step on another host than that of the fakes.
    pub(crate) fn on(&mut self, host: &mut host::Host, step: &Step) -> Result<Outcome, Error> {
        let options = self.options();
        let plan = ApprovedPlan::assumed(self.plan.clone());
        let step = PlannedStep {
            number: 1,
            stage: Stage::Partition,
            step: step.clone(),
            what: String::new(),
            destroys: Vec::new(),
        };
        let mut context = Context {
            plan: &plan,
            host,
            events: &self.recorded,
            options: &options,
            state: &mut self.state,
        };
        perform(&step, &mut context)
    }

    /// Performs steps that are said to go together.
    pub(crate) fn group(&mut self, steps: &[Step]) -> Vec<StepRun> {
        let options = self.options();
        let plan = ApprovedPlan::assumed(self.plan.clone());
        let mut host = fake::host(&self.script, &self.disks, &self.mounts);
        host.cancel = self.cancel.clone();
        let planned = |step: &Step| PlannedStep {
            number: 1,
            stage: Stage::Image,
            step: step.clone(),
            what: String::new(),
            destroys: Vec::new(),
        };
        let steps: Vec<PlannedStep> = steps.iter().map(planned).collect();
        let mut context = Context {
            plan: &plan,
            host: &mut host,
            events: &self.recorded,
            options: &options,
            state: &mut self.state,
        };
        perform_together(&steps.iter().collect::<Vec<_>>(), &mut context)
    }

    /// Writes images at the same time.
    pub(crate) fn together(&mut self, images: &[usize]) -> Vec<StepRun> {
        let write = |(position, image): (usize, &usize)| {
            Step::Image(ImageStep::Write {
                image: ImageIndex(*image),
                with_previous: position > 0,
            })
        };
        let steps: Vec<Step> = images.iter().enumerate().map(write).collect();
        self.group(&steps)
    }

    /// Looks at the kept filesystems on partitions.
    pub(crate) fn probe_kept(&mut self) -> Result<(), Error> {
        let options = self.options();
        let plan = ApprovedPlan::assumed(self.plan.clone());
        let mut context = Context {
            plan: &plan,
            host: &mut fake::host(&self.script, &self.disks, &self.mounts),
            events: &self.recorded,
            options: &options,
            state: &mut self.state,
        };
        probe::kept_partitions(&mut context)
    }

    /// Lets go of something that a step made.
    pub(crate) fn undo(&mut self, made: undo::Acquired) -> Result<(), Error> {
        let options = self.options();
        let plan = ApprovedPlan::assumed(self.plan.clone());
        let mut context = Context {
            plan: &plan,
            host: &mut fake::host(&self.script, &self.disks, &self.mounts),
            events: &self.recorded,
            options: &options,
            state: &mut self.state,
        };
        undo::release(&mut context, made)
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            work: self.work.path().to_owned(),
            grub: self.work.path().join("grub"),
            allow_unverified: false,
            packed: self.packed.clone(),
            http: HttpSettings::default(),
        }
    }

    pub(crate) fn all(&mut self, steps: &[Step]) -> Result<(), Error> {
        steps.iter().try_for_each(|step| {
            self.one(step)
                .map(|outcome| assert_eq!(outcome, Outcome::Changed))
        })
    }

    /// The transcript of tools with the folder's name taken out.
    pub(crate) fn tools(&self) -> String {
        let folder = self.work.path().display().to_string();
        self.script.transcript().replace(&folder, "WORK")
    }
}
