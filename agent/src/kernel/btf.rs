//! Field offsets from BTF, the kernel's own description of its types.
//!
//! Only offsets are wanted, a few dozen out of 150,000 types, so the bytes are read in place: a parser that builds all types
//! takes tens of megabytes for it. The format is `Documentation/bpf/btf.rst`.

use abi::Bits;

/// A parsed header, and where each type begins.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Index `id - 1`; id 0 is `void`.
    begins: Vec<u32>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BtfError {
    #[error("not BTF, or cut short")]
    Malformed,
    #[error("no structure `{0}`")]
    NoStructure(String),
    #[error("no function `{0}`")]
    NoFunction(String),
    #[error("no field `{0}`")]
    NoField(String),
    #[error("field `{0}` is a bit field")]
    BitField(String),
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

const TYPE_LEN: usize = 12;
const MEMBER_LEN: usize = 12;

/// `struct btf_type`
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    info: u32,
    /// The size, or the id of the type that this one refers to.
    size_or_type: u32,
    /// Where what follows the common part begins.
    rest: usize,
}

impl Type {
    const fn kind(self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    const fn len(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Of a structure: its members' offsets may bear a bit-field size in the top byte.
    const fn has_bit_fields(self) -> bool {
        self.info >> 31 == 1
    }

    const fn rest_len(self) -> usize {
        match self.kind() {
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

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)
        .map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes")))
}

impl<'a> Btf<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        Self::sections(bytes).ok_or(BtfError::Malformed)
    }

    fn sections(bytes: &'a [u8]) -> Option<Self> {
        if word(bytes, 0)? & 0xffff != MAGIC {
            return None;
        }
        let section = |at: usize| {
            let begin = (word(bytes, 4)? as usize).checked_add(word(bytes, at)? as usize)?;
            bytes.get(begin..begin.checked_add(word(bytes, at + 4)? as usize)?)
        };
        let mut btf = Self {
            types: section(8)?,
            strings: section(16)?,
            begins: Vec::new(),
        };
        let mut at = 0;
        while at < btf.types.len() {
            btf.begins.push(at as u32);
            let this = btf.type_at(at)?;
            at = this.rest + this.rest_len();
        }
        (at == btf.types.len()).then_some(btf)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        Some(Type {
            name: word(self.types, at)?,
            info: word(self.types, at + 4)?,
            size_or_type: word(self.types, at + 8)?,
            rest: at + TYPE_LEN,
        })
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        self.type_at(*self.begins.get(id.checked_sub(1)? as usize)? as usize)
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        self.strings
            .get(offset as usize..)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The id of a kernel function.
    pub fn function(&self, name: &str) -> Result<u32, BtfError> {
        let is_it = |&at: &u32| {
            self.type_at(at as usize)
                .is_some_and(|this| this.kind() == FUNC && self.is_named(this.name, name))
        };
        let index = self.begins.iter().position(is_it);
        index
            .map(|index| index as u32 + 1)
            .ok_or_else(|| BtfError::NoFunction(name.into()))
    }

    /// BTF in which these functions have the ids that they have here, and nothing else has a name: aya asks for one to find a
    /// function in, and would take 15 MiB and 70 ms for all of the kernel's.
    pub fn reduced_to(functions: &[(u32, &str)]) -> Vec<u8> {
        const HEADER_LEN: u32 = 24;
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

    fn structure(&self, name: &str) -> Option<Type> {
        self.begins
            .iter()
            .filter_map(|&at| self.type_at(at as usize))
            .find(|this| this.kind() == STRUCT && this.len() > 0 && self.is_named(this.name, name))
    }

    /// The structure or union behind typedefs and qualifiers.
    fn aggregate(&self, mut id: u32) -> Option<Type> {
        loop {
            let this = self.by_id(id)?;
            match this.kind() {
                STRUCT | UNION => return Some(this),
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = this.size_or_type,
                _ => return None,
            }
        }
    }

    /// A member by name, also inside anonymous structures and unions.
    fn member(&self, of: Type, name: &str) -> Option<Field> {
        for index in 0..of.len() {
            let at = of.rest + index * MEMBER_LEN;
            let (member_name, type_id, offset) = (
                word(self.types, at)?,
                word(self.types, at + 4)?,
                word(self.types, at + 8)?,
            );
            let (offset, bits) = if of.has_bit_fields() {
                (offset & 0x00ff_ffff, offset >> 24)
            } else {
                (offset, 0)
            };
            if self.is_named(member_name, name) {
                return Some(Field { offset, bits, type_id });
            }
            if self.is_named(member_name, "")
                && let Some(inner) = self.aggregate(type_id)
                && let Some(field) = self.member(inner, name)
            {
                return Some(Field {
                    offset: offset + field.offset,
                    ..field
                });
            }
        }
        None
    }

    /// `path` is a structure and a member, with the members of that in turn: `sock.__sk_common.skc_state`.
    fn field(&self, path: &str) -> Result<Field, BtfError> {
        let mut names = path.split('.');
        let structure = names.next().unwrap_or_default();
        let mut of = self
            .structure(structure)
            .ok_or_else(|| BtfError::NoStructure(structure.into()))?;
        let missing = || BtfError::NoField(path.into());
        let mut found: Option<Field> = None;
        for name in names {
            if let Some(outer) = found {
                of = self.aggregate(outer.type_id).ok_or_else(missing)?;
            }
            let inner = self.member(of, name).ok_or_else(missing)?;
            found = Some(Field {
                offset: found.map_or(0, |outer| outer.offset) + inner.offset,
                ..inner
            });
        }
        found.ok_or_else(missing)
    }

    /// A field's offset in bytes.
    pub fn offset(&self, path: &str) -> Result<u32, BtfError> {
        let field = self.field(path)?;
        if field.bits != 0 || field.offset % 8 != 0 {
            return Err(BtfError::BitField(path.into()));
        }
        Ok(field.offset / 8)
    }

    /// A small number, bit field or not, as a part of the aligned 32-bit word that it lies in.
    pub fn bits(&self, path: &str) -> Result<Bits, BtfError> {
        let field = self.field(path)?;
        let size = match field.bits {
            0 => self
                .int_bits(field.type_id)
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

    fn int_bits(&self, mut id: u32) -> Option<u32> {
        loop {
            let this = self.by_id(id)?;
            match this.kind() {
                INT => return Some(this.size_or_type * 8),
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = this.size_or_type,
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
