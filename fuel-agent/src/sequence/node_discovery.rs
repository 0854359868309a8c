//! The real [`Discovery`]: request from file, command line or URL; inventory and sources from the node and the network,
//! or from files.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host::cancel::Cancel;
use host::exec::Program;
use host::units::Bytes;
use host::wait;
use uuid::Uuid;

use super::discovery::{Discovery, combine, request_error};
use super::machine::Machine;
use super::request_source::{Input, read_bounded};
use super::signed_request;
use super::stand_in::StandIn;
use super::validity;
use crate::events::Events;
use crate::http::{self, HttpSettings, LocalFiles};
use crate::inventory::{self, Reader};
use crate::model::error::{Error, Kind};
use crate::model::inventory::Inventory;
use crate::model::plan::{Plan, Refusal, RefusedBy};
use crate::model::request::Request;
use crate::model::sources::Sources;
use crate::model::url::RedactedUrl;
use crate::plan::{self, Ids};
use crate::request::{self, Driver};
use crate::settings::{End, Settings};
use crate::source;
use crate::tools::Tool;

/// What only devices of the kernel can be given: on files these steps are skipped.
const UNUSED_ON_FILES: [Tool; 6] = [
    Tool::Dmsetup,
    Tool::GrubMkimage,
    Tool::Lvm,
    Tool::Mdadm,
    Tool::Udevadm,
    Tool::XfsGrowfs,
];

/// Discovery on the real node.
pub struct NodeDiscovery<'a> {
    /// Source of the request.
    pub input: Input,
    /// Dialect of the request.
    pub driver: Driver,
    /// Where the inventory comes from, if not from the node.
    pub inventory: Option<PathBuf>,
    /// Where the sources come from, if not from their servers.
    pub sources: Option<PathBuf>,
    /// Whether servers are not asked.
    pub offline: bool,
    /// Files that stand for disks.
    pub disks: &'a [StandIn],
    /// Settings of the run.
    pub settings: &'a Settings,
    /// How long to wait for a request that its server does not have yet; zero for commands that only read.
    pub url_wait: Duration,
    /// Receives a note while it waits.
    pub events: &'a dyn Events,
    /// Identity of the machine.
    pub machine: Machine,
    /// Set by SIGTERM.
    pub cancel: Cancel,
    /// Reads the machine.
    pub reader: Reader,
}

/// Random identifiers: a run's.
struct RandomIds;

impl Ids for RandomIds {
    fn uuid(&mut self) -> Uuid {
        Uuid::new_v4()
    }
}

impl NodeDiscovery<'_> {
    /// Options for planning.
    fn options(&self) -> plan::Options {
        plan::Options {
            protect: self.settings.protect.clone(),
            protect_strict: self.settings.protect_strict,
            allow_removable: self.settings.allow_removable,
            allow_other_seeds: self.settings.allow_other_seeds,
            // A file has no ids; a disk named on the command line is chosen by that.
            match_by_name: self.settings.match_by_name || !self.disks.is_empty(),
            allow_unverified: self.settings.allow_unverified,
            images: self.settings.packed.images.clone(),
            phone_home: self.settings.phone_home.clone(),
            first_boot: self.settings.first_boot,
            kexec: self.settings.end == Some(End::Kexec),
            gpt_active: self.settings.gpt_active,
        }
    }

    /// For the request itself, which the settings name.
    pub(super) fn client(&self) -> Result<http::Client, Error> {
        let settings = HttpSettings {
            files: LocalFiles::Anywhere,
            ..self.settings.http.clone()
        };
        Ok(http::Client::new(&settings, self.cancel.clone())?)
    }

    /// For what the request names.
    fn image_client(&self) -> Result<http::Client, Error> {
        Ok(http::Client::new(&self.settings.http, self.cancel.clone())?)
    }

    /// Why a file that the request names as an image is not read.
    fn refused_file(&self, url: &RedactedUrl) -> Option<Refusal> {
        let beside = source::files_beside(url.reveal());
        let mut named = std::iter::once(url.reveal().to_owned()).chain(beside);
        let error = named.find_map(|url| self.settings.http.files.check(&url).err())?;
        Some(Refusal {
            kind: error.kind(),
            by: RefusedBy::Run,
            what: error.to_string(),
            hint: error.hint().unwrap_or_default().to_owned(),
        })
    }
}

impl std::fmt::Debug for NodeDiscovery<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("disks", &self.disks)
            .finish_non_exhaustive()
    }
}

/// Whether every disk that the request names is there, and only once.
fn complete(request: &Request, inventory: &Inventory) -> bool {
    plan::select::select_all(&request.storage.disks, inventory).is_ok()
}

/// A JSON file in a format of the agent: an inventory, image facts.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path, name: &str) -> Result<T, Error> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        let what = format!("cannot read the {name} in {}", path.display());
        Error::new(Kind::Usage, what).because(error)
    };
    let bytes = read_bounded(path).map_err(|error| failed(error.into()))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
}

