//! The files of a seed, and filesystems with them, checked by other programs.

use host::cancel::Cancel;
use host::exec::{Cmd, Exec, ExecError, Program, System};

use super::*;

fn seed() -> Seed {
    Seed {
        instance_id: "8f0f6a3a-7a5e-4c0e-9f55-4f4a5e0b6c1d".to_owned(),
        hostname: "node-1".to_owned(),
        fqdn: "node-1.example.com".to_owned(),
        public_keys: vec!["ssh-ed25519 AAAAC3 root@master".to_owned()],
        user_data: vec![Part {
            kind: PartKind::CloudConfig,
            file_name: "cloud-config".to_owned(),
            content: "#cloud-config\nlocale: C.UTF-8\n".to_owned(),
        }],
        network: Some(Network {
            ethernets: vec![Ethernet {
                name: "eth0".to_owned(),
                mac: "08:00:27:79:da:80".to_owned(),
                addresses: vec![Address {
                    ip: [10, 20, 0, 3].into(),
                    prefix: 24,
                }],
                gateways: vec![[10, 20, 0, 1].into()],
                name_servers: Vec::new(),
                search: Vec::new(),
            }],
        }),
        vendor_data: None,
    }
}

fn format(size: u64, sector_size: u32) -> fat::Format<'static> {
    fat::Format {
        size,
        sector_size,
        label: LABEL_NOCLOUD,
        volume_id: 0x8f0f_6a3a,
        purpose: fat::Purpose::Data,
    }
}

const BLKID: Program = Program::new("blkid", "util-linux");
const FSCK: Program = Program::new("fsck.fat", "dosfstools");
const MDIR: Program = Program::new("mdir", "mtools");

/// Runs a checker on the image; `None` if it is not installed.
fn checked_by(program: Program, args: &[&str], image: &[u8]) -> Option<(bool, String)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), image).unwrap();
    let cmd = Cmd::new(program).args(args).arg(file.path());
    match System::new(Cancel::new()).run(&cmd) {
        Ok(output) => Some((true, output.stdout + &output.stderr)),
        Err(error @ ExecError::Missing { .. }) => {
            host::fake::skipped(format_args!("{error}"));
            None
        }
        Err(error) => Some((false, error.to_string())),
    }
}

fn is_clean(image: &[u8]) {
    if let Some((ok, text)) = checked_by(FSCK, &["-n", "-v"], image) {
        assert!(ok, "{text}");
    }
}

#[expect(clippy::too_many_lines, reason = "most of them are the files")]
#[test]
fn the_same_data_goes_to_both_layouts() {
    let files = files(&seed()).unwrap();
    let text: Vec<String> = files
        .iter()
        .map(|file| {
            let content = String::from_utf8(file.content.clone()).unwrap();
            format!("--- {}\n{content}", file.path)
        })
        .collect();
    insta::assert_snapshot!(text.concat(), @r#"
    --- meta-data
    instance-id: 8f0f6a3a-7a5e-4c0e-9f55-4f4a5e0b6c1d
    local-hostname: node-1.example.com
    public-keys:
    - ssh-ed25519 AAAAC3 root@master
    --- user-data
    #cloud-config
    locale: C.UTF-8
    --- network-config
    version: 2
    ethernets:
      eth0:
        match:
          macaddress: 08:00:27:79:da:80
        set-name: eth0
        dhcp4: false
        addresses:
        - 10.20.0.3/24
        routes:
        - to: 0.0.0.0/0
          via: "10.20.0.1"
    --- openstack/latest/meta_data.json
    {
      "uuid": "8f0f6a3a-7a5e-4c0e-9f55-4f4a5e0b6c1d",
      "hostname": "node-1.example.com",
      "name": "node-1",
      "public_keys": {
        "key-0": "ssh-ed25519 AAAAC3 root@master"
      }
    }
    --- openstack/latest/meta_data
    instance-id: 8f0f6a3a-7a5e-4c0e-9f55-4f4a5e0b6c1d
    local-hostname: node-1.example.com
    public-keys:
    - ssh-ed25519 AAAAC3 root@master
    --- openstack/latest/user_data
    #cloud-config
    locale: C.UTF-8
    --- openstack/latest/network_data.json
    {
      "links": [
        {
          "id": "eth0",
          "name": "eth0",
          "type": "phy",
          "ethernet_mac_address": "08:00:27:79:da:80"
        }
      ],
      "networks": [
        {
          "id": "network0",
          "link": "eth0",
          "type": "ipv4",
          "network_id": "network0",
          "ip_address": "10.20.0.3",
          "netmask": "255.255.255.0",
          "routes": [
            {
              "network": "0.0.0.0",
              "netmask": "0.0.0.0",
              "gateway": "10.20.0.1"
            }
          ]
        }
      ],
      "services": []
    }
    --- openstack/latest/vendor_data.json
    {}
    "#);
}

#[test]
fn vendor_data_reaches_both() {
    let mut seed = seed();
    seed.vendor_data = Some("#cloud-config\n{}\n".to_owned());
    let names: Vec<String> = files(&seed).unwrap().into_iter().map(|f| f.path).collect();
    assert!(names.contains(&"vendor-data".to_owned()), "{names:?}");
    let files = files(&seed).unwrap();
    let vendor = files.last().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&vendor.content),
        "{\n  \"cloud-init\": \"#cloud-config\\n{}\\n\"\n}\n"
    );
}

