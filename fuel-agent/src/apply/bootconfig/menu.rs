//! grub.cfg as it is at the first boot. The system's own `update-grub` replaces it later, with the same kernel
//! parameters.

use super::kernels::Kernel;
use super::parameters::{Parameters, grub_quoted};

/// Everything that is in the menu.
#[derive(Debug)]
pub(super) struct Menu<'a> {
    /// Name of the system, from its os-release.
    pub(super) title: String,
    /// Newest first; at least one.
    pub(super) kernels: Vec<Kernel>,
    /// `root=` for the kernel.
    pub(super) root: String,
    /// UUID of the filesystem that holds the kernels.
    pub(super) uuid: String,
    /// Seconds before the first entry starts.
    pub(super) timeout: u32,
    /// More for the kernel.
    pub(super) parameters: &'a Parameters,
}

impl Menu<'_> {
    /// The text of grub.cfg.
    pub(super) fn render(&self) -> String {
        let mut text = String::from(
            "# Written when this node was installed; `update-grub` (or `grub2-mkconfig`) replaces it.\n",
        );
        text.push_str(&self.head());
        if let Some(newest) = self.kernels.first() {
            text.push_str(&self.entry("", &self.title, newest, ""));
        }
        let more: Vec<String> = self
            .kernels
            .iter()
            .flat_map(|kernel| {
                let name = format!("{}, Linux {}", self.title, kernel.version);
                let recovery = format!("{name} (recovery mode)");
                [
                    self.entry("    ", &name, kernel, ""),
                    self.entry("    ", &recovery, kernel, " single"),
                ]
            })
            .collect();
        let title = quoted(&format!("More ways to start {}", self.title));
        text + &format!("submenu {title} {{\n{}}}\n", more.concat())
    }

    fn head(&self) -> String {
        let uuid = &self.uuid;
        let mut lines = vec![
            "if [ -s $prefix/grubenv ]; then load_env; fi\n".to_owned(),
            "set default=0\n".to_owned(),
            // chosen once, by `grub-reboot`
            "if [ -n \"${next_entry}\" ]; then set default=\"${next_entry}\"; set next_entry=; save_env next_entry; \
             fi\n"
                .to_owned(),
            format!("set timeout={}\n", self.timeout),
            format!("search --no-floppy --fs-uuid --set=root {uuid}\n"),
            "if [ \"${grub_platform}\" = efi ]; then insmod all_video; set gfxpayload=keep; fi\n".to_owned(),
        ];
        if let Some(serial) = self.parameters.serial() {
            lines.push(format!(
                "serial --unit={} --speed={}\n",
                serial.unit, serial.speed
            ));
            lines
                .push("terminal_input console serial\nterminal_output console serial\n".to_owned());
        }
        lines.concat()
    }

    fn entry(&self, indent: &str, title: &str, kernel: &Kernel, more: &str) -> String {
        let title = quoted(title);
        let (path, initrd) = (grub_quoted(&kernel.image), grub_quoted(&kernel.initrd));
        let root = grub_quoted(&format!("root={}", self.root));
        let parameters = self.parameters.for_grub();
        let space = if parameters.is_empty() { "" } else { " " };
        [
            format!("{indent}menuentry {title} --class gnu-linux --class os {{\n"),
            format!("{indent}    linux {path} {root} ro{space}{parameters}{more}\n"),
            format!("{indent}    initrd {initrd}\n"),
            format!("{indent}}}\n"),
        ]
        .concat()
    }
}

/// Always in quotes: titles have spaces anyway.
fn quoted(title: &str) -> String {
    format!("'{}'", title.replace('\'', r"'\''"))
}
