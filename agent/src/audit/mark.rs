//! What a connection's mark in the kernel means: which call opened it, and for which container.

use crate::kernel::{Kernel, Mark};
use crate::record::ContainerId;
use crate::register::{OnConnect, Opening, Site};

impl OnConnect for Kernel {
    fn around(&self, opening: &Opening, connect: &mut dyn FnMut()) {
        if let Err(error) = self.marked(mark(opening), &mut *connect) {
            tracing::warn!(%error, "the kernel half cannot be told who opens a connection");
            connect();
        }
    }
}

fn mark(opening: &Opening) -> Mark {
    let mut mark = Mark {
        site: Site::ALL
            .iter()
            .position(|&site| site == opening.site)
            .map_or(0, |index| index as u32 + 1),
        ..Mark::default()
    };
    let bytes = opening.container.as_ref().and_then(|id| bytes_of(id.as_str()));
    if let Some(tag) = bytes {
        mark.len = tag.len() as u32;
        mark.tag = tag;
    }
    mark
}

/// Who opened a connection, by its mark: the kernel part knows it longer than the register does.
pub fn opening(mark: &Mark) -> Option<Opening> {
    let site = *Site::ALL.get((mark.site as usize).checked_sub(1)?)?;
    let container = (mark.len as usize == mark.tag.len()).then(|| {
        let id: String = mark.tag.iter().map(|byte| format!("{byte:02x}")).collect();
        ContainerId::new(&id)
    });
    Some(Opening { site, container })
}

/// 64 hexadecimal digits.
fn bytes_of(id: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if id.len() != 2 * bytes.len() || !id.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&id[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_survives_its_mark() {
        let id = "0123456789abcdef".repeat(4);
        for site in Site::ALL {
            for container in [None, Some(ContainerId::new(&id))] {
                let given = Opening { site, container };
                let read = opening(&mark(&given)).expect("a mark");
                assert_eq!((read.site, read.container), (given.site, given.container));
            }
        }
        assert!(opening(&Mark::default()).is_none());
    }
}
