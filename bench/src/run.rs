//! A run of the bench: which rows are measured, the images they need, the rounds and the report.
#![expect(
    clippy::print_stdout,
    reason = "figures are printed as they are measured"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use host::cancel::Cancel;
use host::exec::System;
use host::lock::Lock;

use crate::cli::Options;
use crate::env::BenchEnv;
use crate::image::{Form, Image, Size};
use crate::page::Results;
use crate::peers::Programs;
use crate::record::{Samples, to_f64};
use crate::row::{Expected, Initial, Row, RowKind};
use crate::rows::ROWS;
use crate::{changed, goals, served};

/// Runs the bench, or lists its rows.
pub(crate) fn run(options: &Options) -> Result<()> {
    let cancel = Cancel::new();
    cancel.on_signals().context("cannot catch signals")?;
    let work = std::path::absolute(&options.work).context("cannot find the work folder")?;
    fs::create_dir_all(&work).context("cannot make the work folder")?;
    let programs = Programs::set_up(options, &work)?;
    let mut system = programs.apply(System::new(cancel.clone()));
    let mut selection = Selection::new(options, &programs);
    if options.list {
        selection.print();
        return Ok(());
    }
    if selection.rows.is_empty() {
        bail!("no row can be measured; `bench --list` shows what is missing");
    }
    let _lock =
        Lock::acquire(&work.join("lock")).context("another bench runs in this work folder")?;
    // Tools find there what the bench has put there, and what they leave goes with the namespaces.
    served::mount_tmpfs(Path::new("/run"))?;
    let images = make_images(&mut system, options, &work, &mut selection);
    let mut bench = BenchEnv::build(system, &work, &images, &selection, &cancel)?;
    let conditions = conditions(options)?;
    let samples = Samples::open(&work.join("samples.jsonl"), &conditions, options.resume)?;
    let (samples, loads) = bench.rounds(options, &selection, samples)?;
    report(options, &programs, &mut bench, selection, &samples, loads)
}

/// The rows that are measured, and those that cannot be, with the reason.
pub(crate) struct Selection {
    pub(crate) rows: Vec<Row>,
    missing: Vec<(&'static str, String)>,
}

impl Selection {
    fn new(options: &Options, programs: &Programs) -> Self {
        let mut selection = Self {
            rows: Vec::new(),
            missing: Vec::new(),
        };
        for row in ROWS.iter().filter(|row| row.is_selected(&options.only)) {
            let missing = programs.missing(row);
            if missing.is_empty() {
                selection.rows.push(*row);
            } else {
                let why = format!("not installed: {}", missing.join(", "));
                selection.missing.push((row.name, why));
            }
        }
        selection
    }

    fn print(&self) {
        for row in &self.rows {
            println!("{:<26} {}", row.name, row.about);
        }
        for (name, why) in &self.missing {
            println!("{name:<26} {why}");
        }
    }

    /// The forms of the image of this size that the rows need, each once.
    pub(crate) fn forms(&self, size: Size) -> Vec<Form> {
        let rows = self.rows.iter().filter(|row| row.size == size);
        let mut forms: Vec<Form> = rows.clone().flat_map(|row| row.forms).copied().collect();
        if rows.clone().any(|row| row.initial == Initial::Image) {
            forms.push(Form::Packed);
        }
        if rows.clone().any(|row| row.expected == Expected::Newer) {
            forms.push(Form::Newer);
        }
        forms.sort_unstable();
        forms.dedup();
        forms
    }

    /// Removes the rows that need a form that cannot be made.
    fn remove(&mut self, size: Size, form: Form, why: &str) {
        let needs = |row: &Row| row.size == size && row.forms.contains(&form);
        for row in self.rows.iter().filter(|row| needs(row)) {
            self.missing.push((row.name, why.to_owned()));
        }
        self.rows.retain(|row| !needs(row));
    }
}

/// Makes the forms that do not exist yet; rows whose forms cannot be made are removed.
fn make_images(
    system: &mut System,
    options: &Options,
    work: &Path,
    selection: &mut Selection,
) -> BTreeMap<Size, Image> {
    let mut images = BTreeMap::new();
    for size in [Size::Whole, Size::Half, Size::Quarter] {
        let image = Image::new(work, size, options.quick);
        let mut forms = selection.forms(size);
        if size == Size::Whole {
            forms.insert(0, Form::Raw);
        }
        for form in forms {
            if let Err(error) = image.make(system, form) {
                let why = format!("{error:#}");
                println!("{} of {}: {why}", form.files()[0], size.name());
                selection.remove(size, form, &why);
            }
        }
        images.insert(size, image);
    }
    images
}

/// What samples depend on beside the machine: the agent and the size of the image.
fn conditions(options: &Options) -> Result<String> {
    let of = |path: &Path| -> Result<String> {
        let Ok(meta) = fs::metadata(path) else {
            return Ok("none".to_owned());
        };
        let modified = meta.modified()?.duration_since(std::time::UNIX_EPOCH)?;
        Ok(format!("{}@{}", meta.len(), modified.as_secs()))
    };
    Ok(format!(
        "agent {} quick {}",
        of(&options.agent)?,
        options.quick
    ))
}

/// The load average of the last minute.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Prints and writes the results. A failed row of the agent is an error.
fn report(
    options: &Options,
    programs: &Programs,
    bench: &mut BenchEnv<'_>,
    selection: Selection,
    samples: &Samples,
    loads: Vec<String>,
) -> Result<()> {
    let image = &bench.images[&Size::Whole];
    let manifests = ["packed.manifest.json", "newer.manifest.json"].map(|name| image.file(name));
    let changed = changed::difference(&manifests[0], &manifests[1]).ok();
    let summaries = samples.summaries();
    let ratios = if options.quick {
        Vec::new()
    } else {
        goals::ratios(&summaries, changed)
    };
    let results = Results {
        ratios,
        summaries,
        missing: selection.missing,
        machine: machine(),
        versions: programs.versions(&mut bench.system),
        loads,
    };
    let images = bench.images;
    let raw_gib = |row: &Row| to_f64(images[&row.size].raw_size()) / f64::from(1 << 30);
    println!("{}", results.text(raw_gib));
    results.write_json(&bench.work)?;
    if let Some(docs) = &options.docs {
        results.write_docs(docs, raw_gib)?;
    }
    let failed = |row: &Row| {
        let summary = results.summaries.get(row.name);
        row.kind == RowKind::Ours && summary.is_some_and(|it| !it.errors.is_empty())
    };
    let failed: Vec<&str> = selection
        .rows
        .iter()
        .filter(|row| failed(row))
        .map(|row| row.name)
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("rows of the agent failed: {}", failed.join(", "))
    }
}

/// The machine, a line each.
fn machine() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(
            || "unknown".to_owned(),
            |(_, value)| value.trim().to_owned(),
        )
    };
    let cpu = read("/proc/cpuinfo");
    let cores = cpu
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    vec![
        format!("{cores} cores of {}", value(&cpu, "model name")),
        format!("memory {}", value(&read("/proc/meminfo"), "MemTotal")),
        format!("kernel {}", read("/proc/sys/kernel/osrelease").trim()),
        "target: a loop device with direct I/O over a preallocated file on this machine's disk; \
         nginx serves images from memory"
            .to_owned(),
    ]
}
