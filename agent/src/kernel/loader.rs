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
    trial::Trial,
};

/// The programs, attached.
pub(super) struct Loaded {
    pub ebpf: Ebpf,
    pub links: Links,
    pub tier: Tier,
    pub trial: Trial,
    /// Why it is not a better one.
    pub refused: Option<Refusal>,
}

pub(super) fn load(settings: &Settings) -> Result<Loaded, Refusal> {
    load_best(settings).map_err(Refusal::explained)
}

fn load_best(settings: &Settings) -> Result<Loaded, Refusal> {
    let object = object::embedded()?;
    let (layout, functions) = {
        let mut types = layout::types(Functions::names())?;
        let functions = (settings.tier != Some(Tier::Tracepoint)).then(|| Functions::find(&mut types));
        (layout::structures(&mut types)?, functions)
    };
    // What reading the kernel's types took, before the programs are loaded.
    crate::memory::give_back();
    namespace::aside(|aside| {
        let mut refused = None;
        if let Some(functions) = functions {
            let loaded = functions.and_then(|functions| functions.load(object, settings, layout));
            match loaded.and_then(|loaded| tried(loaded, Tier::Fentry)) {
                Err(refusal) if settings.tier.is_none() => refused = Some(refusal),
                result => return result,
            }
        }
        let loaded = aside
            .tracefs()
            .and_then(|tracefs| tracepoints::load(object, settings, tracefs, layout));
        match loaded.and_then(|loaded| tried(loaded, Tier::Tracepoint)) {
            Ok(loaded) => Ok(Loaded { refused, ..loaded }),
            Err(refusal) => Err(match &refused {
                Some(better) => refusal.after(better),
                None => refusal,
            }),
        }
    })
}

/// A tier is in force when its hooks were seen to fire.
fn tried((mut ebpf, links): (Ebpf, Links), tier: Tier) -> Result<Loaded, Refusal> {
    // What the load took, before more is wanted.
    crate::memory::trim();
    let trial = Trial::take(&mut ebpf, tier)?;
    let quiet = trial.quiet()?;
    if quiet.is_empty() {
        return Ok(Loaded {
            ebpf,
            links,
            tier,
            trial,
            refused: None,
        });
    }
    Err(Refusal::quiet(
        "see the programs run that were attached",
        format_args!("the kernel does not run {}", quiet.join(", ")),
    ))
}
