//! The names that a piece of source uses: its imports, and the paths in it.
//!
//! It reads tokens rather than a syntax tree, because much of an asynchronous program is inside of macros.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::UseTree;

use crate::source::{is_punct, line_of};

pub type Path = Vec<String>;

/// `use path as name;`
pub struct Import {
    pub name: String,
    pub path: Path,
    pub line: usize,
    /// It is `pub`, of any kind.
    pub is_public: bool,
}

/// A path outside of an import. A name by itself is one too, where it is called or looks like a type.
pub struct Mention {
    pub path: Path,
    pub line: usize,
}

#[derive(Default)]
pub struct Names {
    pub imports: Vec<Import>,
    /// `use path::*;`
    pub globs: Vec<Path>,
    pub mentions: Vec<Mention>,
}

impl Names {
    pub fn read(&mut self, tokens: TokenStream) {
        let level: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < level.len() {
            at += match &level[at] {
                TokenTree::Group(group) => {
                    self.read(group.stream());
                    1
                }
                TokenTree::Ident(name) if name == "use" => self.read_use(&level, at),
                TokenTree::Ident(_) if starts_path(&level, at) => self.read_path(&level, at),
                _ => 1,
            };
        }
    }

    /// Returns how many tokens it took.
    fn read_use(&mut self, level: &[TokenTree], at: usize) -> usize {
        let rest = &level[at + 1..];
        let length = rest.iter().take_while(|tree| !is_punct(Some(tree), ';')).count();
        let tree: TokenStream = rest[..length].iter().cloned().collect();
        // `impl Trait + use<'a>` is none, and `use ::name` is another crate's.
        let Ok(tree) = syn::parse2::<UseTree>(tree) else {
            return 1;
        };
        self.read_tree(&tree, Vec::new(), is_public(&level[..at]));
        1 + length
    }

    fn read_tree(&mut self, tree: &UseTree, mut path: Path, is_public: bool) {
        match tree {
            UseTree::Path(branch) => {
                path.push(branch.ident.to_string());
                self.read_tree(&branch.tree, path, is_public);
            }
            UseTree::Group(group) => {
                for branch in &group.items {
                    self.read_tree(branch, path.clone(), is_public);
                }
            }
            UseTree::Name(leaf) => self.import(path, &leaf.ident, &leaf.ident, is_public),
            UseTree::Rename(leaf) => self.import(path, &leaf.ident, &leaf.rename, is_public),
            UseTree::Glob(_) => self.globs.push(path),
        }
    }

    fn import(&mut self, mut path: Path, leaf: &syn::Ident, name: &syn::Ident, is_public: bool) {
        let mut name = name.to_string();
        if leaf == "self" {
            // `use a::b::{self}` is named `b`, unless it is renamed.
            if let (Some(last), "self") = (path.last(), name.as_str()) {
                name.clone_from(last);
            }
        } else {
            path.push(leaf.to_string());
        }
        let line = leaf.span().start().line;
        self.imports.push(Import {
            name,
            path,
            line,
            is_public,
        });
    }

    /// Returns how many tokens it took.
    fn read_path(&mut self, level: &[TokenTree], at: usize) -> usize {
        let mut path = vec![level[at].to_string()];
        let mut end = at + 1;
        while let [a, b, TokenTree::Ident(name), ..] = &level[end..]
            && is_punct(Some(a), ':')
            && is_punct(Some(b), ':')
        {
            path.push(name.to_string());
            end += 3;
        }
        if path.len() > 1 || is_type(&path[0]) || is_call(level, at) {
            let line = line_of(&level[at]);
            self.mentions.push(Mention { path, line });
        }
        end - at
    }
}

/// A variable and a field may have the name of a function, but hardly that of a type.
fn is_type(name: &str) -> bool {
    name.starts_with(char::is_uppercase)
}

fn is_call(level: &[TokenTree], at: usize) -> bool {
    let is_defined = at > 0 && matches!(&level[at - 1], TokenTree::Ident(word) if word == "fn");
    let has_arguments =
        matches!(level.get(at + 1), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
    !is_defined && (has_arguments || is_punct(level.get(at + 1), '!'))
}

/// Not a field, a method, a lifetime, or the end of another path.
fn starts_path(level: &[TokenTree], at: usize) -> bool {
    let before = |steps: usize, wanted| at >= steps && is_punct(level.get(at - steps), wanted);
    let is_member = before(1, '.') && !before(2, '.');
    let is_inner = before(1, ':') && before(2, ':');
    !is_member && !is_inner && !before(1, '\'')
}

/// From what stands before `use`.
fn is_public(before: &[TokenTree]) -> bool {
    let word = match before {
        [.., word, TokenTree::Group(group)] if group.delimiter() == Delimiter::Parenthesis => word,
        [.., word] => word,
        [] => return false,
    };
    matches!(word, TokenTree::Ident(word) if word == "pub")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Names {
        let mut names = Names::default();
        names.read(text.parse().unwrap());
        names
    }

    #[test]
    fn imports_however_they_are_written() {
        let text = "use a::{self, b::{C, D as E}, f}; pub(super) use self::g::H; use ::other::X; use i::*;";
        let names = names(text);
        let told: Vec<String> = names
            .imports
            .iter()
            .map(|import| format!("{}={}", import.name, import.path.join("::")))
            .collect();
        assert_eq!(told, ["a=a", "C=a::b::C", "E=a::b::D", "f=a::f", "H=self::g::H"]);
        let public: Vec<&str> = names
            .imports
            .iter()
            .filter(|import| import.is_public)
            .map(|import| &*import.name)
            .collect();
        assert_eq!(public, ["H"]);
        assert_eq!(names.globs, [["i"]]);
    }

    #[test]
    fn paths_are_found_in_macros_and_are_no_fields() {
        let text = "fn f(x: &'a T) { select! { _ = b::c() => x.d.e(0..g::H), } }";
        let told: Vec<String> = names(text)
            .mentions
            .iter()
            .map(|mention| mention.path.join("::"))
            .collect();
        for path in ["b::c", "g::H", "T"] {
            assert!(told.iter().any(|told| told == path), "{path} of {told:?}");
        }
        for name in ["a", "d", "e"] {
            assert!(!told.iter().any(|told| told == name), "{name} of {told:?}");
        }
    }

    #[test]
    fn an_import_in_a_function_is_one() {
        let names = names("fn f() { use a::B; B::new(); }");
        assert_eq!(names.imports[0].path, ["a", "B"]);
        assert!(names.mentions.iter().any(|mention| mention.path == ["B", "new"]));
    }
}
