//! Tells whether an object and an agent were built from the same definitions.

/// Lies in the object, and is looked for in it before it is loaded: an object of other definitions would be loaded without
/// complaint, and misread.
pub const STAMP: [u8; 24] = {
    let mut stamp = *b"log-capturer abi\0\0\0\0\0\0\0\0";
    let hash = SOURCES.to_le_bytes();
    let mut index = 0;
    while index < hash.len() {
        stamp[STAMP_NAME + index] = hash[index];
        index += 1;
    }
    stamp
};

const STAMP_NAME: usize = 16;

/// The hash of all sources of this crate: whatever is changed in them, the object must be built anew.
const SOURCES: u64 = {
    let mut hash = fnv(0xcbf2_9ce4_8422_2325, include_bytes!("lib.rs"));
    hash = fnv(hash, include_bytes!("histogram.rs"));
    hash = fnv(hash, include_bytes!("hook.rs"));
    hash = fnv(hash, include_bytes!("kind.rs"));
    hash = fnv(hash, include_bytes!("layout.rs"));
    hash = fnv(hash, include_bytes!("mark.rs"));
    hash = fnv(hash, include_bytes!("repair.rs"));
    fnv(hash, include_bytes!("state.rs"))
};

/// FNV-1a.
const fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    hash
}
