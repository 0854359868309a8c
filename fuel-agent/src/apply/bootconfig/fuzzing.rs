//! A door for the fuzzer: kernel parameters, and how they are quoted.

use super::kernels::Kernel;
use super::menu::Menu;
use super::parameters::Parameters;

/// Kernel parameters in each of their forms.
#[derive(Debug)]
pub struct Quoted {
    /// For a `linux` line of grub.cfg.
    pub grub: String,
    /// For a kernel that is started directly.
    pub kernel: String,
    /// For a double-quoted assignment of a shell.
    pub shell: String,
    /// The text of grub.cfg.
    pub menu: String,
}

/// The forms of `line`, in a menu of the system `title`.
pub fn quoted(title: &str, line: &str) -> Quoted {
    let parameters = Parameters::parse(line);
    let _ = (parameters.are_plain(), parameters.other_root("UUID=1", &[]));
    let menu = Menu {
        title: title.to_owned(),
        kernels: vec![Kernel {
            version: "6.1".to_owned(),
            image: "/boot/vmlinuz-6.1".to_owned(),
            initrd: "/boot/initrd.img-6.1".to_owned(),
        }],
        root: "UUID=1".to_owned(),
        uuid: "1".to_owned(),
        timeout: 5,
        parameters: &parameters,
    };
    Quoted {
        grub: parameters.for_grub(),
        kernel: parameters.for_kernel(),
        shell: parameters.for_shell(),
        menu: menu.render(),
    }
}
