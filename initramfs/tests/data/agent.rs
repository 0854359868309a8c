//! A stub of the agent in a booted ramdisk: prints its arguments and exits with the status in /tmp/provision.json.

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    println!("stub called with {words:?}");
    if words.first().is_some_and(|word| word == "notify") {
        std::fs::write("/run/notified", words.join(" ")).unwrap();
        std::fs::remove_file("/run/provision/owed.json").unwrap();
        return;
    }
    let request = std::fs::read_to_string("/tmp/provision.json").ok();
    // Without one, as in a pulled run: installed, but the completion was not accepted.
    let status = request.and_then(|text| text.trim().parse().ok()).unwrap_or(9);
    if status == 9 {
        std::fs::create_dir_all("/run/provision").unwrap();
        std::fs::write("/run/provision/state.json", r#"{"pid":1,"exit_status":9}"#).unwrap();
        std::fs::write("/run/provision/owed.json", "{}").unwrap();
    }
    std::process::exit(status);
}
