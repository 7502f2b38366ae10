//! What a source file names, read from its tokens: comments and texts do not count, grouped imports
//! and `super` do.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The paths and macros a file names, each with its line.
#[derive(Default)]
pub struct Names {
    /// Segments from `crate` on where the path is one of the crate's own; a glob ends in `*`.
    paths: Vec<(Vec<String>, usize)>,
    pub macros: Vec<(String, usize)>,
}

impl Names {
    /// Reads the file at `path` of the workspace.
    pub fn read(path: &str, text: &str) -> Result<Self, String> {
        let tokens: TokenStream = text.parse().map_err(|error| format!("{error}"))?;
        let mut names = Self::default();
        names.walk(tokens, &module_of(path), None);
        Ok(names)
    }

    /// Lines that name `path`, something inside it, or everything around it.
    pub fn lines_naming(&self, path: &str) -> Vec<usize> {
        let wanted: Vec<&str> = path.split("::").collect();
        let mut lines: Vec<usize> = self
            .paths
            .iter()
            .filter(|(segments, _)| match segments.split_last() {
                Some((last, around)) if last == "*" && around.len() < wanted.len() => {
                    wanted.starts_with(&strs(around))
                }
                _ => strs(segments).starts_with(&wanted),
            })
            .map(|(_, line)| *line)
            .collect();
        lines.dedup();
        lines
    }

    /// Collects from `tokens`, which stand in `module`; `prefix` is what a group of imports
    /// follows.
    fn walk(&mut self, tokens: TokenStream, module: &[String], prefix: Option<&[String]>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at..] {
                [
                    TokenTree::Ident(word),
                    TokenTree::Ident(name),
                    TokenTree::Group(body),
                    ..,
                ] if word == "mod" && body.delimiter() == Delimiter::Brace => {
                    let inner: Vec<String> =
                        module.iter().cloned().chain([name.to_string()]).collect();
                    self.walk(body.stream(), &inner, None);
                    at += 3;
                }
                [TokenTree::Ident(word), TokenTree::Ident(_), ..]
                    if word == "as" && prefix.is_some() =>
                {
                    at += 2
                }
                [TokenTree::Ident(name), TokenTree::Punct(mark), ..] if mark.as_char() == '!' => {
                    self.macros
                        .push((name.to_string(), name.span().start().line));
                    at += 2;
                }
                [TokenTree::Ident(_), ..] => at = self.path(&tokens, at, module, prefix),
                [TokenTree::Punct(mark), ..] if mark.as_char() == '*' && prefix.is_some() => {
                    let segments = prefix
                        .unwrap_or_default()
                        .iter()
                        .cloned()
                        .chain(["*".to_owned()]);
                    self.paths
                        .push((segments.collect(), mark.span().start().line));
                    at += 1;
                }
                [TokenTree::Group(group), ..] => {
                    self.walk(group.stream(), module, None);
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// Reads the path that begins at `at`; returns where the tokens after it begin.
    fn path(
        &mut self,
        tokens: &[TokenTree],
        mut at: usize,
        module: &[String],
        prefix: Option<&[String]>,
    ) -> usize {
        let line = tokens[at].span().start().line;
        let mut segments = vec![tokens[at].to_string()];
        at += 1;
        while let [TokenTree::Punct(first), TokenTree::Punct(second), next, ..] = &tokens[at..] {
            if first.as_char() != ':' || second.as_char() != ':' {
                break;
            }
            match next {
                TokenTree::Ident(segment) => segments.push(segment.to_string()),
                TokenTree::Punct(star) if star.as_char() == '*' => segments.push("*".to_owned()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    let segments = resolved(segments, module, prefix);
                    self.walk(group.stream(), module, Some(&segments));
                    return at + 3;
                }
                _ => break,
            }
            at += 3;
        }
        self.paths.push((resolved(segments, module, prefix), line));
        at
    }
}

/// `segments` with `self` and `super` replaced by what they stand for in `module`.
fn resolved(segments: Vec<String>, module: &[String], prefix: Option<&[String]>) -> Vec<String> {
    if let Some(prefix) = prefix {
        return prefix
            .iter()
            .cloned()
            .chain(segments)
            .filter(|segment| segment != "self")
            .collect();
    }
    let relative = segments
        .iter()
        .take_while(|segment| *segment == "self" || *segment == "super")
        .count();
    if relative == 0 {
        return segments;
    }
    let ups = segments[..relative]
        .iter()
        .filter(|segment| *segment == "super")
        .count();
    let around = &module[..module.len().saturating_sub(ups).max(1)];
    around
        .iter()
        .chain(&segments[relative..])
        .cloned()
        .collect()
}

/// The module a file is: `crates/x/src/a/b.rs` and `crates/x/src/a/b/mod.rs` are `crate::a::b`.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.split_once("/src/").map_or(path, |(_, inside)| inside);
    let mut module = vec!["crate".to_owned()];
    module.extend(inside.trim_end_matches(".rs").split('/').map(str::to_owned));
    if module
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        module.pop();
    }
    module
}

fn strs(segments: &[String]) -> Vec<&str> {
    segments.iter().map(String::as_str).collect()
}
