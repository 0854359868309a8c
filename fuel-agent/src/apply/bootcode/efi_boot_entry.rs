//! The agent's entries in the boot list of a UEFI firmware: `Boot####` and `BootOrder`, as UEFI 2.10 has them (sections
//! 3.1.3 and 3.3; device paths in 10.3).
//!
//! An entry names the partition by number, place and identifier, and the program in it. It is more than the path that
//! firmware tries by itself on any disk: firmware that tries it on removable disks only starts the node too, and people
//! see in its menu what is there.

use std::io;

use host::efivars::Variables;
use host::partition_table::FoundPartition;
use host::units::Bytes;

/// Description of the agent's entries; with a number behind it where several disks of the node have one.
const NAME: &str = "provision";
/// The list of numbers, two bytes each, in the order in which they are tried.
const ORDER: &str = "BootOrder";
/// The number of what the firmware started this time.
const CURRENT: &str = "BootCurrent";
/// `LOAD_OPTION_ACTIVE`: the firmware tries it by itself.
const ACTIVE: u32 = 1;
/// The end node of a device path.
const END_OF_PATH: [u8; 4] = [0x7f, 0xff, 4, 0];

/// An entry: where it leads.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// Which of the node's disks, from 1, where several have one.
    pub(crate) ordinal: Option<usize>,
    /// The EFI system partition, as it is in the disk's table.
    pub(crate) partition: &'a FoundPartition,
    /// The disk's sectors, which device paths count in.
    pub(crate) sector_size: Bytes,
    /// The program, with slashes.
    pub(crate) program: &'a str,
}

impl Entry<'_> {
    /// `EFI_LOAD_OPTION`: attributes, length of the path, name, path.
    fn load_option(&self) -> io::Result<Vec<u8>> {
        let name = match self.ordinal {
            Some(ordinal) => format!("{NAME} {ordinal}"),
            None => NAME.to_owned(),
        };
        let path = [&self.hard_drive()?[..], &self.file()?, &END_OF_PATH].concat();
        let length = u16::try_from(path.len()).map_err(io::Error::other)?;
        Ok([
            &ACTIVE.to_le_bytes()[..],
            &length.to_le_bytes(),
            &text(&name),
            &path,
        ]
        .concat())
    }

    /// The node of a device path that means a partition, wherever its disk is plugged in.
    fn hard_drive(&self) -> io::Result<Vec<u8>> {
        let Some(guid) = self.partition.guid else {
            return Err(io::Error::other("its disk has no GPT"));
        };
        let sectors = |bytes: Bytes| (bytes.0 / self.sector_size.0).to_le_bytes();
        let extent = self.partition.extent;
        Ok([
            // media, hard drive, 42 bytes
            &[4, 1, 42, 0][..],
            &self.partition.number.to_le_bytes(),
            &sectors(extent.start),
            &sectors(extent.length),
            &guid,
            // the disk's table is a GPT, the identifier a GUID
            &[2, 2],
        ]
        .concat())
    }

    /// The node of a device path that means a file.
    fn file(&self) -> io::Result<Vec<u8>> {
        let name = text(&format!("\\{}", self.program.replace('/', "\\")));
        let length = u16::try_from(4 + name.len()).map_err(io::Error::other)?;
        Ok([&[4, 4][..], &length.to_le_bytes(), &name].concat())
    }
}

