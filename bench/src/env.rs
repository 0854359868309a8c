//! What rows are measured with: server, target and meter, set up once for all of them.
#![expect(
    clippy::print_stdout,
    reason = "figures are printed as they are measured"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use host::cancel::Cancel;
use host::exec::{Running, System};

use crate::cli::Options;
use crate::image::{Image, Size};
use crate::measure::{self, Measured, Meter};
use crate::record::{Figures, Sample, Samples, to_f64};
use crate::row::{Expected, Initial, Link, Row, RowKind, Variables};
use crate::rows::ROWS;
use crate::run::{Selection, load};
use crate::served::ServedFiles;
use crate::server;
use crate::target::Target;
use testbed::shell;

/// Drivers for the write paths of two agents in Python: they call the agents' own functions.
const DRIVERS: [(&str, &str); 2] = [
    (
        "fuel_agent_write.py",
        include_str!("../drivers/fuel_agent_write.py"),
    ),
    (
        "ironic_write.py",
        include_str!("../drivers/ironic_write.py"),
    ),
];

/// Server, target and meter.
pub(crate) struct BenchEnv<'a> {
    pub(crate) system: System,
    pub(crate) work: PathBuf,
    pub(crate) images: &'a BTreeMap<Size, Image>,
    served: ServedFiles,
    target: Target,
    meter: Meter,
    variables: Variables,
    cancel: Cancel,
    _nginx: Running,
}

impl<'a> BenchEnv<'a> {
    pub(crate) fn build(
        mut system: System,
        work: &Path,
        images: &'a BTreeMap<Size, Image>,
        selection: &Selection,
        cancel: &Cancel,
    ) -> Result<Self> {
        let served = ServedFiles::open(work)?;
        for (size, image) in images {
            served.add(&mut system, image, &selection.forms(*size))?;
        }
        let whole = &images[&Size::Whole];
        served.add_maps(whole)?;
        let drivers = work.join("drivers");
        fs::create_dir_all(&drivers).context("cannot make the folder of drivers")?;
        for (name, text) in DRIVERS {
            fs::write(drivers.join(name), text).context("cannot write a driver")?;
        }
        let nginx = server::start(&mut system, work, &served.folder)?;
        let target = Target::attach(work, whole.raw_size())?;
        let variables = Variables::default()
            .with("target", target.path().display())
            .with("scratch", served.scratch().display())
            .with("files", served.folder_of(whole).display())
            .with("drivers", drivers.display())
            .with("raw_size", whole.raw_size())
            .with("sha256", whole.digest(&mut system, "sha256sum")?)
            .with("md5", whole.digest(&mut system, "md5sum")?);
        Ok(Self {
            meter: Meter::new(cancel)?,
            system,
            work: work.to_owned(),
            images,
            served,
            target,
            variables,
            cancel: cancel.clone(),
            _nginx: nginx,
        })
    }

    /// Measures every row once in each round. Also the load averages before the first round and after each.
    pub(crate) fn rounds(
        &mut self,
        options: &Options,
        selection: &Selection,
        mut samples: Samples,
    ) -> Result<(Samples, Vec<String>)> {
        let rounds = if options.quick { 1 } else { options.rounds };
        let mut loads = vec![load()];
        for round in 1..=rounds {
            for row in &selection.rows {
                if !row.is_due(round) || samples.has(row.name, round) {
                    continue;
                }
                let outcome = self.sample(row, round == 1);
                if self.cancel.is_cancelled() {
                    bail!("interrupted; `--resume` keeps the samples");
                }
                let outcome = outcome.map_err(|error| format!("{error:#}"));
                match &outcome {
                    Ok(it) => println!(
                        "{round}/{rounds}  {:<26} {:>7.2} s  CPU {:>6.2} s  {:>6.1} MiB",
                        row.name,
                        it.wall,
                        it.cpu,
                        it.peak / f64::from(1 << 20)
                    ),
                    Err(error) => println!("{round}/{rounds}  {:<26} FAILED: {error}", row.name),
                }
                samples.add(Sample {
                    row: row.name.to_owned(),
                    round,
                    outcome,
                })?;
            }
            loads.push(load());
        }
        Ok((samples, loads))
    }

    /// One run of a row: prepares the target, measures, and compares the target with the image afterwards.
    fn sample(&mut self, row: &Row, compare: bool) -> Result<Figures> {
        self.served.clear_scratch()?;
        self.prepare(row)?;
        let image = &self.images[&row.size];
        let variables = self.variables_of(row.link, image);
        server::limit_rate(&mut self.system, row.link)?;
        let udev = Path::new("/run/udev/control");
        if row.udev {
            fs::create_dir_all("/run/udev")?;
            fs::write(udev, "")?;
        }
        let busy = measure::busy_share(&self.cancel)?;
        let before = self.target.counters()?;
        let cmd = server::command(row.link, &variables.expand(row.command));
        let log = self.work.join("row.log");
        let measured = self.meter.run(&self.system, &cmd, &log);
        let after = self.target.counters()?;
        if row.udev {
            fs::remove_dir_all("/run/udev")?;
        }
        let measured = measured?;
        if compare {
            self.compare(row, image)?;
        }
        Ok(Figures {
            wall: measured.wall,
            cpu: measured.cpu,
            peak: peak(row, &measured),
            device_read: to_f64(after.read - before.read),
            device_written: to_f64(after.written - before.written),
            fetched: reported(&measured, "fetched_bytes"),
            busy,
        })
    }

    /// Gives the target the content that the row starts from.
    fn prepare(&mut self, row: &Row) -> Result<()> {
        if !row.writes() {
            return self.target.drop_caches();
        }
        self.target.fill_stale()?;
        if row.initial == Initial::Image {
            let image = &self.images[&row.size];
            let variables = self.variables_of(Link::Loopback, image);
            let script = variables.expand(ROWS[0].command);
            shell::run(&mut self.system, Path::new("/"), &script)
                .context("cannot write the image that the row starts from")?;
            self.target.drop_caches()?;
        }
        Ok(())
    }

    fn variables_of(&self, link: Link, image: &Image) -> Variables {
        let folder = image.folder.file_name().unwrap_or_default();
        let url = format!("{}/{}", server::url(link), folder.display());
        self.variables.clone().with("url", url)
    }

    fn compare(&self, row: &Row, image: &Image) -> Result<()> {
        let compared = match row.expected {
            Expected::Anything => Ok(()),
            Expected::Image => self.target.compare(&image.file("disk.raw"), false),
            Expected::Data => self.target.compare(&image.file("disk.raw"), true),
            Expected::Newer => self.target.compare(&image.file("newer.raw"), false),
        };
        compared.context("exit status 0, but the target does not have the image")
    }
}

/// Peak memory: as the agent reports it, or as it was sampled.
fn peak(row: &Row, measured: &Measured) -> f64 {
    let own = reported(measured, "peak_memory_bytes");
    if row.kind == RowKind::Ours && own > 0.0 {
        own
    } else {
        to_f64(measured.peak)
    }
}

/// A number in the JSON that the agent printed; 0 if there is none.
fn reported(measured: &Measured, key: &str) -> f64 {
    let json = measured.json.as_ref();
    json.and_then(|json| json[key].as_f64()).unwrap_or_default()
}
