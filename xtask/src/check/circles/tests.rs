use std::path::Path;

use super::*;

/// What is found in a crate of these files, of which the first is the root.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let reader = |path: &Path| {
        let file = files.iter().find(|(name, _)| Path::new(name) == path);
        file.map(|(_, text)| (*text).to_owned())
    };
    circles(&Crate::read(Path::new(files[0].0), &reader).unwrap())
}

/// The first lines of what is found: the circles themselves.
fn rings(files: &[(&str, &str)]) -> Vec<String> {
    let first = |found: &String| found.lines().next().unwrap_or_default().trim().to_owned();
    found(files).iter().map(first).collect()
}

const ROOT: (&str, &str) = ("src/lib.rs", "mod a; mod b; mod c;");

#[test]
fn files_that_use_each_other_one_way_pass() {
    let files = [
        ROOT,
        ("src/a.rs", "use crate::b::B; pub struct A(B, crate::c::C);"),
        ("src/b.rs", "use super::c; pub struct B(c::C);"),
        (
            "src/c.rs",
            "use std::fmt::Display; pub struct C; impl C { fn a(self, b: u8) { self.b.a(b); } }",
        ),
    ];
    assert_eq!(found(&files), [""; 0]);
}

#[test]
fn a_circle_is_reported_with_the_lines_that_make_it() {
    let files = [
        ROOT,
        ("src/a.rs", "use crate::b::B;\npub struct A(B);"),
        (
            "src/b.rs",
            "pub struct B;\n\nfn f() { select! { _ = crate::c::wait() => {} } }",
        ),
        ("src/c.rs", "use super::{a::A, b};\npub async fn wait() {}"),
    ];
    let expected = "  a → b → c → a
    src/a.rs:1: `crate::b::B` is from src/b.rs
    src/b.rs:3: `crate::c::wait` is from src/c.rs
    src/c.rs:1: `super::a::A` is from src/a.rs";
    assert_eq!(found(&files), [expected]);
}

#[test]
fn a_name_that_the_parent_passes_on_is_its_definers() {
    let a = ("src/a.rs", "use super::B; pub struct A(B);");
    let root = ("src/lib.rs", "mod a; mod b; pub use a::A; pub use self::b::B;");
    assert!(rings(&[root, a, ("src/b.rs", "pub struct B;")]).is_empty());
    assert_eq!(
        rings(&[root, a, ("src/b.rs", "use crate::A; pub struct B;")]),
        ["a → b → a"]
    );
    // Through a chain of imports, and through one that names none.
    let root = ("src/lib.rs", "mod a; mod b; pub use a::*; pub use b::B;");
    assert_eq!(
        rings(&[root, a, ("src/b.rs", "use super::A as Other; pub struct B;")]),
        ["a → b → a"]
    );
}

#[test]
fn a_parent_passes_on_what_its_children_make_with_what_it_defines() {
    let child = ("src/a.rs", "use super::Shared; pub struct A(Shared);");
    let passes_on = "mod a; pub use a::A; pub struct Shared;";
    assert!(rings(&[("src/lib.rs", passes_on), child]).is_empty());
    // Once it uses the name itself, they use each other.
    let uses = "mod a; pub use a::A; pub struct Shared; pub fn f(_: A) {}";
    assert_eq!(rings(&[("src/lib.rs", uses), child]), ["crate → a → crate"]);
    let uses = "mod a; use a::A; pub struct Shared; pub struct All(A);";
    assert_eq!(rings(&[("src/lib.rs", uses), child]), ["crate → a → crate"]);
}

#[test]
fn inside_of_a_room_as_outside() {
    let files = [
        ("src/lib.rs", "mod a;"),
        ("src/a/mod.rs", "mod b; mod c;"),
        ("src/a/b.rs", "pub struct B(super::c::C);"),
        ("src/a/c.rs", "use crate::a::b; pub struct C(b::B);"),
    ];
    assert_eq!(rings(&files), ["a::b → a::c → a::b"]);
}

#[test]
fn two_rooms_are_a_circle_even_where_their_files_are_none() {
    let files = [
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "mod x; mod y;"),
        ("src/a/x.rs", "use crate::b::x::X;"),
        ("src/a/y.rs", "pub struct Y;"),
        ("src/b/mod.rs", "pub mod x; mod y;"),
        ("src/b/x.rs", "pub struct X;"),
        ("src/b/y.rs", "use crate::a::y::Y;"),
    ];
    assert_eq!(rings(&files), ["a → b → a"]);
}

#[test]
fn what_is_for_tests_and_what_is_in_the_same_file_does_not_count() {
    let files = [
        (
            "src/lib.rs",
            "mod a; mod b; mod inner { use super::B; pub struct I; } use b::B; struct R(inner::I);",
        ),
        ("src/a.rs", "pub struct A;"),
        (
            "src/b.rs",
            "pub struct B; #[cfg(test)] mod tests { use super::*; use crate::a::A; }",
        ),
    ];
    assert!(rings(&files).is_empty());
}

#[test]
fn a_module_without_a_file_is_an_error() {
    let read = Crate::read(Path::new("lib.rs"), &|path| {
        (path == Path::new("lib.rs")).then(|| "mod gone;".into())
    });
    assert!(read.is_err());
}
