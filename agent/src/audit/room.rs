//! Whether the maps have room: what a full map refuses is missing in the account.

use std::collections::HashMap;

use crate::kernel::MapUsage;

/// Looks at how many entries were refused since the last time.
#[derive(Debug, Default)]
pub(super) struct Room {
    refused: HashMap<&'static str, u64>,
}

impl Room {
    /// Which maps are full, in words; nothing where all is well.
    pub(super) fn lacks(&mut self, maps: &[MapUsage]) -> Option<String> {
        let full: Vec<String> = maps.iter().filter_map(|usage| self.lacking(usage)).collect();
        (!full.is_empty()).then(|| full.join(", "))
    }

    fn lacking(&mut self, usage: &MapUsage) -> Option<String> {
        let MapUsage {
            map,
            entries,
            capacity,
            failures,
        } = *usage;
        let before = self.refused.insert(map, failures).unwrap_or(0);
        (failures > before).then(|| {
            format!("the map of {map} is full ({entries} of {capacity}); what it refuses is not in the account")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_full_for_as_long_as_it_refuses() {
        let usage = |failures| {
            [MapUsage {
                map: "connections",
                entries: 64,
                capacity: 64,
                failures,
            }]
        };
        let mut room = Room::default();
        assert_eq!(room.lacks(&usage(0)), None, "full, and nothing was refused");
        let said = room.lacks(&usage(5)).expect("five were refused");
        assert!(said.contains("connections") && said.contains("64 of 64"), "{said}");
        assert!(room.lacks(&usage(6)).is_some());
        assert_eq!(room.lacks(&usage(6)), None, "none since");
    }
}
