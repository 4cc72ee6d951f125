//! A reader of BTF, the kernel's description of its own types, for two questions: where is a field, and how many
//! arguments does a tracepoint have.
//!
//! It is not a BTF library: it builds no types, knows no split BTF of modules and reads little-endian machines only. One
//! pass over the 5 MB of a kernel keeps 4 bytes a type and the names of structures; everything else is read where it
//! lies. The format is that of `Documentation/bpf/btf.rst`.
//!
//! Invariant: the bytes are not trusted. Every length and id is checked and every walk is bounded; bad bytes are a
//! [`BtfError`].

#[cfg(test)]
pub(super) mod blob;
#[cfg(test)]
mod tests;

use thiserror::Error;

/// Why the bytes, or the question, cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BtfError {
    /// The first bytes are not BTF's.
    #[error("this is not BTF: it begins with {0:#06x} instead of 0xeb9f")]
    Magic(u16),
    /// Written on a big-endian machine.
    #[error("the BTF is big-endian; kscope reads that of little-endian machines only")]
    BigEndian,
    /// A version of the format that did not exist when this was written.
    #[error("the BTF has version {0}, only version 1 is known: a newer kscope may read it")]
    Version(u8),
    /// Something ends beyond the bytes there are.
    #[error("the BTF is cut off or damaged: {0} does not lie within it")]
    Truncated(&'static str),
    /// A kind of type of unknown size, so that nothing behind it can be found.
    #[error("the BTF's type {id} is of kind {kind}, which is not known: a newer kscope may read it")]
    Kind {
        /// Type id.
        id: u32,
        /// `BTF_KIND_*`.
        kind: u32,
    },
    /// A reference to a type that does not exist.
    #[error("the BTF is damaged: it refers to a type {0} that it does not have")]
    Id(u32),
    /// Types refer to each other in a circle, or nest beyond reason.
    #[error("the BTF is damaged: its types around {0} nest without end")]
    Endless(String),
    /// The question is not `structure.member…`.
    #[error("`{0}` is not a structure and a member, such as `task_struct.pid`")]
    Path(String),
    /// A member on the way is not a structure that the next one could be in.
    #[error("in `{path}`, `{member}` is not a structure on this kernel")]
    NotAStructure {
        /// The whole path.
        path: String,
        /// The part that is not a structure.
        member: String,
    },
    /// A bit field has no byte offset.
    #[error("`{0}` is a bit field on this kernel, which cannot be read by its offset")]
    BitField(String),
    /// `btf_trace_*` is not a pointer to a function that takes `__data`.
    #[error("the BTF is damaged: tracepoint `{0}` has no prototype")]
    Prototype(String),
}

impl BtfError {
    /// Whether only this one question has no answer, while the bytes are sound.
    pub fn concerns_one_member(&self) -> bool {
        matches!(self, Self::BitField(_) | Self::NotAStructure { .. })
    }
}

/// `BTF_KIND_*` of `include/uapi/linux/btf.h`.
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// Bytes of `struct btf_type`, which every type begins with.
const TYPE_LEN: usize = 12;
/// Bytes of `struct btf_member`.
const MEMBER_LEN: usize = 12;
/// Members looked at for one question. `task_struct` has 250, and the format's limit was 65,535 for a structure.
const MAX_MEMBERS: u32 = 1 << 18;
/// Typedefs and qualifiers followed in a row.
const MAX_QUALIFIERS: u32 = 64;
/// What the prototype of a tracepoint is called, before the tracepoint's name.
const TRACE_PREFIX: &[u8] = b"btf_trace_";

/// BTF whose types have been found, ready for questions.
#[derive(Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where in `types` each type begins; type 1 is the first.
    starts: Vec<u32>,
    /// The structures and unions that have a name.
    structures: Vec<Named>,
    /// The typedefs `btf_trace_*`.
    tracepoints: Vec<Named>,
}

#[derive(Clone, Copy, Debug)]
struct Named {
    name: u32,
    id: u32,
}

