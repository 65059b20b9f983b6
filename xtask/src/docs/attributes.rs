//! What attributes say: doc comments, and serde's names.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The doc comment, as one paragraph.
pub fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => text_of(&pair.value),
        _ => None,
    });
    lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>().join(" ")
}

/// The value of `name` in `#[serde(name = "value")]`.
pub fn serde(attributes: &[Attribute], name: &str) -> Option<String> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        // What is no name with a value ends the parsing of one attribute only.
        let _ = attribute.parse_nested_meta(|meta| {
            if let Ok(value) = meta.value() {
                let value: Expr = value.parse()?;
                if meta.path.is_ident(name) {
                    found = text_of(&value);
                }
            }
            Ok(())
        });
    }
    found
}

/// Whether `#[serde(name)]` is there.
pub fn has_serde(attributes: &[Attribute], name: &str) -> bool {
    let mut found = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        let _ = attribute.parse_nested_meta(|meta| {
            found |= meta.path.is_ident(name);
            if let Ok(value) = meta.value() {
                value.parse::<Expr>()?;
            }
            Ok(())
        });
    }
    found
}

fn text_of(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text), ..
        }) => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_and_a_name_are_read() {
        let item: syn::ItemStruct =
            syn::parse_str("/// One.\n/// Two.\n#[serde(default, deny_unknown_fields, tag = \"type\")] struct A;")
                .unwrap();
        assert_eq!(doc(&item.attrs), "One. Two.");
        assert_eq!(serde(&item.attrs, "tag").as_deref(), Some("type"));
        assert_eq!(serde(&item.attrs, "rename"), None);
        assert!(has_serde(&item.attrs, "default") && !has_serde(&item.attrs, "rename"));
    }
}
