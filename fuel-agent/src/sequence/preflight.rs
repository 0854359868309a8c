//! The stages before anything is written: all of `plan`, `validate` and dry runs, and the beginning of a run.

use super::discovery::{Discovery, combine, refusal_errors};
use super::{RunOutcome, StageHandler, completion};
use crate::events::{Event, Events};
use crate::model::error::{Error, Kind};
use crate::model::inventory::Inventory;
use crate::model::plan::{Plan, RefusedBy};
use crate::model::request::Request;
use crate::model::sources::Sources;
use crate::model::stage::Stage;
use crate::model::url::RedactedUrl;
use crate::settings::Settings;

/// Reads, plans and validates; holds nothing that could write.
pub struct Preflight<'a> {
    /// Source of request, inventory and image facts.
    pub discovery: &'a mut dyn Discovery,
    /// Settings of the run.
    pub settings: &'a Settings,
    /// Receives progress and warnings.
    pub events: &'a dyn Events,
    /// Results of the stages so far.
    pub known: Discovered,
    /// The last stage to run.
    pub until: Stage,
}

/// What was learned, stage by stage.
#[derive(Debug, Default)]
pub struct Discovered {
    /// The request, after `Setup`.
    pub request: Option<Request>,
    /// The node's inventory, after `Discover`.
    pub inventory: Option<Inventory>,
    /// Facts about the images, after `Discover`.
    pub sources: Option<Sources>,
    /// The plan, after `Plan`.
    pub plan: Option<Plan>,
    /// Warnings of all stages.
    pub warnings: Vec<String>,
}

/// A stage asks for what an earlier one has to have learned: with the stages in their order that cannot fail.
fn known<'k, T>(thing: Option<&'k T>, name: &str) -> Result<&'k T, Error> {
    thing.ok_or_else(|| Error::new(Kind::Internal, format!("{name} is not known yet")))
}

impl Discovered {
    /// The request; an error before its stage.
    pub fn request(&self) -> Result<&Request, Error> {
        known(self.request.as_ref(), "request")
    }

    /// The inventory; an error before its stage.
    pub fn inventory(&self) -> Result<&Inventory, Error> {
        known(self.inventory.as_ref(), "inventory")
    }

    /// Facts about the images; an error before their stage.
    pub fn sources(&self) -> Result<&Sources, Error> {
        known(self.sources.as_ref(), "knowledge of the images")
    }

    /// The plan; an error before its stage.
    pub fn plan(&self) -> Result<&Plan, Error> {
        known(self.plan.as_ref(), "plan")
    }
}

impl Preflight<'_> {
    /// Warns and goes on.
    pub fn warn(&mut self, stage: Stage, message: String) {
        self.events.emit(&Event::Warning {
            stage: Some(stage),
            message: message.clone(),
        });
        self.known.warnings.push(message);
    }

    fn setup(&mut self) -> Result<(), Error> {
        self.known.request = Some(self.discovery.request()?);
        Ok(())
    }

    fn discover(&mut self) -> Result<(), Error> {
        let request = known(self.known.request.as_ref(), "request")?;
        self.known.inventory = Some(self.discovery.inventory(request)?);
        self.known.sources = Some(self.discovery.sources(request)?);
        Ok(())
    }

    fn plan(&mut self) -> Result<(), Error> {
        let (request, inventory, sources) = (
            self.known.request()?,
            self.known.inventory()?,
            self.known.sources()?,
        );
        let plan = self.discovery.plan(request, inventory, sources)?;
        for warning in plan.warnings.clone() {
            self.warn(Stage::Plan, warning);
        }
        // Kept although it is refused: it is what shows why.
        let plan = self.known.plan.insert(plan);
        let by_plan = plan.refusals.iter().filter(|it| it.by == RefusedBy::Plan);
        combine("the plan is refused", refusal_errors(by_plan))
    }

    /// Everything that can be checked before the first write. All errors are reported at once; the first decides the
    /// exit status.
    fn validate(&mut self) -> Result<(), Error> {
        let plan = self.known.plan()?;
        let mut wrong = refusal_errors(plan.refusals.iter());
        for tool in self.discovery.missing(plan) {
            let what = format!("`{}` is not installed", tool.name());
            wrong.push(
                Error::new(Kind::Tool, what)
                    .hint(format!("install the package `{}`", tool.package())),
            );
        }
        wrong.extend(self.discovery.bootable(plan).err());
        let named = self.known.request()?.name.is_some();
        let settings = self.settings;
        let callbacks = completion::check(&settings.success, &settings.failure, named);
        let targets = callbacks.unwrap_or_else(|error| {
            wrong.push(error);
            Vec::new()
        });
        combine("this cannot be done", wrong)?;
        self.ask_targets(&targets);
        Ok(())
    }

    /// An orchestrator that is down now may be there when the run ends, so that is worth a word and no refusal.
    fn ask_targets(&mut self, targets: &[RedactedUrl]) {
        let mut checked: Vec<String> = Vec::new();
        for url in targets {
            let Some(server) = server(url.reveal()).filter(|server| !checked.contains(server))
            else {
                continue;
            };
            if let Err(error) = self.discovery.answers(url.reveal()) {
                let why = error.causes().last().cloned().unwrap_or(error.what);
                self.warn(
                    Stage::Validate,
                    format!(
                        "the callback server {server} is unreachable: {why}; the agent retries at the end of the run"
                    ),
                );
            }
            checked.push(server);
        }
    }
}

/// The server of a URL, as it is shown.
fn server(url: &str) -> Option<String> {
    let origin = url::Url::parse(url).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

impl StageHandler for Preflight<'_> {
    fn has(&self, stage: Stage) -> bool {
        (Stage::Setup..=self.until.min(Stage::Validate)).contains(&stage)
    }

    fn stage(&mut self, stage: Stage, _: &RunOutcome) -> Result<(), Error> {
        match stage {
            Stage::Setup => self.setup(),
            Stage::Discover => self.discover(),
            Stage::Plan => self.plan(),
            Stage::Validate => self.validate(),
            _ => Ok(()),
        }
    }

    fn touched(&self) -> bool {
        false
    }

    fn has_pending(&self) -> bool {
        false
    }
}

impl std::fmt::Debug for Preflight<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preflight")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
