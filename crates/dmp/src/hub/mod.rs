//! Models and patches by their names on the Hugging Face hub: `owner/name`, or `owner/name@revision`.
//!
//! What is in the local cache, where every program of the hub keeps it, is used as it is; what is not is downloaded into it,
//! unless `HF_HUB_OFFLINE` forbids.

mod wanted;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use crate::device::{DeviceFault, guarded};
use wanted::{is_partial, missing, wanted};

/// The local copy of what `name` stands for, if it is no file or folder here and has the form of a name on the hub; `kind` is
/// what people call such a thing.
///
/// # Errors
/// When it has that form and cannot be had.
pub fn resolve(kind: &str, name: &Path) -> Result<Option<PathBuf>> {
    let Some(repository) = Repository::parse(name) else {
        return Ok(None);
    };
    let hub = Hub::from_env(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    hub.get(&repository)
        .map(Some)
        .with_context(|| format!("{kind} {}", name.display()))
}

/// A repository at some revision.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Repository {
    id: String,
    revision: String,
}

impl Repository {
    /// Of `owner/name` and `owner/name@revision`; what is here, or would be in a folder that is here, is no such name.
    fn parse(name: &Path) -> Option<Self> {
        let text = name.to_str()?;
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, inner) = id.split_once('/')?;
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        // A slash more is a path, and so is what ends like a file of ours.
        let file = [".safetensors", ".pt", ".bin"]
            .iter()
            .any(|ending| inner.ends_with(ending));
        // A branch, a tag or a commit: it becomes part of a path in the cache.
        let named = plain(owner) && plain(inner) && !file && revision.split('/').all(plain);
        let here = name.exists() || Path::new(owner).exists();
        (named && !here).then(|| Self {
            id: id.to_owned(),
            revision: revision.to_owned(),
        })
    }
}

/// Where copies are kept, and where they come from.
#[derive(Debug)]
struct Hub {
    cache: PathBuf,
    offline: bool,
    token: Option<String>,
    endpoint: Option<String>,
}

impl Hub {
    /// As the variables say that all programs of the hub know.
    fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        let home = get("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = get("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(Path::new(&get("HOME")?).join(".cache")));
            Some(cache?.join("huggingface"))
        });
        let home = home.unwrap_or_default();
        let cache = get("HF_HUB_CACHE").or_else(|| get("HUGGINGFACE_HUB_CACHE"));
        let said = get("HF_HUB_OFFLINE").unwrap_or_default().to_lowercase();
        let token = get("HF_TOKEN").or_else(|| {
            let path = get("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
            fs::read_to_string(path).ok()
        });
        Self {
            cache: cache.map_or_else(|| home.join("hub"), PathBuf::from),
            offline: ["1", "true", "yes", "on"].contains(&said.as_str()),
            token: token
                .map(|token| token.trim().to_owned())
                .filter(|token| !token.is_empty()),
            endpoint: get("HF_ENDPOINT"),
        }
    }

    /// The folder of a repository's files: the whole copy in the cache, else one that is made whole.
    fn get(&self, repository: &Repository) -> Result<PathBuf> {
        if let Some(folder) = self.cached(repository) {
            let files = files_in(&folder);
            if !is_partial(&files) && missing(Some(&folder), &files).is_none() {
                return Ok(folder);
            }
        }
        if self.offline {
            bail!(
                "is no file or folder here, and no whole copy of it is in the hub's cache {}; unset HF_HUB_OFFLINE to download it",
                self.cache.display()
            );
        }
        self.download(repository)
    }

    /// The snapshot of a revision: one that a branch or a tag points to, or one named by its commit.
    fn cached(&self, repository: &Repository) -> Option<PathBuf> {
        let folder = (self.cache).join(format!("models--{}", repository.id.replace('/', "--")));
        let pointed = fs::read_to_string(folder.join("refs").join(&repository.revision));
        let commit = pointed.map_or_else(
            |_| repository.revision.clone(),
            |text| text.trim().to_owned(),
        );
        let snapshot = folder.join("snapshots").join(commit);
        snapshot.is_dir().then_some(snapshot)
    }

    fn download(&self, repository: &Repository) -> Result<PathBuf> {
        let mut api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_token(self.token.clone())
            .with_progress(true);
        if let Some(endpoint) = &self.endpoint {
            api = api.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let place = self.endpoint.as_deref().unwrap_or("huggingface.co");
        let cannot = |error: ApiError| match status(&error) {
            Some(401 | 403) => anyhow::anyhow!(
                "is no file or folder here, and {place} does not give it: its name is wrong, or it is only for those who have accepted its terms there and set HF_TOKEN"
            ),
            Some(404) => anyhow::anyhow!(
                "is no file or folder here, and {place} has no such model; give a file, a folder, or owner/name of a model there"
            ),
            _ => anyhow::anyhow!(
                "is no file or folder here, and cannot be had from {place}: {error}; give a file or a folder"
            ),
        };
        let repo = api.build().map_err(cannot)?.repo(Repo::with_revision(
            repository.id.clone(),
            RepoType::Model,
            repository.revision.clone(),
        ));
        // What the hub's client does not expect of an answer makes it panic.
        let odd = |fault: DeviceFault| {
            anyhow::anyhow!(
                "{place} answers what is not understood ({}); give a file or a folder",
                fault.0
            )
        };
        let info = guarded(|| repo.info()).map_err(odd)?.map_err(cannot)?;
        let files: Vec<String> = (info.siblings.into_iter())
            .map(|sibling| sibling.rfilename)
            .collect();
        let incomplete = |what: &str| {
            anyhow::anyhow!("{place} has it without {what}; give another model, or a folder")
        };
        // Before anything large is downloaded: no folder says yet what its parts are.
        let needed = wanted(&files);
        if let Some(what) = missing(None, &needed) {
            return Err(incomplete(&what));
        }
        // They become paths in the cache.
        if let Some(name) = (needed.iter().chain([&info.sha])).find(|name| !is_inside(name)) {
            bail!(
                "{place} names a file {name:?} in it, which would lie elsewhere; give a file or a folder"
            );
        }
        for file in &needed {
            guarded(|| repo.get(file)).map_err(odd)?.map_err(cannot)?;
        }
        let folder = self
            .cached(repository)
            .with_context(|| format!("is not in {} after the download", self.cache.display()))?;
        match missing(Some(&folder), &files_in(&folder)) {
            Some(what) => Err(incomplete(&what)),
            None => Ok(folder),
        }
    }
}