#[test]
fn secrets_do_not_print() {
    let mut seed = seed();
    seed.user_data[0].content = "hunter2".to_owned();
    let files = files(&seed).unwrap();
    let text = format!("{seed:?} {:?} {files:?}", seed.user_data);
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn the_filesystem_is_clean_at_every_size_and_sector() {
    let files = files(&seed()).unwrap();
    for sector in [512, 4096] {
        for mib in [2, 15, 16, 17, 20, 33, 64] {
            let bytes = fat::image(&format(mib << 20, sector), &files)
                .unwrap_or_else(|e| panic!("{mib} MiB, {sector}: {e}"));
            is_clean(&bytes);
            fat::check(std::io::Cursor::new(&bytes[..]), &files).unwrap();
        }
    }
}

#[test]
fn a_size_that_fills_no_cluster_is_fine() {
    let files = files(&seed()).unwrap();
    for size in [(20 << 20) + 512, (20 << 20) + 3584, 20_000_000 / 512 * 512] {
        is_clean(&fat::image(&format(size, 512), &files).unwrap());
    }
}

#[test]
fn earlier_content_of_the_disk_is_not_part_of_the_filesystem() {
    let files = files(&seed()).unwrap();
    let mut bytes = vec![0xAA; 20 << 20];
    fat::write(
        std::io::Cursor::new(&mut bytes[..]),
        &format(20 << 20, 512),
        &files,
    )
    .unwrap();
    is_clean(&bytes);
    fat::check(std::io::Cursor::new(&bytes[..]), &files).unwrap();
}

#[test]
fn blkid_finds_label_and_instance() {
    let bytes = fat::image(&format(20 << 20, 512), &files(&seed()).unwrap()).unwrap();
    if let Some((ok, text)) = checked_by(BLKID, &["-p", "-o", "export"], &bytes) {
        assert!(ok, "{text}");
        for line in ["LABEL=CIDATA", "UUID=8F0F-6A3A", "TYPE=vfat"] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
    }
}

#[test]
fn another_implementation_lists_the_long_names() {
    let bytes = fat::image(&format(20 << 20, 512), &files(&seed()).unwrap()).unwrap();
    if let Some((ok, text)) = checked_by(MDIR, &["-/", "-b", "-i"], &bytes) {
        assert!(ok, "{text}");
        for name in [
            "meta-data",
            "network-config",
            "openstack/latest/meta_data.json",
        ] {
            assert!(text.contains(name), "{text}");
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let files = files(&seed()).unwrap();
    let make = || fat::image(&format(4 << 20, 512), &files).unwrap();
    assert_eq!(make(), make());
}

#[test]
fn an_esp_is_fat32_where_there_is_room() {
    let mut format = format(200 << 20, 512);
    format.purpose = fat::Purpose::EfiSystem;
    let loader = [File::new("EFI/BOOT/BOOTX64.EFI", vec![7; 300_000])];
    let bytes = fat::image(&format, &loader).unwrap();
    assert_eq!(&bytes[82..90], b"FAT32   ");
    is_clean(&bytes);
    format.sector_size = 4096;
    is_clean(&fat::image(&format, &loader).unwrap());
}

#[test]
fn boot_files_are_set_aside_by_name_and_their_bytes_stay() {
    let loader = File::new("EFI/BOOT/BOOTX64.EFI", vec![7; 5000]);
    let other = File::new("EFI/debian/grub.cfg", b"x".to_vec());
    let mut bytes = fat::image(&format(8 << 20, 512), &[loader.clone(), other.clone()]).unwrap();
    let volume = std::io::Cursor::new(&mut bytes[..]);
    let moved = fat::set_aside(volume, ".off", |path| path.ends_with("X64.EFI")).unwrap();
    assert_eq!(moved, ["EFI/BOOT/BOOTX64.EFI"]);
    is_clean(&bytes);
    let aside = File::new("EFI/BOOT/BOOTX64.EFI.off", vec![7; 5000]);
    fat::check(
        std::io::Cursor::new(&bytes[..]),
        &[aside.clone(), other.clone()],
    )
    .unwrap();
    fat::update(
        std::io::Cursor::new(&mut bytes[..]),
        std::slice::from_ref(&loader),
    )
    .unwrap();
    is_clean(&bytes);
    fat::check(std::io::Cursor::new(&bytes[..]), &[aside, other, loader]).unwrap();
}

#[test]
fn setting_aside_twice_replaces_what_was_set_aside() {
    let loader = [File::new("EFI/BOOT/BOOTX64.EFI", vec![7; 5000])];
    let mut bytes = fat::image(&format(8 << 20, 512), &loader).unwrap();
    for _ in 0..2 {
        fat::set_aside(std::io::Cursor::new(&mut bytes[..]), ".off", |path| {
            path.ends_with("X64.EFI")
        })
        .unwrap();
        fat::update(std::io::Cursor::new(&mut bytes[..]), &loader).unwrap();
    }
    is_clean(&bytes);
    assert_eq!(
        fat::read(std::io::Cursor::new(&bytes[..])).unwrap().len(),
        2
    );
}

#[test]
fn what_fits_is_known_without_making_it() {
    for (size, sector) in [(1 << 20, 512), (2 << 20, 512), (8 << 20, 4096)] {
        let format = format(size, sector);
        let files = |length: u64| {
            let length = usize::try_from(length).unwrap();
            let mut files = files(&seed()).unwrap();
            files.push(File::new("openstack/latest/more", vec![b'x'; length]));
            files
        };
        // The largest file that `fits` accepts, to the byte.
        let (mut fits, mut too_large) = (0, size);
        while too_large - fits > 1 {
            let middle = u64::midpoint(fits, too_large);
            if fat::fits(&format, &files(middle)).unwrap() {
                fits = middle;
            } else {
                too_large = middle;
            }
        }
        assert!(fits > size / 2, "{fits} of {size}");
        assert!(
            fat::image(&format, &files(fits)).is_ok(),
            "{size}, {sector}: {fits}"
        );
        assert!(
            fat::image(&format, &files(too_large)).is_err(),
            "{size}, {sector}: {too_large}"
        );
    }
    assert!(fat::fits(&format(4096, 512), &[]).is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    for (size, sector) in [(0, 512), (4096, 512), (20 << 20, 520), (100 << 10, 4096)] {
        let error = fat::image(&format(size, sector), &[]).unwrap_err();
        assert!(matches!(error, fat::FatError::NoFormat { .. }), "{error}");
    }
    let large = [File::new("user-data", vec![b'x'; 4 << 20])];
    assert!(fat::image(&format(2 << 20, 512), &large).is_err());
    for path in ["", "a//b", "../a", "a/"] {
        assert!(
            fat::image(&format(2 << 20, 512), &[File::new(path, "x")]).is_err(),
            "{path}"
        );
    }
}

/// A disk that fails at its `n`th write.
struct Failing {
    medium: std::io::Cursor<Vec<u8>>,
    writes: usize,
    last: usize,
}

impl std::io::Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.medium.read(buffer)
    }
}

impl std::io::Seek for Failing {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.medium.seek(to)
    }
}

impl std::io::Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writes += 1;
        if self.writes == self.last {
            return Err(std::io::Error::from_raw_os_error(5));
        }
        self.medium.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_write_that_fails_is_never_lost() {
    let files = files(&seed()).unwrap();
    let mut failing_at = 1;
    loop {
        let mut medium = Failing {
            medium: std::io::Cursor::new(vec![0; 2 << 20]),
            writes: 0,
            last: failing_at,
        };
        let result = fat::write(&mut medium, &format(2 << 20, 512), &files);
        if medium.writes < failing_at {
            result.unwrap();
            assert!(failing_at > 20, "{failing_at}");
            break;
        }
        assert!(
            result.is_err(),
            "write {failing_at} failed without an error"
        );
        failing_at += 1;
    }
}
