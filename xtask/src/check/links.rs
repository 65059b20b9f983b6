//! Every relative link in a Markdown file leads to a file, and its anchor to a heading there.
//!
//! A document that is only mentioned by its path, in a comment or a message, must exist as well. And whoever begins at
//! README.md must come to every document by links.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::files::{self, Text};

pub fn check() -> Result<()> {
    let paths: BTreeSet<PathBuf> = files::paths()?.into_iter().collect();
    let texts = files::texts()?;
    let pages = pages(&texts);
    ensure!(
        pages.values().any(|page| !page.links.is_empty()),
        "no link found in any Markdown file: this check has lost what it looks at"
    );
    let exists = |path: &Path| path.as_os_str().is_empty() || paths.iter().any(|known| known.starts_with(path));
    let mut found = broken(&pages, exists);
    found.extend(texts.iter().flat_map(|text| missing_mentions(text, exists)));
    found.extend(unreachable(&pages, Path::new("README.md")));
    ensure!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}

/// Whether a page, named by its path below the root, has that heading.
pub fn has_heading(page: &Path, anchor: &str) -> bool {
    let text = std::fs::read_to_string(crate::cargo::root().join(page)).unwrap_or_default();
    Page::read(&text).anchors.contains(anchor)
}

/// What a Markdown file offers and what it refers to.
struct Page {
    anchors: BTreeSet<String>,
    /// The line and the destination of each link and image.
    links: Vec<(usize, String)>,
}

fn pages(texts: &[Text]) -> BTreeMap<&Path, Page> {
    let is_markdown = |text: &&Text| text.path.extension().is_some_and(|extension| extension == "md");
    let markdown = texts.iter().filter(is_markdown);
    markdown
        .map(|text| (text.path.as_path(), Page::read(&text.text)))
        .collect()
}

impl Page {
    fn read(text: &str) -> Self {
        let mut anchors = BTreeSet::new();
        let mut links = Vec::new();
        let mut heading: Option<String> = None;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    // GitHub numbers those that are the same.
                    let numbered = (1..).map(|number| format!("{anchor}-{number}"));
                    let unused = std::iter::once(anchor.clone())
                        .chain(numbered)
                        .find(|anchor| !anchors.contains(anchor));
                    anchors.extend(unused);
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    let line = 1 + text[..range.start].matches('\n').count();
                    links.push((line, dest_url.into_string()));
                }
                _ => {}
            }
        }
        Self { anchors, links }
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c => c.is_alphanumeric().then_some(c),
    });
    kept.collect()
}

fn broken(pages: &BTreeMap<&Path, Page>, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, page) in pages {
        for (line, link) in &page.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match target {
                "" => path.to_path_buf(),
                target => resolve(path.parent().unwrap_or(Path::new("")), target),
            };
            let place = format!("  {}:{line}: {link}", path.display());
            if !exists(&target) {
                found.push(format!("{place}: there is no such file"));
            } else if let Some(page) = pages.get(target.as_path())
                && !anchor.is_empty()
                && !page.anchors.contains(anchor)
            {
                found.push(format!("{place}: there is no such heading"));
            }
        }
    }
    found
}

/// Pages that no chain of links from `start` leads to.
fn unreachable(pages: &BTreeMap<&Path, Page>, start: &Path) -> Vec<String> {
    let mut reached = BTreeSet::from([start.to_owned()]);
    let mut left = vec![start.to_owned()];
    while let Some(path) = left.pop() {
        let folder = path.parent().unwrap_or(Path::new(""));
        let links = pages.get(path.as_path()).into_iter().flat_map(|page| &page.links);
        for (_, link) in links {
            let target = resolve(folder, link.split('#').next().unwrap_or_default());
            if reached.insert(target.clone()) {
                left.push(target);
            }
        }
    }
    let missed = pages.keys().filter(|path| !reached.contains(**path));
    missed
        .map(|path| format!("  {}: no link leads here from {}", path.display(), start.display()))
        .collect()
}