/// Whether a name that somebody else has given is of a file within the folder that it is put in.
fn is_inside(name: &str) -> bool {
    let foreign: &[char] = if cfg!(windows) { &['\\', ':'] } else { &['\\'] };
    let plain = |part: &str| {
        let odd = part.contains(foreign) || part.contains(char::is_control);
        !odd && !["", ".", ".."].contains(&part)
    };
    name.split('/').all(plain)
}

/// What a server answered.
fn status(error: &ApiError) -> Option<u16> {
    let ApiError::RequestError(error) = error else {
        return None;
    };
    match error.as_ref() {
        ureq::Error::StatusCode(code) => Some(*code),
        _ => None,
    }
}

/// The files of a snapshot, by their names within it.
fn files_in(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, before: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let (path, name) = (entry.path(), format!("{before}{name}"));
            // Files are links into the cache; a folder that is one could lead back.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&path, &format!("{name}/"), found);
            } else if path.is_file() {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, "", &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_hub_are_not_paths() {
        let parse = |name: &str| Repository::parse(Path::new(name));
        let found = parse("facebook/DiT-XL-2-256").unwrap();
        assert_eq!(
            (found.id.as_str(), found.revision.as_str()),
            ("facebook/DiT-XL-2-256", "main")
        );
        for revision in ["v1.0", "refs/pr/1", "0123abc"] {
            assert_eq!(
                parse(&format!("a/b@{revision}")).unwrap().revision,
                revision
            );
        }
        for name in [
            "demo",
            "./a/b",
            "/a/b",
            "../b",
            "a/b/c",
            "a/",
            "/b",
            "a b/c",
            "a/b.pt",
            "a/b@",
            "a/b@/etc",
            "a/b@..",
            "a/b@x/../../y",
            "a/b@x//y",
            "a/b@x y",
            // A folder of this crate.
            "src/none",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn names_from_elsewhere_stay_inside() {
        for name in ["config.json", "vae/config.json", "a b/…", "0123abc"] {
            assert!(is_inside(name), "{name}");
        }
        for name in [
            "",
            "/etc/x",
            "../x",
            "a/../../x",
            "a//b",
            "a/.",
            "a\\..\\x",
            "a\nb",
        ] {
            assert!(!is_inside(name), "{name}");
        }
    }

    #[test]
    fn variables_say_where_the_cache_is() {
        let hub = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> = (pairs.iter())
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            Hub::from_env(move |name| {
                let found = pairs.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone())
            })
        };
        let cache = |pairs| hub(pairs).cache.display().to_string();
        assert_eq!(cache(&[("HOME", "/h")]), "/h/.cache/huggingface/hub");
        assert_eq!(
            cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]),
            "/x/huggingface/hub"
        );
        assert_eq!(
            cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")]),
            "/f/hub"
        );
        assert_eq!(cache(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]), "/c");
        assert!(
            hub(&[("HF_HUB_OFFLINE", "1")]).offline && !hub(&[("HF_HUB_OFFLINE", "0")]).offline
        );
        assert_eq!(hub(&[("HF_TOKEN", " t\n")]).token.as_deref(), Some("t"));
    }
}
