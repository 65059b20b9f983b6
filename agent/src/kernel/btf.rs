//! Field offsets from BTF, the kernel's own description of its types.
//!
//! Only offsets are wanted, a few dozen out of 150,000 types. So nothing is kept of the file but what it says of some names: it
//! is read through a small buffer, once for the names and once for the types. A parser that builds all types takes tens of
//! megabytes for it, and the file itself is 5 MB. The format is `Documentation/bpf/btf.rst`.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read, Seek};
use std::ops::Range;

use abi::Bits;

/// What is said of the names that were asked for.
pub(super) struct Btf<'a, R> {
    source: BufReader<R>,
    /// Where it is read next.
    at: u64,
    /// Where the types are.
    types: Range<u64>,
    /// Where the type `1 + n * STRIDE` begins, at index `n`; the id 0 is `void`.
    begins: Vec<u64>,
    /// By their offsets among the strings. A string may be there twice.
    names: HashMap<u32, &'a str>,
    structures: HashMap<&'a str, Type>,
    functions: HashMap<&'a str, u32>,
}

/// What is read at once.
const BUFFER: usize = 32 << 10;
const STRIDE: usize = 64;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BtfError {
    #[error("not BTF, or cut short")]
    Malformed,
    #[error("it cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    #[error("no structure `{0}`")]
    NoStructure(String),
    #[error("no function `{0}`")]
    NoFunction(String),
    #[error("no field `{0}`")]
    NoField(String),
    #[error("field `{0}` is a bit field")]
    BitField(String),
}

impl From<io::Error> for BtfError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Malformed,
            kind => Self::Unreadable(kind),
        }
    }
}

const MAGIC: u32 = 0xeb9f;

// Kinds, `include/uapi/linux/btf.h`.
const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

const HEADER_LEN: u32 = 24;
const TYPE_LEN: u64 = 12;
const MEMBER_LEN: u64 = 12;

/// `struct btf_type`
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    info: u32,
    /// The size, or the id of the type that this one refers to.
    size_or_type: u32,
    /// Where what follows the common part begins.
    rest: u64,
}

impl Type {
    const fn kind(self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    const fn len(self) -> u64 {
        (self.info & 0xffff) as u64
    }

    /// Whether the offsets of a structure's members may bear a bit-field size in the top byte.
    const fn has_bit_fields(self) -> bool {
        self.info >> 31 == 1
    }

    /// Where the next type begins.
    const fn end(self) -> u64 {
        self.rest
            + match self.kind() {
                INT | VAR | DECL_TAG => 4,
                ARRAY => 12,
                STRUCT | UNION | DATASEC | ENUM64 => 12 * self.len(),
                ENUM | FUNC_PROTO => 8 * self.len(),
                _ => 0,
            }
    }
}

/// A field, in bits from its structure's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    offset: u32,
    /// 0: not a bit field.
    bits: u32,
    type_id: u32,
}

impl<'a, R: Read + Seek> Btf<'a, R> {
    /// The types of everything that has one of these names, and of what that consists of.
    pub(super) fn read(source: R, names: impl IntoIterator<Item = &'a str>) -> Result<Self, BtfError> {
        let mut btf = Self {
            source: BufReader::with_capacity(BUFFER, source),
            at: 0,
            types: 0..0,
            begins: Vec::new(),
            names: HashMap::new(),
            structures: HashMap::new(),
            functions: HashMap::new(),
        };
        let [magic, header_len, type_off, type_len, str_off, str_len] = btf.words(0)?;
        if magic & 0xffff != MAGIC {
            return Err(BtfError::Malformed);
        }
        let section = |offset, len| {
            let begin = u64::from(header_len) + u64::from(offset);
            begin..begin + u64::from(len)
        };
        btf.types = section(type_off, type_len);
        btf.find_names(section(str_off, str_len), names)?;
        btf.find_types()?;
        Ok(btf)
    }

    fn go_to(&mut self, at: u64) -> Result<(), BtfError> {
        self.source.seek_relative(at as i64 - self.at as i64)?;
        self.at = at;
        Ok(())
    }

    fn words<const N: usize>(&mut self, at: u64) -> Result<[u32; N], BtfError> {
        self.go_to(at)?;
        let mut words = [[0; 4]; N];
        self.source.read_exact(words.as_flattened_mut())?;
        self.at += size_of_val(&words) as u64;
        Ok(words.map(u32::from_ne_bytes))
    }

    fn find_names(&mut self, strings: Range<u64>, names: impl IntoIterator<Item = &'a str>) -> Result<(), BtfError> {
        let wanted: HashMap<&[u8], &str> = names.into_iter().map(|name| (name.as_bytes(), name)).collect();
        self.go_to(strings.start)?;
        let mut string = Vec::new();
        while self.at < strings.end {
            string.clear();
            let len = self.source.read_until(0, &mut string)?;
            if string.pop() != Some(0) {
                return Err(BtfError::Malformed);
            }
            if let Some(name) = wanted.get(&string[..]) {
                self.names.insert((self.at - strings.start) as u32, name);
            }
            self.at += len as u64;
        }
        Ok(())
    }

    fn find_types(&mut self) -> Result<(), BtfError> {
        let (mut at, mut count) = (self.types.start, 0);
        while at < self.types.end {
            if count % STRIDE == 0 {
                self.begins.push(at);
            }
            count += 1;
            let this = self.type_at(at)?;
            if let Some(&name) = self.names.get(&this.name) {
                match this.kind() {
                    // Without members it is declared, no more.
                    STRUCT if this.len() > 0 => {
                        self.structures.entry(name).or_insert(this);
                    }
                    FUNC => {
                        self.functions.entry(name).or_insert(count as u32);
                    }
                    _ => {}
                }
            }
            at = this.end();
        }
        if at == self.types.end {
            Ok(())
        } else {
            Err(BtfError::Malformed)
        }
    }

