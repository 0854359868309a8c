//! What the installed system changes of itself at its first boot, beyond what the request asks for.

use super::request::Dialect;

/// Changes by cloud-init. Fuel's templates made the first four; each weakens a plain system, so each has its switch.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a change of its own, with its own switch"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstBoot {
    /// The iptables chains INPUT and FORWARD are flushed.
    pub flush_iptables: bool,
    /// `SELinux` is switched off for good; only on Red Hat's family.
    pub disable_selinux: bool,
    /// Core dumps are kept, those of setuid programs too; only on Red Hat's family.
    pub core_dumps: bool,
    /// All log messages are also sent to the orchestrator, by UDP in clear.
    pub remote_log: bool,
    /// The cloud-init data is wiped from its partition and from cloud-init's cache when its last stage has succeeded.
    pub wipe_configdrive: bool,
}

impl FirstBoot {
    /// What it does, a line each, for the plan.
    pub fn lines(&self) -> Vec<&'static str> {
        [
            (
                self.flush_iptables,
                "flushes the iptables chains INPUT and FORWARD",
            ),
            (self.disable_selinux, "switches SELinux off"),
            (
                self.core_dumps,
                "keeps core dumps in /var/log/coredump, those of setuid programs too",
            ),
            (
                self.remote_log,
                "sends all log messages to the orchestrator by UDP",
            ),
            (
                self.wipe_configdrive,
                "wipes the cloud-init data when its last stage has succeeded, and disables cloud-init",
            ),
        ]
        .into_iter()
        .filter_map(|(is_so, line)| is_so.then_some(line))
        .collect()
    }
}

/// The switches of the settings; `None`: as Fuel did for its own requests, and not for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstBootSwitches {
    /// See [`FirstBoot::flush_iptables`].
    pub flush_iptables: Option<bool>,
    /// See [`FirstBoot::disable_selinux`].
    pub disable_selinux: Option<bool>,
    /// See [`FirstBoot::core_dumps`].
    pub core_dumps: Option<bool>,
    /// See [`FirstBoot::remote_log`].
    pub remote_log: Option<bool>,
    /// See [`FirstBoot::wipe_configdrive`].
    pub wipe_configdrive: bool,
}

impl FirstBootSwitches {
    /// What becomes of them for a request of this dialect; `red_hat`: the installed system is of that family.
    pub fn of(self, dialect: Dialect, red_hat: bool) -> FirstBoot {
        let default = dialect == Dialect::Nailgun;
        FirstBoot {
            flush_iptables: self.flush_iptables.unwrap_or(default),
            disable_selinux: self.disable_selinux.unwrap_or(default) && red_hat,
            core_dumps: self.core_dumps.unwrap_or(default) && red_hat,
            remote_log: self.remote_log.unwrap_or(default),
            wipe_configdrive: self.wipe_configdrive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuels_own_requests_get_what_fuel_did_and_others_do_not() {
        let plain = FirstBootSwitches::default();
        assert_eq!(plain.of(Dialect::Nailgun, true).lines().len(), 4);
        assert_eq!(plain.of(Dialect::Nailgun, false).lines().len(), 2);
        for dialect in [Dialect::NailgunSimple, Dialect::Ironic] {
            assert_eq!(plain.of(dialect, true), FirstBoot::default());
        }
        let switched = FirstBootSwitches {
            flush_iptables: Some(false),
            disable_selinux: Some(true),
            core_dumps: Some(false),
            remote_log: Some(false),
            wipe_configdrive: true,
        };
        let lines = switched.of(Dialect::NailgunSimple, true).lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(!switched.of(Dialect::Nailgun, false).disable_selinux);
    }
}
