//! What servers, disks and requests do wrong, seen from outside: the exit status, the words, and what was touched.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fuel_agent::testing::fault_server::{Fault, ReceivedRequest, Reply};
use host::ioctl::loops::{LoopDevice, LoopOptions};
use host::mount::{KernelMounts, MountMode, Mounts};
use serde_json::{Value, json};

use super::file_disk::{DISK, REQUEST};
use super::lab::{IMAGE, Lab, Left, equipped, signal, tool};

/// Retries end soon: what does not recover in a test never will.
const IMPATIENT: [&str; 3] = [
    "--set=http.retry=2s",
    "--set=http.stall=1s",
    "--set=http.connect=5s",
];

fn run(lab: &Lab) -> Left {
    lab.call(&[&["run", DISK, REQUEST], &IMPATIENT[..]].concat())
}

/// Whether an answer carries the image itself, not only its beginning, which is probed beforehand.
fn is_whole(received: &ReceivedRequest, reply: &Reply) -> bool {
    let is_open = received.range().is_none_or(|(_, end)| end.is_none());
    is_open && reply.body.len() > 100_000
}

fn is_resumed(received: &ReceivedRequest) -> bool {
    received.range().is_some_and(|(start, _)| start > 0)
}

/// What a server does to the image.
type Trouble = fn(&ReceivedRequest, Reply) -> Reply;

/// Fails at the first requests: for the files beside the image, and for its beginning.
fn fails_at_first(received: &ReceivedRequest, reply: Reply) -> Reply {
    match received.number {
        0..=2 => Reply::status(500),
        _ => reply,
    }
}

fn drops(received: &ReceivedRequest, reply: Reply) -> Reply {
    if is_whole(received, &reply) && !is_resumed(received) {
        return reply.fault(Fault::DropAt(70_000));
    }
    reply
}

/// Stalls each time a little later: something comes, so it is asked again.
fn stalls_on_and_on(received: &ReceivedRequest, reply: Reply) -> Reply {
    if is_whole(received, &reply) {
        return reply.fault(Fault::StallAt(200_000));
    }
    reply
}

/// Breaks off once, and starts from the beginning when it is to resume: it does not support ranges.
fn knows_no_ranges(received: &ReceivedRequest, reply: Reply) -> Reply {
    if is_resumed(received) {
        return Reply::whole(&IMAGE.gzip);
    }
    drops(received, reply)
}

fn redirects(received: &ReceivedRequest, reply: Reply) -> Reply {
    if received.target.ends_with("?moved") {
        return reply;
    }
    Reply::status(302).header("Location", "/root.img.gz?moved")
}

#[test]
fn a_server_that_recovers_only_costs_time() {
    if !equipped() {
        return;
    }
    let troubles: [(&str, Trouble); 5] = [
        ("500, then 200", fails_at_first),
        ("dropped, then resumed", drops),
        ("stalled, then resumed", stalls_on_and_on),
        ("dropped, then without ranges", knows_no_ranges),
        ("redirected", redirects),
    ];
    for (name, trouble) in troubles {
        let lab = Lab::new();
        lab.mood.lock().unwrap().image = Some(trouble);
        let left = run(&lab);
        assert_eq!(left.status, 10, "{name}: {}{}", left.out, left.error);
        let image = &lab.report()["images"][0];
        assert_eq!(image["verified"], true, "{name}");
        assert_eq!(image["raw_bytes"], IMAGE.raw.len(), "{name}");
        let resumed = lab.requests_to("/root.img.gz").iter().any(is_resumed);
        let broke_off = name.starts_with("dropped") || name.starts_with("stalled");
        assert_eq!(resumed, broke_off, "{name}");
    }
}

fn always_cut(received: &ReceivedRequest, reply: Reply) -> Reply {
    if is_whole(received, &reply) {
        return Reply::whole(&reply.body[..90_000]);
    }
    reply
}

/// Breaks off each time at the same place. Its ranges are honest, but without a tag no transfer can be resumed: each
/// begins anew.
fn always_dropped(received: &ReceivedRequest, mut reply: Reply) -> Reply {
    reply
        .headers
        .retain(|(name, _)| !name.eq_ignore_ascii_case("etag"));
    if is_whole(received, &reply) {
        return reply.fault(Fault::DropAt(70_000));
    }
    reply
}

fn stalls(received: &ReceivedRequest, reply: Reply) -> Reply {
    if is_whole(received, &reply) {
        return reply.fault(Fault::StallAt(0));
    }
    reply
}