/// The path below the root that `target` means in a file of `folder`.
fn resolve(folder: &Path, target: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for component in folder.join(target).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path
}

/// Paths of documents in a text that lead nowhere.
fn missing_mentions(text: &Text, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.text.lines().enumerate() {
        for (at, _) in line.match_indices("docs/") {
            // A part of a longer path, or a link, which is looked at as such.
            let before = &line[..at];
            let is_inside = before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-'))
                || before.ends_with("](");
            let rest = &line[at..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_')));
            let mention = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
            if !is_inside && mention.ends_with(".md") && !exists(Path::new(mention)) {
                found.push(format!(
                    "  {}:{}: {mention}: there is no such file",
                    text.path.display(),
                    number + 1
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 3] = ["README.md", "pages/a.md", "pages/plots/x.svg"];

    fn exists(path: &Path) -> bool {
        FILES.iter().any(|known| Path::new(known).starts_with(path))
    }

    fn complaints(readme: &str, other: &str) -> Vec<String> {
        let texts = [(FILES[0], readme), (FILES[1], other)].map(|(path, text)| Text {
            path: path.into(),
            text: text.to_owned(),
        });
        broken(&pages(&texts), exists)
    }

    #[test]
    fn links_that_lead_somewhere() {
        let readme = "# One `two` three!\n[a](pages/a.md#x_y-z) ![x](pages/plots/x.svg) [b](#one-two-three) [c](pages/)\n\
                      [d](https://example.org/none#x) `[e](none.md)`\n\n```\n[f](none.md)\n```\n";
        let other = "## x_y z\n[a](../README.md#one-two-three)\n## Twice\n## Twice\n[b](#twice-1)\n";
        assert_eq!(complaints(readme, other), [""; 0]);
    }

    #[test]
    fn links_that_lead_nowhere_are_named_with_their_line() {
        let readme = "# One\n[a](pages/none.md)\n| a |\n|---|\n| [b](pages/a.md#none) |\n";
        let other = "[c](README.md)\n[d](#none)\n";
        let nowhere = complaints(readme, other);
        assert_eq!(nowhere.len(), 4, "{nowhere:?}");
        assert_eq!(nowhere[0], "  README.md:2: pages/none.md: there is no such file");
        assert!(nowhere[1].starts_with("  README.md:5: "), "{nowhere:?}");
        assert!(nowhere[1].ends_with("#none: there is no such heading"), "{nowhere:?}");
    }

    #[test]
    fn a_page_that_no_link_leads_to_is_named() {
        let texts = [
            ("README.md", "[a](pages/a.md)"),
            ("pages/a.md", "[b](../b.md#b)"),
            ("b.md", "# b"),
            ("pages/lost.md", "[a](a.md)"),
        ];
        let texts = texts.map(|(path, text)| Text {
            path: path.into(),
            text: text.to_owned(),
        });
        assert_eq!(
            unreachable(&pages(&texts), Path::new("README.md")),
            ["  pages/lost.md: no link leads here from README.md"]
        );
    }

    #[test]
    fn a_document_that_is_mentioned_must_exist() {
        let mentions = |line: &str| {
            let text = Text {
                path: "a.rs".into(),
                text: format!("fine\n// See {line}.\n"),
            };
            missing_mentions(&text, |path| path.ends_with("here.md"))
        };
        // Put together here, or this file would be the first to be found.
        assert_eq!(mentions(concat!("docs", "/here.md")), [""; 0]);
        assert_eq!(mentions(concat!("https://example.org/docs", "/none.md")), [""; 0]);
        assert_eq!(mentions(concat!("[a](docs", "/none.md)")), [""; 0]);
        assert_eq!(
            mentions(concat!("`docs", "/none.md`")),
            [concat!("  a.rs:2: docs", "/none.md: there is no such file")]
        );
    }
}
