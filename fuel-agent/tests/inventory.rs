//! What is read from machines: captured ones, and ones written by hand from knowledge of real ones.

mod support;

use fuel_agent::inventory::{self, Reader};
use host::cancel::Cancel;

#[test]
fn this_machine_can_be_read() {
    let mut reader = Reader::real(&Cancel::new());
    let inventory = inventory::probe(&mut reader).unwrap();
    println!("{}", serde_json::to_string_pretty(&inventory).unwrap());
    assert!(inventory.memory_bytes.0 > 0);
}