fn followed_by_garbage(received: &ReceivedRequest, mut reply: Reply) -> Reply {
    if is_whole(received, &reply) && reply.status == 200 {
        reply.body.extend_from_slice(b"and something else");
    }
    reply
}

#[test]
fn a_server_that_does_not_is_given_up_and_the_node_stays_disarmed() {
    if !equipped() {
        return;
    }
    let troubles: [(&str, Trouble); 4] = [
        ("cut off", always_cut),
        ("dropped each time", always_dropped),
        ("stalled", stalls),
        ("garbage behind it", followed_by_garbage),
    ];
    for (name, trouble) in troubles {
        let lab = Lab::new();
        lab.mood.lock().unwrap().image = Some(trouble);
        let left = run(&lab);
        assert_eq!(left.status, 6, "{name}: {}{}", left.out, left.error);
        let report = lab.report();
        assert_eq!(report["error"]["stage"], "image", "{name}: {report}");
        assert_eq!(report["touched"], true, "{name}");
        let disk = fs::read(lab.path("disk.img")).unwrap();
        assert!(!disk[..440].windows(4).any(|window| window == b"GRUB"));
        assert!(left.error.contains("root.img.gz"), "{name}: {}", left.error);
        if name.starts_with("dropped") {
            let requests = lab.requests_to("/root.img.gz");
            let from_the_start = requests.iter().filter(|it| it.range().is_none()).count();
            assert!(
                from_the_start > 1 && !requests.iter().any(is_resumed),
                "{requests:?}"
            );
        }
    }
}

#[test]
fn an_image_in_another_container_than_the_request_says_is_refused_untouched() {
    if !equipped() {
        return;
    }
    for container in ["raw", "zstd"] {
        let lab = Lab::new();
        let mut request = lab.request("/root.img.gz");
        request["ks_meta"]["image_data"]["/"]["container"] = json!(container);
        lab.put("request.json", &request.to_string());
        let left = run(&lab);
        assert_eq!(left.status, 6, "{}", left.error);
        assert!(left.error.contains("gzip"), "{}", left.error);
        assert!(!lab.path("disk.img").exists());
    }
}

#[test]
fn an_image_that_is_larger_than_its_volume_is_refused_untouched_where_that_is_known() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    lab.mood.lock().unwrap().raw_size = Some(300 << 20);
    let left = run(&lab);
    assert_eq!(left.status, 6, "{}", left.error);
    assert!(left.error.contains("unpacks to 300 MiB"), "{}", left.error);
    assert!(!lab.path("disk.img").exists());
}

#[test]
fn an_image_that_says_itself_that_it_is_larger_is_refused_untouched() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let mut request = lab.request("/root.img.gz");
    // 40 MiB for 48 MiB of image, about which the metadata is wrong.
    request["ks_meta"]["pm_data"]["ks_spaces"][0]["volumes"][1]["size"] = json!(40);
    lab.put("request.json", &request.to_string());
    lab.mood.lock().unwrap().raw_size = Some(30 << 20);
    let left = run(&lab);
    assert_eq!(left.status, 6, "{}{}", left.out, left.error);
    assert!(left.error.contains("it is cut off"), "{}", left.error);
    assert!(!lab.path("disk.img").exists());
}

/// A request by its text, and the message that it must yield.
#[test]
fn a_request_that_is_none_is_refused_with_its_reason() {
    let lab = Lab::new();
    let huge = format!("[{}]", "0,".repeat(9 << 20));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (text, reason) in [
        ("", "empty"),
        ("  \n", "empty"),
        ("{", "line 1"),
        ("{\"profile\": [}", "line 1"),
        ("[]", "is not an object"),
        ("null", ""),
        ("\u{0}\u{1}", ""),
        (huge.as_str(), "more than the 16777216 that are read"),
        (deep.as_str(), "recursion limit"),
    ] {
        lab.put("request.json", text);
        let left = run(&lab);
        let shown: String = text.chars().take(20).collect();
        assert_eq!(left.status, 3, "`{shown}`: {}", left.error);
        assert!(left.error.contains(reason), "`{shown}`: {}", left.error);
        assert!(left.error.len() < 4096, "`{shown}`: {}", left.error.len());
        assert!(!lab.path("disk.img").exists());
    }
}

#[test]
fn two_entries_for_one_disk_are_refused_untouched() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let mut request = lab.request("/root.img.gz");
    let spaces = &mut request["ks_meta"]["pm_data"]["ks_spaces"];
    let mut again = spaces[0].clone();
    again["size"] = json!(10);
    again["volumes"] =
        json!([{"type": "partition", "mount": "/srv", "file_system": "ext4", "size": 64}]);
    spaces.as_array_mut().unwrap().push(again);
    lab.put("request.json", &request.to_string());
    let left = run(&lab);
    assert_eq!(left.status, 3, "{}", left.error);
    assert!(left.error.contains("names the same disk"), "{}", left.error);
    assert!(!lab.path("disk.img").exists());
}

