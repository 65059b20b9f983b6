use std::io::Cursor;

use super::*;

/// Writes BTF by hand: little by little, as the format has it.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Writer {
    fn new() -> Self {
        Self {
            strings: vec![0],
            ..Self::default()
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn int(&mut self, name: &str, size: u32) -> u32 {
        let name = self.name(name);
        self.words(&[name, INT << 24, size, size * 8]);
        self.id()
    }

    fn function(&mut self, name: &str, proto: u32) -> u32 {
        let name = self.name(name);
        self.words(&[name, FUNC << 24, proto]);
        self.id()
    }

    fn typedef(&mut self, name: &str, of: u32) -> u32 {
        let name = self.name(name);
        self.words(&[name, TYPEDEF << 24, of]);
        self.id()
    }

    /// Members: name, type, offset in bits, size of the bit field or 0.
    fn aggregate(&mut self, kind: u32, name: &str, members: &[(&str, u32, u32, u32)]) -> u32 {
        let name = self.name(name);
        let flag = u32::from(members.iter().any(|member| member.3 != 0)) << 31;
        let members: Vec<_> = members.iter().map(|m| (self.name(m.0), m.1, m.2, m.3)).collect();
        self.words(&[name, flag | kind << 24 | members.len() as u32, 64]);
        for (name, type_id, offset, bits) in members {
            self.words(&[name, type_id, bits << 24 | offset]);
        }
        self.id()
    }

    fn id(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    fn bytes(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let header = [1 << 16 | MAGIC, 24, 0, types, types, strings];
        header
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .chain(self.types.clone())
            .chain(self.strings.clone())
            .collect()
    }
}

fn sample() -> Vec<u8> {
    let mut writer = Writer::new();
    let byte = writer.int("unsigned char", 1);
    let word = writer.int("unsigned int", 4);
    let alias = writer.typedef("u8", byte);
    let inner = writer.aggregate(STRUCT, "", &[("deep", word, 32, 0)]);
    let union = writer.aggregate(UNION, "", &[("first", word, 0, 0), ("", inner, 0, 0)]);
    let common = writer.aggregate(STRUCT, "common", &[("state", alias, 16, 0)]);
    // A forward declaration comes under the same name, without members.
    writer.aggregate(STRUCT, "sock", &[]);
    writer.aggregate(
        STRUCT,
        "sock",
        &[
            ("common", common, 64, 0),
            ("", union, 128, 0),
            ("shutdown", alias, 216, 0),
        ],
    );
    writer.aggregate(
        STRUCT,
        "old_sock",
        &[("padding", word, 0, 6), ("shutdown", word, 38, 2)],
    );
    writer.bytes()
}

/// All that are looked for in the sample; `file` and what follows are not in it.
const NAMES: &[&str] = &[
    "sock", "common", "state", "first", "deep", "shutdown", "old_sock", "file", "f_count", "sk_ino", "what",
];

fn read<'a>(bytes: Vec<u8>, names: &[&'a str]) -> Result<Btf<'a, Cursor<Vec<u8>>>, BtfError> {
    Btf::read(Cursor::new(bytes), names.iter().copied())
}

#[test]
fn plain_nested_and_anonymous_fields() {
    let mut btf = read(sample(), NAMES).unwrap();
    assert_eq!(btf.offset("sock.common"), Ok(8));
    assert_eq!(btf.offset("sock.common.state"), Ok(10));
    assert_eq!(btf.offset("sock.first"), Ok(16));
    assert_eq!(btf.offset("sock.deep"), Ok(20));
}

#[test]
fn small_numbers_are_parts_of_a_word() {
    let mut btf = read(sample(), NAMES).unwrap();
    assert_eq!(
        btf.bits("sock.shutdown"),
        Ok(Bits {
            offset: 24,
            shift: 24,
            mask: 0xff
        })
    );
    assert_eq!(
        btf.bits("old_sock.shutdown"),
        Ok(Bits {
            offset: 4,
            shift: 6,
            mask: 3
        })
    );
    assert_eq!(
        btf.offset("old_sock.shutdown"),
        Err(BtfError::BitField("old_sock.shutdown".into()))
    );
}

#[test]
fn functions_keep_their_ids_for_aya() {
    let mut writer = Writer::new();
    let int = writer.int("int", 4);
    let open = writer.function("open", int);
    writer.typedef("close", int);
    let close = writer.function("close", int);
    let bytes = writer.bytes();
    let names = ["open", "close", "read"];
    let btf = read(bytes, &names).unwrap();
    assert_eq!((btf.function("open"), btf.function("close")), (Ok(open), Ok(close)));
    assert_eq!(btf.function("read"), Err(BtfError::NoFunction("read".into())));

    let reduced = reduced_to(&[(close, "close"), (open, "open")]);
    let btf = read(reduced.clone(), &names).unwrap();
    assert_eq!((btf.function("open"), btf.function("close")), (Ok(open), Ok(close)));
    aya::Btf::parse(&reduced, aya::Endianness::default()).unwrap();
}

#[test]
fn what_is_not_there_is_named() {
    let mut btf = read(sample(), NAMES).unwrap();
    assert_eq!(btf.offset("file.f_count"), Err(BtfError::NoStructure("file".into())));
    assert_eq!(btf.offset("sock.sk_ino"), Err(BtfError::NoField("sock.sk_ino".into())));
    assert_eq!(
        btf.offset("sock.shutdown.what"),
        Err(BtfError::NoField("sock.shutdown.what".into()))
    );
}

#[test]
fn cut_short_anywhere_is_refused_without_a_panic() {
    let bytes = sample();
    for length in 0..bytes.len() {
        assert_eq!(
            read(bytes[..length].to_vec(), NAMES).err(),
            Some(BtfError::Malformed),
            "{length} bytes"
        );
    }
}

/// Beyond one buffer, and one stride: types are found by their ids all the same, and names at any place.
#[test]
fn what_is_far_away_is_found() {
    let mut writer = Writer::new();
    let far = 3 * BUFFER as u32 / 12;
    for number in 0..far {
        writer.int(&format!("int{number}"), 4);
    }
    let last = writer.int("last", 2);
    let inner = writer.aggregate(STRUCT, "inner", &[("near", 7, 0, 0), ("flags", last, 48, 0)]);
    let alias = writer.typedef("alias", inner);
    writer.aggregate(STRUCT, "outer", &[("first", 1, 0, 0), ("second", alias, 64, 0)]);
    let names = ["outer", "second", "near", "flags"];
    let mut btf = read(writer.bytes(), &names).unwrap();
    assert_eq!(btf.offset("outer.second.near"), Ok(8));
    assert_eq!(btf.bits("outer.second.near").map(|bits| bits.mask), Ok(u32::MAX));
    assert_eq!(
        btf.bits("outer.second.flags").map(|bits| (bits.shift, bits.mask)),
        Ok((16, 0xffff))
    );
    assert_eq!(btf.offset("inner.near"), Err(BtfError::NoStructure("inner".into())));
}
