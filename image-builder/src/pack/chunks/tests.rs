//! Free extents are left out; failed writes are errors.

use super::*;

#[test]
fn what_is_free_is_left_out_of_what_is_read() {
    let free = [10..20, 30..40, 40..50, 70..80];
    let used = |start, end| -> Vec<(u64, u64)> {
        let parts = used_parts(start..end, &free);
        parts.iter().map(|part| (part.start, part.end)).collect()
    };
    assert_eq!(used(0, 10), [(0, 10)]);
    assert_eq!(used(0, 15), [(0, 10)]);
    assert_eq!(used(12, 18), []);
    assert_eq!(used(10, 20), []);
    assert_eq!(used(15, 35), [(20, 30)]);
    assert_eq!(used(5, 100), [(5, 10), (20, 30), (50, 70), (80, 100)]);
    assert_eq!(used(90, 95), [(90, 95)]);
    assert_eq!(used(45, 60), [(50, 60)]);
}

#[test]
fn free_bytes_are_zero_in_every_form() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&vec![7; 3 << 20], 0).unwrap();
    // a whole chunk, and the end of another
    let free = [1 << 20..2 << 20, (3 << 20) - 5000..3 << 20];
    let job = Job {
        file: &file,
        size: 3 << 20,
        free: &free,
        chunk_size: 1 << 20,
        level: 1,
        gzip_level: 1,
        md5: WithMd5::Yes,
        threads: 2,
    };
    let (data, gzip) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let bar = ProgressBar::hidden();
    let done = job.run(&data, Some(&gzip), &Cancel::new(), &bar).unwrap();
    let zero: Vec<bool> = done.index.iter().map(|chunk| chunk.zero).collect();
    assert_eq!(zero, [false, true, false]);
    let mut expected = vec![7; 3 << 20];
    for range in &free {
        let (start, end) = (
            range.start.try_into().unwrap(),
            range.end.try_into().unwrap(),
        );
        expected[start..end].fill(0);
    }
    let mut digests = Digesting::new(io::sink(), WithMd5::Yes);
    digests.write_all(&expected).unwrap();
    assert_eq!(done.raw, digests.finish().1);
    let reread = |file: &File| {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    assert!(zstd::decode_all(&reread(&data)[..]).unwrap() == expected);
    let mut back = Vec::new();
    io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(&reread(&gzip)[..]),
        &mut back,
    )
    .unwrap();
    assert!(back == expected);
}

#[test]
fn what_cannot_be_written_is_an_error_and_no_thread_waits() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&vec![7; 32 << 20], 0).unwrap();
    let job = Job {
        file: &file,
        size: 32 << 20,
        free: &[],
        chunk_size: 1 << 20,
        level: 1,
        gzip_level: 1,
        md5: WithMd5::Yes,
        threads: 3,
    };
    let (data, bar) = (tempfile::tempfile().unwrap(), ProgressBar::hidden());
    let read_only = File::open("/dev/null").unwrap();
    let error = job
        .run(&data, Some(&read_only), &Cancel::new(), &bar)
        .unwrap_err();
    assert!(
        format!("{error:#}").contains("cannot write the gzip file"),
        "{error:#}"
    );
    let stopped = Cancel::new();
    stopped.cancel();
    assert!(job.run(&data, None, &stopped, &bar).is_err());
}
