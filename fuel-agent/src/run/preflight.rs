//! Commands that only read: `plan`, `validate`, `inventory`, and `run --dry-run`. Nothing here, nor anything that is
//! called from here, holds what could open a device for writing; tests/boundaries.rs checks that it stays so.

use std::fmt::Write as _;
use std::sync::Arc;

use host::cancel::Cancel;
use host::terminal::columns;

use super::context::{
    self, Places, failure, local_files, node, reader, request_entries, stand_ins, start_log,
};
use crate::cli::{
    Dialect, Format, InputOptions, InventoryOptions, LogOptions, PlanOptions, RunOptions,
    ValidateOptions,
};
use crate::events::log::Log;
use crate::events::sink::Sink;
use crate::events::{Events, FanOut, Silence, clock};
use crate::inventory::probe;
use crate::model::error::{Error, Kind};
use crate::model::inventory::{Inventory, StackKind};
use crate::model::node::Firmware;
use crate::model::plan::Plan;
use crate::model::stage::Stage;
use crate::plan::Width;
use crate::plan::select::describe;
use crate::sequence::preflight::{Discovered, Preflight};
use crate::sequence::{RunOutcome, run_stages};

/// `run --dry-run`: plans and validates.
pub(super) fn dry_run(options: &RunOptions, events: &Arc<dyn Events>) -> Result<RunOutcome, Error> {
    let places = Places::of_this_machine();
    let checked = preflight(
        &options.input,
        &options.log,
        Stage::Validate,
        events,
        &places,
    )?;
    if options.dialect != Dialect::Json
        && let Some(plan) = &checked.known.plan
    {
        Sink::stdout().text(&text(plan));
    }
    Ok(checked.outcome)
}

/// Result of a preflight.
struct Checked {
    known: Discovered,
    outcome: RunOutcome,
}

fn preflight(
    input: &InputOptions,
    log: &LogOptions,
    until: Stage,
    events: &Arc<dyn Events>,
    places: &Places,
) -> Result<Checked, Error> {
    start_log(log, None)?;
    let (mut settings, warnings) = places.settings(request_entries(input))?;
    settings.http.files = local_files(&context::input(input, &settings), &settings);
    let disks = stand_ins(&input.disk)?;
    let cancel = Cancel::new();
    let events = FanOut::new(vec![Arc::clone(events), Arc::new(Log)]);
    let mut node = node(input, &disks, &settings, places, &events, &cancel)?;
    let mut preflight = Preflight {
        discovery: &mut node,
        settings: &settings,
        events: &events,
        known: Discovered::default(),
        until,
    };
    for warning in warnings {
        preflight.warn(Stage::Init, warning);
    }
    let outcome = run_stages(&mut preflight, &events, &cancel);
    Ok(Checked {
        known: preflight.known,
        outcome,
    })
}

/// The plan for standard output: wrapped at the edge of a terminal, in full width in a file.
fn text(plan: &Plan) -> String {
    plan.text(columns().map_or_else(Width::default, Width::of))
}

/// Prints what a run would do.
pub(super) fn plan(options: &PlanOptions) -> Result<u8, Error> {
    let places = Places::of_this_machine();
    let events: Arc<dyn Events> = Arc::new(Silence);
    let checked = preflight(&options.input, &options.log, Stage::Plan, &events, &places)?;
    // A plan that is refused is printed too: it shows why.
    if let Some(plan) = &checked.known.plan {
        let out = Sink::stdout();
        match options.format {
            Format::Text => out.text(&text(plan)),
            Format::Json => out.line(&format!("{:#}", plan.to_json())),
        }
    }
    failure(checked.outcome)
}

/// Reports whether a run would go ahead.
pub(super) fn validate(options: &ValidateOptions) -> Result<u8, Error> {
    let places = Places::of_this_machine();
    let events: Arc<dyn Events> = Arc::new(Silence);
    let checked = preflight(
        &options.input,
        &options.log,
        Stage::Validate,
        &events,
        &places,
    )?;
    let known = checked.known;
    failure(checked.outcome)?;
    let out = Sink::stdout();
    for warning in &known.warnings {
        out.line(&format!("warning: {warning}"));
    }
    let disks = known.plan.map_or(0, |plan| plan.disks.len());
    let noun = if disks == 1 { "disk" } else { "disks" };
    out.line(&format!("`run` would go ahead, on {disks} {noun}"));
    Ok(0)
}

/// Prints what the node has.
pub(super) fn inventory(options: &InventoryOptions) -> Result<u8, Error> {
    let disks = stand_ins(&options.disk)?;
    let inventory = probe(&mut reader(&disks, &Cancel::new())?)?;
    let out = Sink::stdout();
    match options.format {
        Format::Text => out.text(&listed(&inventory)),
        Format::Json => {
            let json = serde_json::to_string_pretty(&inventory).map_err(|error| {
                Error::new(Kind::Internal, "cannot write the inventory").because(error)
            })?;
            out.line(&json);
        }
    }
    Ok(0)
}

/// An inventory for people: a line a disk, what is on it below, then the rest.
fn listed(inventory: &Inventory) -> String {
    let mut text = String::new();
    for disk in &inventory.disks {
        let _ = writeln!(text, "{}", describe(disk));
        for part in &disk.partitions {
            let signature = part.signature.as_deref().unwrap_or("unknown");
            let label = part.label.as_deref().unwrap_or_default();
            let (path, size) = (&part.path, part.size_bytes);
            let _ = writeln!(text, "  {path}  {size}  {signature}  {label}");
        }
        let facts = [
            (disk.mounted, "mounted"),
            (disk.booted_from, "booted from"),
            (disk.read_only, "read-only"),
            (disk.removable, "removable"),
            (disk.multipath, "multipath"),
        ];
        for (_, fact) in facts.iter().filter(|(is_so, _)| *is_so) {
            let _ = writeln!(text, "  {fact}");
        }
        for question in &disk.unexamined {
            let _ = writeln!(text, "  could not be examined: {}", question.why);
        }
    }
    for stack in &inventory.stacks {
        let kind = match stack.kind {
            StackKind::Raid => "array",
            StackKind::VolumeGroup => "volume group",
            StackKind::Crypt => "crypt",
            StackKind::Btrfs => "btrfs",
            StackKind::Mapping => "mapping",
        };
        let (name, on) = (&stack.name, stack.disks.join(", "));
        let _ = writeln!(text, "{kind} {name} on {on}");
    }
    for interface in &inventory.interfaces {
        let _ = writeln!(text, "{}  {}", interface.name, interface.mac);
    }
    let firmware = match inventory.firmware {
        Firmware::Bios => "BIOS",
        Firmware::Uefi => "UEFI",
    };
    let (architecture, memory) = (&inventory.architecture, inventory.memory_bytes.0);
    let _ = writeln!(
        text,
        "{architecture}, {firmware}, memory {}",
        clock::amount(memory)
    );
    text
}
