//! Builds small BTF blobs for tests, type by type, as pahole would write them.

use super::kind;

/// Types and strings so far. Types are numbered from 1 in the order they are added.
pub struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

/// A member of a structure: name, type id, and the word that holds the offset in bits.
pub type Member = (&'static str, u32, u32);

impl Blob {
    pub fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], count: 0 }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = word(self.strings.len());
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// Any type: `info` is kind, length and flag; `rest` is what follows the 12 bytes all types have.
    pub fn raw(&mut self, name: &str, info: u32, size_or_id: u32, rest: &[u32]) -> u32 {
        let name = self.string(name);
        for word in [name, info, size_or_id].iter().chain(rest) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    pub fn int(&mut self, name: &str, bytes: u32) -> u32 {
        self.raw(name, kind::INT << 24, bytes, &[bytes * 8])
    }

    /// A pointer, typedef or qualifier.
    pub fn refer(&mut self, kind: u32, name: &str, to: u32) -> u32 {
        self.raw(name, kind << 24, to, &[])
    }

    fn members(&mut self, kind_and_flag: u32, name: &str, members: &[Member]) -> u32 {
        let mut rest = Vec::new();
        for &(name, id, bits) in members {
            rest.extend([self.string(name), id, bits]);
        }
        self.raw(name, kind_and_flag | word(members.len()), 64, &rest)
    }

    pub fn structure(&mut self, name: &str, members: &[Member]) -> u32 {
        self.members(kind::STRUCT << 24, name, members)
    }

    /// A structure whose offsets carry the sizes of bit fields in their top 8 bits.
    pub fn structure_with_bit_fields(&mut self, name: &str, members: &[Member]) -> u32 {
        self.members(1 << 31 | kind::STRUCT << 24, name, members)
    }

    pub fn union(&mut self, name: &str, members: &[Member]) -> u32 {
        self.members(kind::UNION << 24, name, members)
    }

    /// `typedef void (*btf_trace_NAME)(void *__data, …)`, with so many arguments in all.
    pub fn tracepoint(&mut self, name: &str, arguments: u32) -> u32 {
        let rest: Vec<u32> = (0..arguments).flat_map(|_| [0, 0]).collect();
        let function = self.raw("", kind::FUNC_PROTO << 24 | arguments, 0, &rest);
        let pointer = self.refer(kind::PTR, "", function);
        self.refer(kind::TYPEDEF, &format!("btf_trace_{name}"), pointer)
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let (types, strings) = (word(self.types.len()), word(self.strings.len()));
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types, types, strings] {
            bytes.extend_from_slice(&u32::to_le_bytes(word));
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

fn word(len: usize) -> u32 {
    u32::try_from(len).unwrap()
}