impl Discovery for NodeDiscovery<'_> {
    fn request(&mut self) -> Result<Request, Error> {
        let bytes = self.text()?;
        let text = request::utf8(&bytes).map_err(|problem| request_error(&[problem]))?;
        let document = request::parse(text).map_err(|problem| request_error(&[problem]))?;
        let holds = request::validity(&document).map_err(|problems| request_error(&problems))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        // An inventory from a file is another machine's.
        let machine = self.inventory.is_none().then_some(&self.machine);
        validity::check(&holds, machine, now.unwrap_or_default())?;
        let mut context = request::Context {
            driver: self.driver,
            ..request::Context::default()
        };
        let configdrive = Path::new(crate::model::request::READY_CONFIGDRIVE);
        if let Some(file) = std::fs::metadata(configdrive)
            .ok()
            .filter(std::fs::Metadata::is_file)
        {
            context.ready_configdrive = Some(Bytes(file.len()));
            if Bytes(file.len()) <= request::Context::LARGEST_WRAPPED {
                std::fs::read(configdrive)
                    .map(|bytes| context.look_into(bytes))
                    .ok();
            }
        }
        let mut request =
            request::check(&document, context).map_err(|problems| request_error(&problems))?;
        if let (Input::Url(url), true) = (&self.input, self.settings.request_keys.is_empty()) {
            request.warnings.extend(signed_request::warning(url));
        }
        Ok(request)
    }

    fn inventory(&mut self, request: &Request) -> Result<Inventory, Error> {
        if let Some(path) = &self.inventory {
            let failed = |error| {
                let what = format!("cannot read the inventory in {}", path.display());
                Error::new(Kind::Usage, what).because(error)
            };
            let text = read_bounded(path).and_then(|bytes| {
                String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
            });
            return inventory::from_json(&text.map_err(failed)?);
        }
        let reader = &mut self.reader;
        let mut last = None;
        let found = wait::until_or_cancelled(self.settings.discover_wait, &self.cancel, || {
            let inventory = inventory::probe(reader).map_err(io::Error::other)?;
            if complete(request, &inventory) {
                return Ok(Some(inventory));
            }
            last = Some(inventory);
            Ok(None)
        });
        match (found, last) {
            (Ok(inventory), _) => Ok(inventory),
            // Planning reports what is missing, and what there is.
            (Err(error), Some(inventory)) if error.kind() == io::ErrorKind::TimedOut => {
                Ok(inventory)
            }
            (Err(error), _) => Err(match error.downcast::<Error>() {
                Ok(ours) => ours,
                Err(error) => Error::new(Kind::Hardware, "cannot look at this node").because(error),
            }),
        }
    }

    fn sources(&mut self, request: &Request) -> Result<Sources, Error> {
        if let Some(path) = &self.sources {
            let sources: Sources = read_json(path, "sources")?;
            return Ok(sources.stated_by(&path.display().to_string()));
        }
        if self.offline {
            return Ok(Sources::default());
        }
        let probe_options = source::ProbeOptions {
            signers: self.settings.packed.signers(),
            mirrors: &self.settings.packed.mirrors,
        };
        // Files that are refused are not looked at.
        let mut images = request.images.clone();
        images.retain(|image| self.refused_file(&image.url).is_none());
        Ok(source::probe_images(
            &self.image_client()?,
            &images,
            probe_options,
        )?)
    }

    fn plan(
        &mut self,
        request: &Request,
        inventory: &Inventory,
        sources: &Sources,
    ) -> Result<Plan, Error> {
        let planned = plan::plan(request, inventory, sources, &self.options(), &mut RandomIds);
        match planned {
            Ok(mut plan) => {
                let images = request.images.iter();
                let mut refusals: Vec<Refusal> = images
                    .filter_map(|image| self.refused_file(&image.url))
                    .collect();
                // They come first: a file that was not looked at is missed elsewhere too.
                refusals.append(&mut plan.refusals);
                plan.refusals = refusals;
                Ok(plan)
            }
            Err(errors) => {
                let errors = errors.into_iter().map(Error::from).collect();
                combine("this cannot be planned", errors)?;
                Err(Error::new(
                    Kind::Internal,
                    "planning failed without a reason",
                ))
            }
        }
    }

    fn missing(&self, plan: &Plan) -> Vec<Program> {
        let mut tools = plan.tools();
        if !self.disks.is_empty() {
            tools.retain(|tool| !UNUSED_ON_FILES.contains(tool));
        }
        self.reader.missing(&tools)
    }

    fn reality(&mut self) -> Result<Option<Inventory>, Error> {
        if self.inventory.is_none() || !self.disks.is_empty() {
            return Ok(None);
        }
        inventory::probe(&mut self.reader).map(Some)
    }

    fn bootable(&self, plan: &Plan) -> Result<(), Error> {
        if self.disks.is_empty() {
            return super::boot_code::check(plan, &self.settings.grub);
        }
        Ok(())
    }

    fn answers(&mut self, url: &str) -> Result<(), Error> {
        if self.offline {
            return Ok(());
        }
        Ok(http::answers(&self.client()?, url)?)
    }
}