/// A `struct btf_type`, and where what follows it begins.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    /// `kind_flag`: in structures, the members' offsets carry the sizes of bit fields.
    flag: bool,
    vlen: u32,
    size_or_id: u32,
    body: usize,
}

struct Member {
    type_id: u32,
    /// From the start of the structure the search began in.
    bits: u64,
    bit_field: bool,
}

impl<'a> Btf<'a> {
    /// Finds the types of `bytes`, the content of `/sys/kernel/btf/vmlinux`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let (types, strings) = sections(bytes)?;
        // A kernel's types take 25 bytes on average: the list seldom has to grow.
        let starts = Vec::with_capacity(types.len() / 25);
        let mut btf = Self { types, strings, starts, structures: Vec::new(), tracepoints: Vec::new() };
        let mut at = 0;
        while at < types.len() {
            at = btf.index(at)?;
        }
        Ok(btf)
    }

    /// Notes the type at byte `at` of the types; returns where the next one begins.
    fn index(&mut self, at: usize) -> Result<usize, BtfError> {
        let cut = BtfError::Truncated("a type");
        let start = u32::try_from(at).map_err(|_| cut.clone())?;
        self.starts.push(start);
        let id = u32::try_from(self.starts.len()).map_err(|_| cut.clone())?;
        let ty = read_type(self.types, at).ok_or(cut.clone())?;
        let named = Named { name: ty.name, id };
        match ty.kind {
            kind::STRUCT | kind::UNION if ty.name != 0 => self.structures.push(named),
            kind::TYPEDEF if self.text(ty.name)?.starts_with(TRACE_PREFIX) => self.tracepoints.push(named),
            _ => {}
        }
        let body = body_len(ty).ok_or(BtfError::Kind { id, kind: ty.kind })?;
        ty.body.checked_add(body).filter(|&end| end <= self.types.len()).ok_or(cut)
    }

    /// Offset in bytes of a member, such as `task_struct.pid` or `sock.__sk_common.skc_family`: through anonymous and
    /// nested structures, typedefs and qualifiers, not through pointers. `None` where this kernel has no such member.
    pub fn member_offset(&self, path: &str) -> Result<Option<u32>, BtfError> {
        let (root, members) = path.split_once('.').ok_or_else(|| BtfError::Path(path.to_owned()))?;
        let mut budget = MAX_MEMBERS;
        for structure in &self.structures {
            // Unrelated drivers may have structures of the same name: the one with the member is meant.
            if self.name_is(structure.name, root.as_bytes())?
                && let Some(offset) = self.descend(structure.id, path, members, &mut budget)?
            {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }

    /// Where a bit field of one bit lies, named as for [`Self::member_offset`]: its byte, and the bit in that byte. `None` where
    /// this kernel has no such member, or one of another form.
    pub fn bit_position(&self, path: &str) -> Result<Option<(u32, u8)>, BtfError> {
        let (root, members) = path.split_once('.').ok_or_else(|| BtfError::Path(path.to_owned()))?;
        let mut budget = MAX_MEMBERS;
        for structure in &self.structures {
            if self.name_is(structure.name, root.as_bytes())?
                && let Some(found) = self.walk(structure.id, path, members, &mut budget)?
                && found.bit_field
            {
                let byte = u32::try_from(found.bits / 8).map_err(|_| BtfError::Truncated("a member"))?;
                return Ok(Some((byte, 1 << (found.bits % 8))));
            }
        }
        Ok(None)
    }

    /// Those of `names` that are functions of this kernel. It looks at all of them, which takes a good part of a
    /// millisecond.
    pub fn functions_of<'n>(&self, names: &[&'n str]) -> Result<Vec<&'n str>, BtfError> {
        let mut found = Vec::with_capacity(names.len());
        for start in &self.starts {
            let ty = read_type(self.types, *start as usize).ok_or(BtfError::Truncated("a type"))?;
            if ty.kind != kind::FUNC {
                continue;
            }
            let text = self.text(ty.name)?;
            let first = text.first().copied();
            found.extend(names.iter().filter(|n| n.bytes().next() == first && text_is(text, n.as_bytes())));
        }
        Ok(found)
    }

    /// Number of arguments of a tracepoint, without the `void *__data` in front. `None` where this kernel has no such
    /// tracepoint.
    pub fn tracepoint_arity(&self, name: &str) -> Result<Option<u32>, BtfError> {
        for tracepoint in &self.tracepoints {
            if self.text(tracepoint.name)?.get(TRACE_PREFIX.len()..).is_some_and(|text| text_is(text, name.as_bytes()))
            {
                return self.arity(tracepoint.id, name).map(Some);
            }
        }
        Ok(None)
    }

    fn arity(&self, id: u32, name: &str) -> Result<u32, BtfError> {
        let wrong = || BtfError::Prototype(name.to_owned());
        let pointer = self.resolve(id)?.filter(|ty| ty.kind == kind::PTR).ok_or_else(wrong)?;
        let function = self.resolve(pointer.size_or_id)?.filter(|ty| ty.kind == kind::FUNC_PROTO).ok_or_else(wrong)?;
        function.vlen.checked_sub(1).ok_or_else(wrong)
    }

    /// The byte offset of `members` (the part of `path` behind the first dot) in structure `id`.
    fn descend(&self, id: u32, path: &str, members: &str, budget: &mut u32) -> Result<Option<u32>, BtfError> {
        let Some(found) = self.walk(id, path, members, budget)? else { return Ok(None) };
        if found.bit_field || !found.bits.is_multiple_of(8) || self.is_part_of_an_int(found.type_id)? {
            return Err(BtfError::BitField(path.to_owned()));
        }
        u32::try_from(found.bits / 8).map(Some).map_err(|_| BtfError::Truncated("a member"))
    }

    /// Follows `members` from structure `id`.
    fn walk(&self, id: u32, path: &str, members: &str, budget: &mut u32) -> Result<Option<Member>, BtfError> {
        let mut inside = path.split('.').next().unwrap_or_default();
        let mut found = Member { type_id: id, bits: 0, bit_field: false };
        for name in members.split('.') {
            let structure = self.resolve(found.type_id)?.filter(Type::has_members);
            let Some(structure) = structure else {
                return Err(BtfError::NotAStructure { path: path.to_owned(), member: inside.to_owned() });
            };
            match self.find(structure, found.bits, name.as_bytes(), budget)? {
                Some(member) => found = member,
                None => return Ok(None),
            }
            inside = name;
        }
        Ok(Some(found))
    }

    /// Finds a member of a structure that begins at bit `base`, in itself and in the anonymous ones within it.
    fn find(&self, structure: Type, base: u64, name: &[u8], budget: &mut u32) -> Result<Option<Member>, BtfError> {
        let mut open = vec![(structure, base)];
        while let Some((structure, base)) = open.pop() {
            for at in (structure.body..).step_by(MEMBER_LEN).take(structure.vlen as usize) {
                let endless = || BtfError::Endless(String::from_utf8_lossy(name).into_owned());
                *budget = budget.checked_sub(1).ok_or_else(endless)?;
                let [member_name, type_id, offset] = words(self.types, at).ok_or(BtfError::Truncated("a member"))?;
                let (bits, bit_field) =
                    if structure.flag { (offset & 0xff_ffff, offset >> 24 != 0) } else { (offset, false) };
                let member = Member { type_id, bits: base.saturating_add(bits.into()), bit_field };
                if self.name_is(member_name, name)? {
                    return Ok(Some(member));
                }
                if self.name_is(member_name, b"")?
                    && let Some(anonymous) = self.resolve(type_id)?.filter(Type::has_members)
                {
                    open.push((anonymous, member.bits));
                }
            }
        }
        Ok(None)
    }

    /// The way bit fields were written down before `kind_flag`: as an integer that says which of its bits are used.
    fn is_part_of_an_int(&self, id: u32) -> Result<bool, BtfError> {
        let Some(int) = self.resolve(id)?.filter(|ty| ty.kind == kind::INT) else { return Ok(false) };
        let [encoding] = words(self.types, int.body).ok_or(BtfError::Truncated("an integer"))?;
        let (bits, offset) = (encoding & 0xff, encoding >> 16 & 0xff);
        Ok(offset != 0 || int.size_or_id.checked_mul(8) != Some(bits))
    }

    /// The type behind typedefs and qualifiers; `None` is `void`.
    fn resolve(&self, id: u32) -> Result<Option<Type>, BtfError> {
        let mut next = id;
        for _ in 0..MAX_QUALIFIERS {
            let Some(index) = next.checked_sub(1) else { return Ok(None) };
            let start = *self.starts.get(index as usize).ok_or(BtfError::Id(next))?;
            let ty = read_type(self.types, start as usize).ok_or(BtfError::Truncated("a type"))?;
            match ty.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    next = ty.size_or_id;
                }
                _ => return Ok(Some(ty)),
            }
        }
        Err(BtfError::Endless(format!("type {id}")))
    }

    /// The strings from `offset` on; the first ends at the first zero.
    fn text(&self, offset: u32) -> Result<&'a [u8], BtfError> {
        self.strings.get(offset as usize..).filter(|text| !text.is_empty()).ok_or(BtfError::Truncated("a name"))
    }

    fn name_is(&self, offset: u32, name: &[u8]) -> Result<bool, BtfError> {
        Ok(text_is(self.text(offset)?, name))
    }
}

