//! The whole of it: which rows are measured, the images they need, the rounds, and what they come to.
#![expect(
    clippy::print_stdout,
    reason = "figures are read by people while they come"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use host::cancel::Cancel;
use host::exec::System;
use host::lock::Lock;

use crate::cli::Options;
use crate::env::{BenchEnv, to_f64};
use crate::image::{Form, Image, Size};
use crate::page::Results;
use crate::peers::Programs;
use crate::record::Samples;
use crate::rows::{After, Before, ROWS, Row, Who};
use crate::{changed, goals, served};

/// Runs the bench, or lists what it would run.
pub(crate) fn run(options: &Options) -> Result<()> {
    let cancel = Cancel::new();
    cancel.on_signals().context("cannot catch signals")?;
    let work = std::path::absolute(&options.work).context("cannot find the work folder")?;
    fs::create_dir_all(&work).context("cannot make the work folder")?;
    let programs = Programs::gather(options, &work)?;
    let mut system = programs.system(System::new(cancel.clone()));
    let mut chosen = Chosen::of(options, &programs);
    if options.list {
        chosen.print();
        return Ok(());
    }
    if chosen.rows.is_empty() {
        bail!("there is nothing to measure; `bench --list` says what is missing");
    }
    let _lock = Lock::acquire(&work.join("lock")).context("another bench runs in that folder")?;
    // what tools leave there, and what they look for there, is the bench's own
    served::in_memory(Path::new("/run"))?;
    let images = make_images(&mut system, options, &work, &mut chosen);
    let mut bench = BenchEnv::build(system, &work, &images, &chosen, &cancel)?;
    let conditions = conditions(options)?;
    let samples = Samples::open(&work.join("samples.jsonl"), &conditions, options.resume)?;
    let (samples, loads) = bench.rounds(options, &chosen, samples)?;
    report(options, &work, &mut bench, chosen, &samples, loads)
}

/// The rows to be measured, and those that cannot be.
pub(crate) struct Chosen {
    pub(crate) rows: Vec<Row>,
    missing: Vec<(&'static str, String)>,
}

impl Chosen {
    fn of(options: &Options, programs: &Programs) -> Self {
        let mut chosen = Self {
            rows: Vec::new(),
            missing: Vec::new(),
        };
        for row in ROWS.iter().filter(|row| row.is_meant(&options.only)) {
            let missing = programs.missing(row);
            if missing.is_empty() {
                chosen.rows.push(*row);
            } else {
                let why = format!("not installed: {}", missing.join(", "));
                chosen.missing.push((row.name, why));
            }
        }
        chosen
    }

    fn print(&self) {
        for row in &self.rows {
            println!("{:<26} {}", row.name, row.about);
        }
        for (name, why) in &self.missing {
            println!("{name:<26} {why}");
        }
    }

    /// The forms that are needed of a size, each once.
    pub(crate) fn forms(&self, size: Size) -> Vec<Form> {
        let rows = self.rows.iter().filter(|row| row.size == size);
        let mut forms: Vec<Form> = rows.clone().flat_map(|row| row.forms).copied().collect();
        if rows.clone().any(|row| row.before == Before::Image) {
            forms.push(Form::Packed);
        }
        if rows.clone().any(|row| row.after == After::Newer) {
            forms.push(Form::Newer);
        }
        forms.sort_unstable();
        forms.dedup();
        forms
    }

    /// Leaves out what needs a form that cannot be made.
    fn without(&mut self, size: Size, form: Form, why: &str) {
        let needs = |row: &Row| row.size == size && row.forms.contains(&form);
        for row in self.rows.iter().filter(|row| needs(row)) {
            self.missing.push((row.name, why.to_owned()));
        }
        self.rows.retain(|row| !needs(row));
    }
}

/// Makes what is not there yet; rows whose forms cannot be made are left out.
fn make_images(
    system: &mut System,
    options: &Options,
    work: &Path,
    chosen: &mut Chosen,
) -> BTreeMap<Size, Image> {
    let mut images = BTreeMap::new();
    for size in [Size::Whole, Size::Half, Size::Quarter] {
        let image = Image::of(work, size, options.quick);
        let mut forms = chosen.forms(size);
        if size == Size::Whole {
            forms.insert(0, Form::Raw);
        }
        for form in forms {
            if let Err(error) = image.make(system, form) {
                let why = format!("{error:#}");
                println!("{} of {}: {why}", form.files()[0], size.name());
                chosen.without(size, form, &why);
            }
        }
        images.insert(size, image);
    }
    images
}

/// What the figures depend on beside the machine.
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

/// Shows and writes what the samples come to.
fn report(
    options: &Options,
    work: &Path,
    bench: &mut BenchEnv<'_>,
    chosen: Chosen,
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
        missing: chosen.missing,
        machine: machine(),
        versions: Programs::gather(options, work)?.versions(&mut bench.system),
        loads,
    };
    let images = bench.images;
    let raw_gib = |row: &Row| to_f64(images[&row.size].raw_size()) / f64::from(1 << 30);
    println!("{}", results.text(raw_gib));
    results.write_json(work)?;
    if let Some(docs) = &options.docs {
        results.write_docs(docs, raw_gib)?;
    }
    let failed = |row: &Row| {
        let summary = results.summaries.get(row.name);
        row.who == Who::Ours && summary.is_some_and(|it| !it.errors.is_empty())
    };
    let failed: Vec<&str> = chosen
        .rows
        .iter()
        .filter(|row| failed(row))
        .map(|row| row.name)
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("the agent failed in {}", failed.join(", "))
    }
}

/// What the machine is.
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
        "target: a loop device with direct I/O over a preallocated file on this machine's disk; images served from memory by nginx"
            .to_owned(),
    ]
}