/// UTF-16 with a zero behind it.
fn text(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// Puts an entry into the list, and gives back its number.
///
/// The entry that the node was started by stays before the new one: with the network first, as installers need it, the
/// orchestrator decides that the node boots from its disk, and the firmware then goes on to the next entry. Where it is
/// not in the list (started by hand, or by a controller for this once) the new entry comes first.
pub(crate) fn add(variables: &Variables, entry: &Entry<'_>) -> io::Result<u16> {
    if variables.names()?.is_empty() {
        let what = "the firmware's variables cannot be reached (is efivarfs mounted?)";
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    let taken = entries(variables)?;
    let free = (0..=u16::MAX).find(|number| !taken.contains(number));
    let number = free.ok_or_else(|| io::Error::other("the firmware's boot list is full"))?;
    let mut order = order(variables)?;
    // A number in the list without an entry means nothing.
    order.retain(|listed| *listed != number);
    order.insert(place(variables, &order)?, number);
    variables.write(&name_of(number), &entry.load_option()?)?;
    if let Err(error) = set_order(variables, &order) {
        // An entry that is not in the list is of no use; what counts is the first error.
        let _ = variables.remove(&name_of(number));
        return Err(error);
    }
    Ok(number)
}

/// Where in the list a new entry goes: behind the agent's last one, else behind what the node was started by.
fn place(variables: &Variables, order: &[u16]) -> io::Result<usize> {
    for (index, number) in order.iter().enumerate().rev() {
        if is_ours(variables, *number)? {
            return Ok(index + 1);
        }
    }
    let current = numbers(&variables.read(CURRENT)?.unwrap_or_default());
    let started = order
        .iter()
        .position(|number| current.first() == Some(number));
    Ok(started.map_or(0, |index| index + 1))
}

/// Removes the agent's entries, and their numbers from the list. Returns how many there were.
pub(crate) fn forget(variables: &Variables) -> io::Result<usize> {
    let mut ours = Vec::new();
    for number in entries(variables)? {
        if is_ours(variables, number)? {
            ours.push(number);
        }
    }
    if ours.is_empty() {
        return Ok(0);
    }
    let before = order(variables)?;
    let mut after = before.clone();
    after.retain(|number| !ours.contains(number));
    // First the list: an entry that is not in it is not tried.
    if after != before {
        set_order(variables, &after)?;
    }
    for number in &ours {
        variables.remove(&name_of(*number))?;
    }
    Ok(ours.len())
}

fn set_order(variables: &Variables, order: &[u16]) -> io::Result<()> {
    // A variable without content does not exist.
    if order.is_empty() {
        return variables.remove(ORDER);
    }
    let bytes: Vec<u8> = order.iter().copied().flat_map(u16::to_le_bytes).collect();
    variables.write(ORDER, &bytes)
}

fn order(variables: &Variables) -> io::Result<Vec<u16>> {
    Ok(numbers(&variables.read(ORDER)?.unwrap_or_default()))
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
}

/// The numbers of all entries, in the list or not.
fn entries(variables: &Variables) -> io::Result<Vec<u16>> {
    let names = variables.names()?;
    let numbers = names.iter().filter_map(|name| {
        let digits = name.strip_prefix("Boot")?;
        let hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| u16::from_str_radix(digits, 16).ok())?
    });
    Ok(numbers.collect())
}

fn name_of(number: u16) -> String {
    format!("Boot{number:04X}")
}

fn is_ours(variables: &Variables, number: u16) -> io::Result<bool> {
    let option = variables.read(&name_of(number))?;
    Ok(option
        .as_deref()
        .and_then(description)
        .is_some_and(|name| is_our_name(&name)))
}

fn is_our_name(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(NAME) else {
        return false;
    };
    rest.is_empty()
        || rest.strip_prefix(' ').is_some_and(|ordinal| {
            !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// The name of an entry: behind attributes and a length, in UTF-16 up to a zero.
fn description(option: &[u8]) -> Option<String> {
    let (units, _) = option.get(4 + 2..)?.as_chunks::<2>();
    let name: Vec<u16> = units
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16(&name).ok()
}

#[cfg(test)]
mod tests {
    use host::units::Extent;

    use super::*;

    fn partition() -> FoundPartition {
        FoundPartition {
            number: 2,
            extent: Extent {
                start: Bytes::mib(25).unwrap(),
                length: Bytes::mib(200).unwrap(),
            },
            type_id: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".to_owned(),
            guid: Some(*b"0123456789abcdef"),
        }
    }

    fn entry(partition: &FoundPartition, ordinal: Option<usize>) -> Entry<'_> {
        Entry {
            ordinal,
            partition,
            sector_size: Bytes(512),
            program: "EFI/BOOT/BOOTX64.EFI",
        }
    }

    /// Firmware with two entries: a network card as 0 and another system as 3.
    fn firmware() -> (tempfile::TempDir, Variables) {
        let folder = tempfile::tempdir().unwrap();
        let variables = Variables::at(folder.path());
        for (number, name) in [(0, "UEFI PXEv4"), (3, "debian")] {
            variables.write(&name_of(number), &named(name)).unwrap();
        }
        set_order(&variables, &[0, 3]).unwrap();
        variables.write(CURRENT, &[0, 0]).unwrap();
        (folder, variables)
    }

    fn named(name: &str) -> Vec<u8> {
        [&[1, 0, 0, 0, 4, 0][..], &text(name), &END_OF_PATH].concat()
    }

    fn listed(variables: &Variables) -> Vec<u16> {
        order(variables).unwrap()
    }

    #[test]
    fn an_entry_is_laid_out_as_the_specification_says() {
        let partition = partition();
        let option = entry(&partition, None).load_option().unwrap();
        assert_eq!(option[..4], [1, 0, 0, 0], "active");
        // a hard drive of 42 bytes, a file of 4 + 22 characters, the end
        assert_eq!(option[4..6], (42_u16 + 4 + 44 + 4).to_le_bytes());
        assert_eq!(description(&option).as_deref(), Some("provision"));
        let path = &option[6 + 20..];
        assert_eq!(path[..8], [4, 1, 42, 0, 2, 0, 0, 0]);
        assert_eq!(path[8..16], 51_200_u64.to_le_bytes(), "start in sectors");
        assert_eq!(path[16..24], 409_600_u64.to_le_bytes(), "length in sectors");
        assert_eq!(&path[24..40], b"0123456789abcdef");
        assert_eq!(path[40..42], [2, 2]);
        assert_eq!(path[42..46], [4, 4, 48, 0]);
        let file: Vec<u16> = numbers(&path[46..90]);
        let file = String::from_utf16(&file).unwrap();
        assert_eq!(file, "\\EFI\\BOOT\\BOOTX64.EFI\0");
        assert_eq!(path[90..], END_OF_PATH);
    }

    #[test]
    fn large_sectors_are_what_large_disks_are_counted_in() {
        let partition = partition();
        let large = Entry {
            sector_size: Bytes(4096),
            ..entry(&partition, None)
        };
        let path = large.hard_drive().unwrap();
        assert_eq!(path[8..16], 6400_u64.to_le_bytes());
        assert_eq!(path[16..24], 51_200_u64.to_le_bytes());
    }

    #[test]
    fn what_the_node_was_started_by_stays_before_ours() {
        let (_folder, variables) = firmware();
        let partition = partition();
        let first = add(&variables, &entry(&partition, Some(1))).unwrap();
        let second = add(&variables, &entry(&partition, Some(2))).unwrap();
        assert_eq!((first, second), (1, 2));
        assert_eq!(listed(&variables), [0, 1, 2, 3]);
        let name = description(&variables.read("Boot0002").unwrap().unwrap());
        assert_eq!(name.as_deref(), Some("provision 2"));
    }

    #[test]
    fn ours_comes_first_where_the_node_was_started_by_nothing_in_the_list() {
        for current in [None, Some([9, 0])] {
            let (_folder, variables) = firmware();
            match current {
                Some(number) => variables.write(CURRENT, &number).unwrap(),
                None => variables.remove(CURRENT).unwrap(),
            }
            add(&variables, &entry(&partition(), None)).unwrap();
            assert_eq!(listed(&variables), [1, 0, 3], "{current:?}");
        }
    }

    #[test]
    fn a_number_that_is_listed_without_an_entry_is_listed_once() {
        let (_folder, variables) = firmware();
        set_order(&variables, &[1, 0, 3]).unwrap();
        assert_eq!(add(&variables, &entry(&partition(), None)).unwrap(), 1);
        assert_eq!(listed(&variables), [0, 1, 3]);
    }

    #[test]
    fn only_ours_is_forgotten_and_the_order_of_the_rest_stays() {
        let (_folder, variables) = firmware();
        for (number, name) in [
            (5, "provision 2"),
            (6, "provisioner"),
            (7, "provision x"),
            (0xa, "provision"),
        ] {
            variables.write(&name_of(number), &named(name)).unwrap();
        }
        set_order(&variables, &[10, 3, 5, 7, 0, 6]).unwrap();
        assert_eq!(forget(&variables).unwrap(), 2);
        assert_eq!(listed(&variables), [3, 7, 0, 6]);
        assert_eq!(entries(&variables).unwrap(), [0, 3, 6, 7]);
        assert_eq!(forget(&variables).unwrap(), 0);
    }

    #[test]
    fn a_list_that_held_nothing_else_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let variables = Variables::at(folder.path());
        variables.write("Boot0000", &named("provision")).unwrap();
        set_order(&variables, &[0]).unwrap();
        assert_eq!(forget(&variables).unwrap(), 1);
        assert_eq!(variables.names().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn where_the_firmware_shows_nothing_no_entry_is_made() {
        let folder = tempfile::tempdir().unwrap();
        for variables in [Variables::none(), Variables::at(folder.path())] {
            let error = add(&variables, &entry(&partition(), None)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            assert_eq!(forget(&variables).unwrap(), 0);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_entry_that_does_not_get_into_the_list_does_not_stay() {
        let (folder, variables) = firmware();
        // a list that is not there and cannot be made
        variables.remove(ORDER).unwrap();
        let place = format!("{ORDER}-8be4df61-93ca-11d2-aa0d-00e098032b8c");
        let nowhere = folder.path().join("nowhere/list");
        std::os::unix::fs::symlink(nowhere, folder.path().join(place)).unwrap();
        add(&variables, &entry(&partition(), None)).unwrap_err();
        assert_eq!(entries(&variables).unwrap(), [0, 3]);
    }

    #[test]
    fn a_short_entry_has_no_name() {
        assert_eq!(description(&[7, 0, 0]), None);
    }
}
