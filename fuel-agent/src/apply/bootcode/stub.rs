//! The boot sector of a disk while nothing on it is ready to start: it starts the next boot device.
//!
//! Not zeros: firmware that finds a valid signature jumps there, and on zeros it hangs. Not a missing signature either:
//! the partition table shares the sector.

use std::io;

use host::blockdev::BlockDevice;
use host::units::Bytes;

use crate::apply::disk_region::write_and_check;

/// The sector that boot code and partition table share.
const SECTOR: usize = 512;
/// Offset of the flag of the first entry of the table; 0x80 marks it active.
const FLAG: usize = 446;
/// Offset of the type of the first entry; 0xee marks a disk with a GPT.
const KIND: usize = FLAG + 4;

/// Writes boot code. Where the table's first entry is the protective entry of a GPT and its mark has to change, that
/// is done by the same write, so that a power cut leaves both or neither.
pub(super) fn put(device: &mut dyn BlockDevice, code: &[u8], active: bool) -> io::Result<()> {
    let mut sector = vec![0; SECTOR];
    device.read_at(&mut sector, Bytes::ZERO)?;
    let is_protective =
        sector[KIND] == 0xee && matches!(sector[FLAG], 0 | 0x80) && sector.ends_with(&[0x55, 0xaa]);
    let flag = if active { 0x80 } else { 0 };
    if !is_protective || sector[FLAG] == flag {
        return write_and_check(device, code, Bytes::ZERO);
    }
    sector[FLAG] = flag;
    for (place, byte) in sector.iter_mut().zip(code.iter().take(LENGTH)) {
        *place = *byte;
    }
    write_and_check(device, &sector, Bytes::ZERO)
}

/// Writes the stub, and clears the active flag of the protective entry: firmware that needs it does not even try the
/// disk.
pub(in crate::apply) fn write(device: &mut dyn BlockDevice) -> io::Result<()> {
    put(device, &CODE, false)
}

/// Length of the boot code in the first sector; disk signature and partition table follow.
pub(crate) const LENGTH: usize = 440;

/// Printed on the console by the stub.
const MESSAGE: &[u8] = b"\r\nNothing to start on this disk yet; trying the next one.\r\n\0";

/// Where the message starts, right behind the program.
const MESSAGE_AT: usize = 0x21;

/// The program: real mode, loaded at 0x7c00.
const PROGRAM: [u8; MESSAGE_AT] = [
    0x31, 0xc0, // 00  xor ax, ax
    0x8e, 0xd8, // 02  mov ds, ax
    0x8e, 0xd0, // 04  mov ss, ax
    0xbc, 0x00, 0x7c, // 06  mov sp, 0x7c00
    0xfb, // 09  sti
    0xfc, // 0a  cld
    0xbe, 0x21, 0x7c, // 0b  mov si, message
    0xac, // 0e  next: lodsb
    0x84, 0xc0, // 0f  test al, al
    0x74, 0x09, // 11  jz done
    0xb4, 0x0e, // 13  mov ah, 0x0e (print one character)
    0xbb, 0x07, 0x00, // 15  mov bx, 7
    0xcd, 0x10, // 18  int 0x10
    0xeb, 0xf2, // 1a  jmp next
    0xcd, 0x18, // 1c  done: int 0x18 (boot failed, go on)
    0xf4, // 1e  halt: hlt
    0xeb, 0xfd, // 1f  jmp halt
];

/// The whole of it: program, message, zeros.
pub(crate) const CODE: [u8; LENGTH] = {
    let mut code = [0; LENGTH];
    let mut at = 0;
    while at < MESSAGE_AT {
        code[at] = PROGRAM[at];
        at += 1;
    }
    while at < MESSAGE_AT + MESSAGE.len() {
        code[at] = MESSAGE[at - MESSAGE_AT];
        at += 1;
    }
    code
};