    fn type_at(&mut self, at: u64) -> Result<Type, BtfError> {
        let [name, info, size_or_type] = self.words(at)?;
        Ok(Type {
            name,
            info,
            size_or_type,
            rest: at + TYPE_LEN,
        })
    }

    /// `None` for `void`.
    fn by_id(&mut self, id: u32) -> Result<Option<Type>, BtfError> {
        let Some(index) = (id as usize).checked_sub(1) else {
            return Ok(None);
        };
        let mut at = *self.begins.get(index / STRIDE).ok_or(BtfError::Malformed)?;
        for _ in 0..index % STRIDE {
            at = self.type_at(at)?.end();
        }
        if at >= self.types.end {
            return Err(BtfError::Malformed);
        }
        self.type_at(at).map(Some)
    }

    /// The id of a kernel function.
    pub(super) fn function(&self, name: &str) -> Result<u32, BtfError> {
        let id = self.functions.get(name).copied();
        id.ok_or_else(|| BtfError::NoFunction(name.into()))
    }

    /// Behind typedefs and qualifiers.
    fn plain(&mut self, mut id: u32) -> Result<Option<Type>, BtfError> {
        loop {
            match self.by_id(id)? {
                Some(this) if matches!(this.kind(), TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG) => {
                    id = this.size_or_type;
                }
                plain => return Ok(plain),
            }
        }
    }

    /// The structure or union that this is.
    fn aggregate(&mut self, id: u32) -> Result<Option<Type>, BtfError> {
        let plain = self.plain(id)?;
        Ok(plain.filter(|this| matches!(this.kind(), STRUCT | UNION)))
    }

    /// A member by name, also inside anonymous structures and unions.
    fn member(&mut self, of: Type, name: &str) -> Result<Option<Field>, BtfError> {
        for index in 0..of.len() {
            let [member_name, type_id, offset] = self.words(of.rest + index * MEMBER_LEN)?;
            let (offset, bits) = if of.has_bit_fields() {
                (offset & 0x00ff_ffff, offset >> 24)
            } else {
                (offset, 0)
            };
            if self.names.get(&member_name) == Some(&name) {
                return Ok(Some(Field { offset, bits, type_id }));
            }
            if member_name == 0
                && let Some(inner) = self.aggregate(type_id)?
                && let Some(field) = self.member(inner, name)?
            {
                return Ok(Some(Field {
                    offset: offset + field.offset,
                    ..field
                }));
            }
        }
        Ok(None)
    }

    /// `path` is a structure and a member, with the members of that in turn: `sock.__sk_common.skc_state`. All are among the
    /// names that were asked for.
    fn field(&mut self, path: &str) -> Result<Field, BtfError> {
        let mut names = path.split('.');
        let structure = names.next().unwrap_or_default();
        let mut of = *self
            .structures
            .get(structure)
            .ok_or_else(|| BtfError::NoStructure(structure.into()))?;
        let missing = || BtfError::NoField(path.into());
        let mut found: Option<Field> = None;
        for name in names {
            if let Some(outer) = found {
                of = self.aggregate(outer.type_id)?.ok_or_else(missing)?;
            }
            let inner = self.member(of, name)?.ok_or_else(missing)?;
            found = Some(Field {
                offset: found.map_or(0, |outer| outer.offset) + inner.offset,
                ..inner
            });
        }
        found.ok_or_else(missing)
    }

    /// A field's offset in bytes.
    pub(super) fn offset(&mut self, path: &str) -> Result<u32, BtfError> {
        let field = self.field(path)?;
        if field.bits != 0 || field.offset % 8 != 0 {
            return Err(BtfError::BitField(path.into()));
        }
        Ok(field.offset / 8)
    }

    /// A small number, bit field or not, as a part of the aligned 32-bit word that it lies in.
    pub(super) fn bits(&mut self, path: &str) -> Result<Bits, BtfError> {
        let field = self.field(path)?;
        let size = match field.bits {
            0 => self
                .plain(field.type_id)?
                .filter(|this| this.kind() == INT)
                .map(|int| int.size_or_type * 8)
                .ok_or_else(|| BtfError::NoField(path.into()))?,
            bits => bits,
        };
        let shift = field.offset % 32;
        if size == 0 || shift + size > 32 {
            return Err(BtfError::BitField(path.into()));
        }
        Ok(Bits {
            offset: field.offset / 32 * 4,
            shift,
            mask: u32::MAX >> (32 - size),
        })
    }
}

/// BTF in which these functions have the ids that they have in the kernel's, and nothing else has a name: aya asks for one to
/// find a function in, and would take 15 MiB and 70 ms for all of the kernel's.
pub(super) fn reduced_to(functions: &[(u32, &str)]) -> Vec<u8> {
    let mut strings = vec![0];
    let last = functions.iter().map(|&(id, _)| id).max().unwrap_or_default();
    let mut types = vec![[0, FWD << 24, 0]; last as usize];
    for &(id, name) in functions {
        types[id as usize - 1] = [strings.len() as u32, FUNC << 24, 0];
        strings.extend(name.bytes().chain([0]));
    }
    let types: Vec<u32> = types.into_flattened();
    let (types_len, strings_len) = (size_of_val(&types[..]) as u32, strings.len() as u32);
    // Magic, version 1, no flags.
    let head = [MAGIC | 1 << 16, HEADER_LEN, 0, types_len, types_len, strings_len];
    let words = head.iter().chain(&types).flat_map(|word| word.to_ne_bytes());
    words.chain(strings).collect()
}

#[cfg(test)]
mod tests;
