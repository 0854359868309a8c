//! What rows are measured on: a web server, a target and a meter, set up once.
#![expect(
    clippy::print_stdout,
    reason = "figures are read by people while they come"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use host::cancel::Cancel;
use host::exec::System;

use crate::cli::Options;
use crate::image::{Image, Size};
use crate::measure::{self, Measured, Meter};
use crate::record::{Figures, Sample, Samples};
use crate::rows::{After, Before, Link, ROWS, Row, Who, Words};
use crate::run::{Chosen, load};
use crate::served::Stage;
use crate::server::{self, Server};
use crate::target::Target;
use testbed::shell;

/// Our drivers for the write paths of two agents in Python; they call the agents' own code.
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

/// Server, target and meter, set up.
pub(crate) struct BenchEnv<'a> {
    pub(crate) system: System,
    work: PathBuf,
    pub(crate) images: &'a BTreeMap<Size, Image>,
    stage: Stage,
    target: Target,
    meter: Meter,
    words: Words,
    cancel: Cancel,
    _server: Server,
}

impl<'a> BenchEnv<'a> {
    pub(crate) fn build(
        mut system: System,
        work: &Path,
        images: &'a BTreeMap<Size, Image>,
        chosen: &Chosen,
        cancel: &Cancel,
    ) -> Result<Self> {
        let stage = Stage::open(work)?;
        for (size, image) in images {
            stage.add(&mut system, image, &chosen.forms(*size))?;
        }
        let whole = &images[&Size::Whole];
        stage.add_maps(whole)?;
        let drivers = work.join("drivers");
        fs::create_dir_all(&drivers).context("cannot make the folder of drivers")?;
        for (name, text) in DRIVERS {
            fs::write(drivers.join(name), text).context("cannot write a driver")?;
        }
        let server = Server::start(&mut system, work, &stage.folder)?;
        let target = Target::attach(work, whole.raw_size())?;
        let words = Words::default()
            .with("target", target.path().display())
            .with("scratch", stage.scratch().display())
            .with("files", stage.place(whole).display())
            .with("drivers", drivers.display())
            .with("raw_size", whole.raw_size())
            .with("sha256", whole.digest(&mut system, "sha256sum")?)
            .with("md5", whole.digest(&mut system, "md5sum")?);
        Ok(Self {
            meter: Meter::new(cancel)?,
            system,
            work: work.to_owned(),
            images,
            stage,
            target,
            words,
            cancel: cancel.clone(),
            _server: server,
        })
    }

    /// Measures every row once a round.
    pub(crate) fn rounds(
        &mut self,
        options: &Options,
        chosen: &Chosen,
        mut samples: Samples,
    ) -> Result<(Samples, Vec<String>)> {
        let rounds = if options.quick { 1 } else { options.rounds };
        let mut loads = vec![load()];
        for round in 1..=rounds {
            for row in &chosen.rows {
                if !row.is_due(round) || samples.has(row.name, round) {
                    continue;
                }
                let outcome = self.sample(row, round == 1);
                if self.cancel.is_cancelled() {
                    bail!("interrupted; `--resume` goes on from here");
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

    /// One run of a row, with everything before and after it.
    fn sample(&mut self, row: &Row, compare: bool) -> Result<Figures> {
        self.stage.sweep()?;
        self.prepare(row)?;
        let image = &self.images[&row.size];
        let words = self.words_of(row.link, image);
        server::shape(&mut self.system, row.link)?;
        let udev = Path::new("/run/udev/control");
        if row.udev {
            fs::create_dir_all("/run/udev")?;
            fs::write(udev, "")?;
        }
        let busy = measure::busy_share(&self.cancel)?;
        let before = self.target.counters()?;
        let cmd = server::behind(row.link, &words.fill(row.line));
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
            fetched: told(&measured, "fetched_bytes"),
            busy,
        })
    }

    /// Brings the target into the state that the row begins with.
    fn prepare(&mut self, row: &Row) -> Result<()> {
        if !row.writes() {
            return self.target.forget();
        }
        self.target.spoil()?;
        if row.before == Before::Image {
            let image = &self.images[&row.size];
            let words = self.words_of(Link::Loopback, image);
            let script = words.fill(ROWS[0].line);
            shell::run(&mut self.system, Path::new("/"), &script)
                .context("cannot put the image there beforehand")?;
            self.target.forget()?;
        }
        Ok(())
    }

    fn words_of(&self, link: Link, image: &Image) -> Words {
        let folder = image.folder.file_name().unwrap_or_default();
        let url = format!("{}/{}", server::url(link), folder.display());
        self.words.clone().with("url", url)
    }

    fn compare(&self, row: &Row, image: &Image) -> Result<()> {
        let compared = match row.after {
            After::Anything => Ok(()),
            After::Image => self.target.compare(&image.file("disk.raw"), false),
            After::Data => self.target.compare(&image.file("disk.raw"), true),
            After::Newer => self.target.compare(&image.file("newer.raw"), false),
        };
        compared.context("it ended well, but what is on the target is not the image")
    }
}

/// The agent knows its own peak exactly; of others it is what was seen.
fn peak(row: &Row, measured: &Measured) -> f64 {
    let own = told(measured, "peak_memory_bytes");
    if row.who == Who::Ours && own > 0.0 {
        own
    } else {
        to_f64(measured.peak)
    }
}

/// A number that the agent said about itself.
fn told(measured: &Measured, key: &str) -> f64 {
    let said = measured.said.as_ref();
    said.and_then(|said| said[key].as_f64()).unwrap_or_default()
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "amounts of bytes below 2^52"
)]
pub(crate) const fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}
