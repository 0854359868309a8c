//! The width of the terminal on standard output.

use std::io::{self, IsTerminal};

use crate::ioctl::terminal;

/// Columns assumed for a terminal that does not know its size, such as a serial line.
const USUAL: usize = 80;

/// Columns of the terminal on standard output; `None` where that is a file or a pipe.
pub fn columns() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    match terminal::columns(&out) {
        Ok(0) | Err(_) => Some(USUAL),
        Ok(columns) => Some(columns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_terminal_has_no_size() {
        let file = tempfile::tempfile().unwrap();
        assert!(terminal::columns(&file).is_err());
    }

    #[test]
    fn a_terminal_has_the_columns_that_it_was_given() {
        let size = nix::pty::Winsize {
            ws_row: 24,
            ws_col: 97,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = nix::pty::openpty(&size, None).unwrap();
        assert_eq!(terminal::columns(&pair.slave).unwrap(), 97);
    }
}