impl Type {
    fn has_members(&self) -> bool {
        matches!(self.kind, kind::STRUCT | kind::UNION)
    }
}

/// The section of types and the section of strings.
fn sections(bytes: &[u8]) -> Result<(&[u8], &[u8]), BtfError> {
    let header = || BtfError::Truncated("the header");
    match bytes {
        [0x9f, 0xeb, 1, ..] => {}
        [0x9f, 0xeb, version, ..] => return Err(BtfError::Version(*version)),
        [0xeb, 0x9f, ..] => return Err(BtfError::BigEndian),
        [low, high, ..] => return Err(BtfError::Magic(u16::from_le_bytes([*low, *high]))),
        _ => return Err(header()),
    }
    let [header_len, type_off, type_len, str_off, str_len] = words(bytes, 4).ok_or_else(header)?;
    // All offsets count from the end of the header, which may have grown.
    let rest = bytes.get(header_len as usize..).ok_or_else(header)?;
    let section = |offset: u32, len: u32| rest.get(offset as usize..)?.get(..len as usize);
    let types = section(type_off, type_len).ok_or(BtfError::Truncated("the section of types"))?;
    let strings = section(str_off, str_len).ok_or(BtfError::Truncated("the section of strings"))?;
    Ok((types, strings))
}

fn read_type(types: &[u8], at: usize) -> Option<Type> {
    let [name, info, size_or_id] = words(types, at)?;
    // Newer kernels use 24 bits for the length and 7 for the kind; those bits are zero on the others.
    let (kind, vlen) = (info >> 24 & 0x7f, info & 0xff_ffff);
    Some(Type { name, kind, flag: info >> 31 != 0, vlen, size_or_id, body: at.checked_add(TYPE_LEN)? })
}

/// Bytes that follow the `struct btf_type`; `None` for an unknown kind.
fn body_len(ty: Type) -> Option<usize> {
    let each = match ty.kind {
        kind::PTR
        | kind::FWD
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNC
        | kind::FLOAT
        | kind::TYPE_TAG => return Some(0),
        kind::INT | kind::VAR | kind::DECL_TAG => return Some(4),
        kind::ARRAY => return Some(12),
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12,
        kind::ENUM | kind::FUNC_PROTO => 8,
        _ => return None,
    };
    (ty.vlen as usize).checked_mul(each)
}

/// `N` little-endian words at byte `at`.
fn words<const N: usize>(bytes: &[u8], at: usize) -> Option<[u32; N]> {
    let (chunks, _) = bytes.get(at..)?.as_chunks::<4>();
    let chunks: &[[u8; 4]; N] = chunks.first_chunk()?;
    Some(chunks.map(u32::from_le_bytes))
}

/// Whether the zero-terminated string at the start of `text` is `name`.
fn text_is(text: &[u8], name: &[u8]) -> bool {
    text.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0))
}
