//! The boot configuration in a tree as images have it.

use super::*;
use crate::model::index::{DiskIndex, FilesystemIndex};
use crate::testing::sample_plan;

fn tree(files: &[&str]) -> (tempfile::TempDir, TargetTree) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("root")).unwrap();
    let tree = TargetTree::at(&folder.path().join("root"));
    for path in files {
        tree.write(path, "x", 0o644).unwrap();
    }
    (folder, tree)
}

fn menu<'a>(plan: &Plan, parameters: &'a Parameters, tree: &TargetTree) -> Menu<'a> {
    let uuids = sample_plan::uuids();
    Menu {
        title: title(tree).unwrap(),
        kernels: kernels::find(tree, plan_has_boot(plan)).unwrap(),
        root: root_argument(plan, &uuids).unwrap(),
        uuid: BootFolder::of(plan, &uuids, tree).unwrap().uuid,
        timeout: FIRST_TIMEOUT,
        parameters,
    }
}

#[test]
fn the_menu_starts_the_newest_kernel_and_offers_the_rest() {
    let (_folder, tree) = tree(&[
        "boot/vmlinuz-6.1.0-18-amd64",
        "boot/initrd.img-6.1.0-18-amd64",
        "boot/vmlinuz-6.1.0-9-amd64",
        "boot/initrd.img-6.1.0-9-amd64",
    ]);
    tree.write(
        "etc/os-release",
        "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
        0o644,
    )
    .unwrap();
    let plan = sample_plan::plan();
    let parameters = Parameters::parse(&plan.boot.kernel_params);
    insta::assert_snapshot!(menu(&plan, &parameters, &tree).render(), @r#"
    # Written when this node was installed; `update-grub` (or `grub2-mkconfig`) replaces it.
    if [ -s $prefix/grubenv ]; then load_env; fi
    set default=0
    if [ -n "${next_entry}" ]; then set default="${next_entry}"; set next_entry=; save_env next_entry; fi
    set timeout=1
    search --no-floppy --fs-uuid --set=root 0000b007-0000-0000-0000-000000000000
    if [ "${grub_platform}" = efi ]; then insmod all_video; set gfxpayload=keep; fi
    serial --unit=0 --speed=115200
    terminal_input console serial
    terminal_output console serial
    menuentry 'Debian GNU/Linux 12 (bookworm)' --class gnu-linux --class os {
        linux /vmlinuz-6.1.0-18-amd64 root=/dev/mapper/os-root ro console=ttyS0,115200 console=tty0 net.ifnames=0
        initrd /initrd.img-6.1.0-18-amd64
    }
    submenu 'More ways to start Debian GNU/Linux 12 (bookworm)' {
        menuentry 'Debian GNU/Linux 12 (bookworm), Linux 6.1.0-18-amd64' --class gnu-linux --class os {
            linux /vmlinuz-6.1.0-18-amd64 root=/dev/mapper/os-root ro console=ttyS0,115200 console=tty0 net.ifnames=0
            initrd /initrd.img-6.1.0-18-amd64
        }
        menuentry 'Debian GNU/Linux 12 (bookworm), Linux 6.1.0-18-amd64 (recovery mode)' --class gnu-linux --class os {
            linux /vmlinuz-6.1.0-18-amd64 root=/dev/mapper/os-root ro console=ttyS0,115200 console=tty0 net.ifnames=0 single
            initrd /initrd.img-6.1.0-18-amd64
        }
        menuentry 'Debian GNU/Linux 12 (bookworm), Linux 6.1.0-9-amd64' --class gnu-linux --class os {
            linux /vmlinuz-6.1.0-9-amd64 root=/dev/mapper/os-root ro console=ttyS0,115200 console=tty0 net.ifnames=0
            initrd /initrd.img-6.1.0-9-amd64
        }
        menuentry 'Debian GNU/Linux 12 (bookworm), Linux 6.1.0-9-amd64 (recovery mode)' --class gnu-linux --class os {
            linux /vmlinuz-6.1.0-9-amd64 root=/dev/mapper/os-root ro console=ttyS0,115200 console=tty0 net.ifnames=0 single
            initrd /initrd.img-6.1.0-9-amd64
        }
    }
    "#);
}

#[test]
fn a_root_on_a_partition_is_named_by_uuid_and_holds_boot() {
    let (_folder, tree) = tree(&["boot/vmlinuz-6.1", "boot/initrd.img-6.1"]);
    let mut plan = sample_plan::plan();
    plan.filesystems.remove(0);
    plan.filesystems[0].on = BlockRef::Partition {
        disk: DiskIndex(0),
        number: 4,
    };
    let mut uuids = sample_plan::uuids();
    let (root, of_root) = (
        FilesystemIndex(0),
        uuids.remove(&FilesystemIndex(1)).unwrap(),
    );
    uuids.insert(root, of_root);
    let folder = BootFolder::of(&plan, &uuids, &tree).unwrap();
    assert_eq!(
        (folder.path.as_str(), folder.in_tree.as_str()),
        ("/boot/grub", "boot/grub")
    );
    assert_eq!(folder.uuid, uuids[&root]);
    assert_eq!(
        root_argument(&plan, &uuids).unwrap(),
        format!("UUID={}", folder.uuid)
    );
    assert_eq!(
        kernels::find(&tree, false).unwrap()[0].image,
        "/boot/vmlinuz-6.1"
    );
}

#[test]
fn red_hats_folder_is_grub2() {
    let (_folder, tree) = tree(&["usr/sbin/grub2-mkconfig"]);
    let folder = BootFolder::of(&sample_plan::plan(), &sample_plan::uuids(), &tree).unwrap();
    assert_eq!(
        (folder.path.as_str(), folder.in_tree.as_str()),
        ("/grub2", "boot/grub2")
    );
}

#[test]
fn modules_of_our_core_replace_the_images_own() {
    let (folder, tree) = tree(&["boot/grub/i386-pc/core.img", "boot/grub/i386-pc/lvm.mod"]);
    let grub = folder.path().join("lib");
    std::fs::create_dir_all(grub.join("i386-pc")).unwrap();
    for name in ["normal.mod", "lvm.mod", "moddep.lst", "boot.img"] {
        std::fs::write(grub.join("i386-pc").join(name), "ours").unwrap();
    }
    let place = BootFolder::of(&sample_plan::plan(), &sample_plan::uuids(), &tree).unwrap();
    modules(&tree, &place, &grub, Platform::Pc).unwrap();
    assert_eq!(
        tree.list("boot/grub/i386-pc").unwrap(),
        ["lvm.mod", "moddep.lst", "normal.mod"]
    );
    assert_eq!(
        tree.read("boot/grub/i386-pc/lvm.mod").unwrap().unwrap(),
        "ours"
    );
    let environment = tree.read("boot/grub/grubenv").unwrap().unwrap();
    assert_eq!(environment.len(), 1024);
    assert!(environment.starts_with("# GRUB Environment Block\n####"));
    let error = modules(&tree, &place, &grub, Platform::Efi).unwrap_err();
    assert_eq!(
        error.hint.unwrap(),
        "install the package `grub-efi-amd64-bin`"
    );
}

#[test]
fn a_title_is_found_or_made_up() {
    let (_folder, tree) = tree(&[]);
    assert_eq!(title(&tree).unwrap(), "Linux");
    tree.write("usr/lib/os-release", "PRETTY_NAME='It'\n", 0o644)
        .unwrap();
    assert_eq!(title(&tree).unwrap(), "It");
}

struct RecordedEvents(std::sync::Mutex<Vec<String>>);

impl crate::events::Events for RecordedEvents {
    fn emit(&self, event: &Event) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

/// Performs what the stage `configure` writes into the tree, on real disks or on files that stand for them.
fn configure(
    folder: &Path,
    mounted: bool,
    devices: &host::fake::FakeDevices,
) -> (Vec<Outcome>, super::super::context::State, Vec<String>) {
    use crate::model::step::{Configure, PlannedStep, Step};
    let grub = folder.join("lib/i386-pc");
    std::fs::create_dir_all(&grub).unwrap();
    std::fs::write(grub.join("normal.mod"), "").unwrap();
    let plan = sample_plan::plan();
    let (script, mounts) = (host::fake::Script::new(), host::fake::FakeMounts::new());
    let mut host = host::fake::host(&script, devices, &mounts);
    let options = crate::apply::context::Options {
        work: folder.to_owned(),
        grub: folder.join("lib"),
        allow_unverified: false,
        packed: crate::source::policy::PackedPolicy::default(),
        http: crate::http::HttpSettings::default(),
    };
    let root = folder.join("root");
    let mut state = super::super::context::State {
        filesystem_uuids: sample_plan::uuids(),
        target: mounted.then(|| crate::apply::context::Target {
            root,
            mounts: Vec::new(),
        }),
        ..Default::default()
    };
    let recorded = RecordedEvents(std::sync::Mutex::new(Vec::new()));
    let mut outcomes = Vec::new();
    for step in [
        Step::Configure(Configure::Fstab),
        Step::Configure(Configure::Identity),
        Step::Configure(Configure::BootConfig),
    ] {
        let approved = crate::plan::approve::ApprovedPlan::assumed(plan.clone());
        let mut context = Context {
            plan: &approved,
            host: &mut host,
            events: &recorded,
            options: &options,
            state: &mut state,
        };
        let planned = PlannedStep {
            number: 1,
            stage: Stage::Configure,
            step,
            what: String::new(),
            destroys: Vec::new(),
        };
        outcomes.push(crate::apply::perform(&planned, &mut context).unwrap());
    }
    (outcomes, state, recorded.0.into_inner().unwrap())
}

#[test]
fn the_steps_of_configure_make_a_tree_that_can_start() {
    let (folder, tree) = tree(&[
        "boot/vmlinuz-6.1",
        "boot/initrd.img-6.1",
        "usr/bin/cloud-init",
    ]);
    let devices = host::fake::FakeDevices::new().with("/dev/sda", host::units::Bytes::MIB);
    let (outcomes, state, warnings) = configure(folder.path(), true, &devices);
    assert_eq!(
        outcomes,
        [Outcome::Changed, Outcome::Changed, Outcome::Changed]
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(state.boot_folder.unwrap().path, "/grub");
    let files = [
        "etc/fstab",
        "etc/hostname",
        "etc/hosts",
        "etc/nailgun-agent/nodiscover",
        "etc/udev/rules.d/70-persistent-net.rules",
        "boot/grub/grub.cfg",
        "boot/grub/i386-pc/normal.mod",
        "etc/default/grub",
    ];
    for file in files {
        assert!(tree.has_file(file).unwrap(), "{file}");
    }
    // nothing is written to a disk but through the mounted tree
    assert_eq!(devices.transcript(), "");
}

#[test]
fn on_files_that_stand_for_disks_they_are_skipped_and_say_why() {
    let (folder, tree) = tree(&[]);
    let disk = host::fake::FakeDevices::new().with("/dev/sda", host::units::Bytes::MIB);
    let (outcomes, state, _) = configure(folder.path(), false, &disk.as_file());
    for outcome in outcomes {
        assert!(matches!(outcome, Outcome::Skipped { .. }), "{outcome:?}");
    }
    assert_eq!(state.boot_folder, None);
    assert_eq!(tree.list("").unwrap(), Vec::<String>::new());
}
