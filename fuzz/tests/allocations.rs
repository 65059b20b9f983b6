//! A line costs no allocation, whatever its format.

use log_capturer::decode::{FileDecoder, Format, Found};

/// Decodes a file of many such records, twice: the first time everything grows to its size.
fn allocations(format: Format, record: &[u8]) -> u64 {
    const RECORDS: usize = 1_000;
    let file = record.repeat(RECORDS);
    let mut decoder = FileDecoder::new(format, 1 << 20, false);
    let mut scratch = Vec::new();
    let mut decode = || {
        let mut lines = 0;
        let fed = decoder.feed(0, &file, &mut scratch, &mut |found| match found {
            Found::Line(line) => lines += usize::from(!line.bytes.is_empty()),
            Found::Damaged(damaged) => panic!("{damaged:?}"),
        });
        assert_eq!((fed.bytes, fed.records as usize, lines), (file.len(), RECORDS, RECORDS));
    };
    decode();
    allocation_counter::measure(decode).count_total
}

#[test]
fn a_line_of_a_file_costs_none() {
    let records: [(Format, &[u8]); 6] = [
        (
            Format::JsonFile,
            br#"{"log":"plain\n","stream":"stdout","time":"2026-11-20T15:04:58.662848374Z"}"#,
        ),
        (
            Format::JsonFile,
            br#"{"log":"\"q\" \u003c\ud83d\ude00\n","stream":"stderr","time":"2026-11-20T15:04:58.5Z"}"#,
        ),
        (
            Format::JsonFile,
            br#"{"log":"a\n","stream":"stdout","attrs":{"tag":"x"},"time":"2026-11-20T15:04:58Z"}"#,
        ),
        (
            Format::Local,
            b"\x00\x00\x00\x0d\x0a\x06stdout\x10\x01\x1a\x01x\x00\x00\x00\x0d",
        ),
        // With attributes, as newer engines write them.
        (
            Format::Local,
            b"\x00\x00\x00\x15\x0a\x06stdout\x10\x01\x1a\x01x\x32\x06\x0a\x01k\x12\x01v\x00\x00\x00\x15",
        ),
        (Format::K8sFile, b"2026-11-20T17:04:58.662848374+02:00 stdout F text"),
    ];
    for (format, record) in records {
        let line_feed: &[u8] = if format == Format::Local { b"" } else { b"\n" };
        let record = [record, line_feed].concat();
        assert_eq!(allocations(format, &record), 0, "{}", String::from_utf8_lossy(&record));
    }
}

#[test]
fn a_record_of_another_shape_is_counted_as_costing_some() {
    let edited = b"{\"stream\":\"stdout\",\"log\":\"\\u0061\\n\",\"time\":\"2026-11-20T15:04:58Z\"}\n";
    assert!(allocations(Format::JsonFile, edited) > 0, "nothing is counted");
}
