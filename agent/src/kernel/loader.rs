//! Loads the programs, by the best tier that the kernel takes.

use aya::Ebpf;

use super::{
    functions::Functions,
    layout,
    links::Links,
    namespace,
    object::{self, Settings},
    refusal::Refusal,
    tier::Tier,
    tracepoints,
};

/// The programs, attached.
pub struct Loaded {
    pub ebpf: Ebpf,
    pub links: Links,
    pub tier: Tier,
    /// Why it is not a better one.
    pub refused: Option<Refusal>,
}

pub fn load(settings: &Settings) -> Result<Loaded, Refusal> {
    let object = object::embedded()?;
    let (layout, functions) = {
        let mut types = layout::types(Functions::names())?;
        let functions = (settings.tier != Some(Tier::Tracepoint)).then(|| Functions::find(&mut types));
        (layout::structures(&mut types)?, functions)
    };
    namespace::aside(|aside| {
        let mut refused = None;
        if let Some(functions) = functions {
            match functions.and_then(|functions| functions.load(object, settings, layout)) {
                Err(refusal) if settings.tier.is_none() => refused = Some(refusal),
                result => {
                    return result.map(|(ebpf, links)| Loaded {
                        ebpf,
                        links,
                        tier: Tier::Fentry,
                        refused: None,
                    });
                }
            }
        }
        let (ebpf, links) = tracepoints::load(object, settings, aside.tracefs()?, layout)?;
        Ok(Loaded {
            ebpf,
            links,
            tier: Tier::Tracepoint,
            refused,
        })
    })
}