/// A small filesystem mounted on a folder, and full; unmounted whatever becomes of the test.
struct Full {
    folder: PathBuf,
    _device: LoopDevice,
}

impl Full {
    /// So many bytes are left.
    fn on(folder: &Path, left: u64) -> Option<Self> {
        let full = Self::empty(folder, 2 << 20)?;
        full.fill(left);
        Some(full)
    }

    /// Nothing is in it yet.
    fn empty(folder: &Path, size: u64) -> Option<Self> {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        let device = match LoopDevice::attach(&file, LoopOptions::default()) {
            Ok(device) => device,
            Err(error) => {
                host::fake::skipped(format_args!("no loop device: {error}"));
                return None;
            }
        };
        tool(
            "mkfs.ext2",
            &["-q", "-F", "-m", "0", device.path().to_str().unwrap()],
        );
        fs::create_dir_all(folder).unwrap();
        let mounted = KernelMounts.mount(device.path(), folder, "ext2", MountMode::Write);
        if let Err(error) = mounted {
            host::fake::skipped(format_args!("nothing can be mounted here: {error}"));
            return None;
        }
        Some(Self {
            folder: folder.to_owned(),
            _device: device,
        })
    }

    fn fill(&self, left: u64) {
        let mut filler = fs::File::create(self.folder.join("filler")).unwrap();
        while filler.write_all(&[0x5a; 1024]).is_ok() {}
        let length = filler.metadata().unwrap().len();
        filler.set_len(length - left).unwrap();
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = KernelMounts.unmount(&self.folder);
    }
}

#[test]
fn a_full_folder_is_an_error_before_anything_is_touched() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let Some(full) = Full::on(&lab.path("run"), 64 << 10) else {
        return;
    };
    let left = run(&lab);
    assert_eq!(left.status, 1, "{}{}", left.out, left.error);
    assert_eq!(lab.call(&["status"]).status, 1);
    let no_room = "not enough space for the work files of a run";
    assert!(left.error.contains(no_room), "{}", left.error);
    assert!(left.error.contains("No space left"), "{}", left.error);
    assert!(!lab.path("disk.img").exists());
    drop(full);

    // The same for the file that the report goes to: in /tmp, for example.
    let Some(_full) = Full::on(&lab.path("tmp"), 0) else {
        return;
    };
    let report = "--report=tmp/report.json";
    let left = lab.call(&["run", DISK, REQUEST, report]);
    assert_eq!(left.status, 2, "{}{}", left.out, left.error);
    assert!(left.error.contains("No space left"), "{}", left.error);
    assert!(!lab.path("disk.img").exists());
    // A log that cannot be written stops nothing: there is another one.
    let left = lab.call(&["run", DISK, REQUEST, "--log-file=tmp/log"]);
    assert_eq!(left.status, 10, "{}{}", left.out, left.error);
}

#[test]
fn a_folder_that_fills_up_in_mid_run_keeps_neither_state_nor_report_from_being_written() {
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let Some(full) = Full::empty(&lab.path("run"), 16 << 20) else {
        return;
    };
    lab.mood.lock().unwrap().image = Some(stalls_on_and_on);
    let child = lab.start(&["run", DISK, REQUEST]);
    lab.until_image_flows();
    full.fill(0);
    assert_eq!(lab.call(&["status"]).status, 22, "a run is under way");
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let status = lab.call(&["status"]);
    assert_eq!(status.status, 130, "{}{}", status.out, status.error);
    assert_eq!(lab.report()["result"], "interrupted");
}

#[test]
fn a_completion_target_that_is_down_is_told_before_and_does_not_keep_the_node_from_being_installed()
{
    if !equipped() {
        return;
    }
    let lab = Lab::new();
    let left = lab.call(&[
        "run",
        DISK,
        REQUEST,
        "--dry-run",
        "--dialect=json",
        "--set=success=http://127.0.0.1:1/built",
    ]);
    assert_eq!(left.status, 0, "{}{}", left.out, left.error);
    let warned: Vec<Value> = left
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Value| event["event"] == "warning")
        .collect();
    let refusal = warned
        .iter()
        .filter_map(|event| event["message"].as_str())
        .find(|message| message.contains("http://127.0.0.1:1"));
    assert!(
        refusal.is_some_and(|it| it.contains("refused")),
        "{warned:?}"
    );
}
