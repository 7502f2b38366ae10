//! Writing results so that a reader never meets half a file.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

#[cfg(test)]
mod tests;

/// Why a result could not be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The path names a folder.
    #[error("cannot write {path:?}: it is a folder; name a file inside it")]
    IsFolder {
        /// The path asked for.
        path: PathBuf,
    },
    /// The folder that should hold the file is absent.
    #[error(
        "cannot write {path:?}: the folder {folder:?} does not exist; create it or choose another path"
    )]
    NoFolder {
        /// The path asked for.
        path: PathBuf,
        /// Its absent folder.
        folder: PathBuf,
    },
    /// Standard output takes no more.
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    /// The system refused; a file that stood at the path before still does, whole.
    #[error(
        "cannot write {path:?}: {source}; check the permissions and the free space of {folder:?}"
    )]
    Io {
        /// The path asked for.
        path: PathBuf,
        /// The folder that holds it.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Prints a line to standard output, the place of results. A reader who has gone away (`dmp … | head`) has had
/// enough; that is no error.
///
/// # Errors
/// [`OutputError::Stdout`] when the system refuses otherwise, as a full disk does.
pub fn say(line: impl Display) -> Result<(), OutputError> {
    match writeln!(io::stdout().lock(), "{line}").and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(OutputError::Stdout(error)),
        _ => Ok(()),
    }
}

/// Prints a line to standard error, as `eprintln!` does; where nobody takes it (`dmp … 2>&1 | head`, a full disk) the work goes on.
#[macro_export]
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        // Nobody is left to be told of it.
        let _ = writeln!(std::io::stderr().lock(), $($words)*);
    }};
}

/// Replaces the file at `path` by `bytes`, all or nothing.
///
/// The bytes go to a temporary file in the same folder, reach the disk, and only then take the
/// name, so that a crash, a full disk or an interrupt leaves either the old file or the new one. A
/// link is followed: the file it points to is replaced. What cannot be replaced, such as a pipe or
/// a device (`/dev/stdout`), is written straight.
///
/// # Errors
/// [`OutputError`], naming the path and the mend, when the folder is absent, the path is a folder,
/// or the system refuses.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let path_buf = || path.to_path_buf();
    let target = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(OutputError::IsFolder { path: path_buf() });
        }
        Ok(metadata) if !metadata.is_file() => {
            return fs::write(path, bytes).map_err(|source| refused(path, path, source));
        }
        Ok(_) => fs::canonicalize(path).map_err(|source| refused(path, path, source))?,
        Err(_) => led_to(path),
    };
    let folder = folder_of(&target);
    if !folder.is_dir() {
        return Err(OutputError::NoFolder {
            path: path_buf(),
            folder: folder.to_path_buf(),
        });
    }
    replace(&target, folder, bytes).map_err(|source| refused(path, &target, source))
}

/// Where a link to nothing leads: what is written there is there afterwards. Other paths are themselves.
fn led_to(path: &Path) -> PathBuf {
    match fs::read_link(path) {
        Ok(to) => folder_of(path).join(to),
        Err(_) => path.to_path_buf(),
    }
}

/// Refuses a path that [`write_atomic`] would refuse: asked before long work.
///
/// # Errors
/// As [`write_atomic`], but for a disk that is full by then.
pub fn check_target(path: &Path) -> Result<(), OutputError> {
    if path.is_dir() {
        return Err(OutputError::IsFolder {
            path: path.to_path_buf(),
        });
    }
    if path.exists() && !path.is_file() {
        return Ok(());
    }
    let target = led_to(path);
    let folder = folder_of(&target);
    if !folder.is_dir() {
        return Err(OutputError::NoFolder {
            path: path.to_path_buf(),
            folder: folder.to_path_buf(),
        });
    }
    // Whether files can be made there is found by making one, which is gone at once.
    let made = tempfile::tempfile_in(folder).map(drop);
    made.map_err(|source| refused(path, &target, source))
}

/// Refuses a flag's path where writing there would replace a file that is read.
///
/// # Errors
/// The flag and the path.
pub fn refuse_replacing(flag: &str, out: &Path, input: &Path) -> anyhow::Result<()> {
    let same = match (fs::canonicalize(out), fs::canonicalize(input)) {
        (Ok(out), Ok(input)) => out == input,
        _ => false,
    };
    anyhow::ensure!(
        !same,
        "{flag} {}: that is a file that is read, which would be lost; give another name",
        out.display()
    );
    Ok(())
}

/// Whether two paths name one place, whatever is there or not.
pub fn is_same_place(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let path = fs::canonicalize(path).unwrap_or_else(|_| led_to(path));
        let folder = fs::canonicalize(folder_of(&path)).ok()?;
        Some(folder.join(path.file_name()?))
    };
    one == other || matches!((place(one), place(other)), (Some(one), Some(other)) if one == other)
}

/// [`check_target`] for what a flag names, which must end as what is written there: another ending may be of a file that
/// was meant to be read.
///
/// # Errors
/// The flag, the path and the ending it should have.
pub fn check_target_of(flag: &str, path: &Path, ending: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        path.extension().is_some_and(|given| given == ending),
        "{flag} {}: what is written is a .{ending}; give a name that ends so",
        path.display()
    );
    Ok(check_target(path)?)
}

/// Whether a file or folder, there or not, is the folder or within it.
pub fn is_within(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = fs::canonicalize(folder) else {
        return false;
    };
    let there = path.ancestors().map(|part| match part.as_os_str() {
        nothing if nothing.is_empty() => Path::new("."),
        _ => part,
    });
    let there = there.filter_map(|part| fs::canonicalize(part).ok()).next();
    there.is_some_and(|part| part.starts_with(folder))
}

/// Removes what a process that was killed left half-written in a folder that no other process writes to.
///
/// # Errors
/// When the system refuses.
pub fn remove_cut_off(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(BEFORE) && name.ends_with(AFTER) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// How a file is called that is being written.
const BEFORE: &str = ".dmp-";
const AFTER: &str = ".tmp";

/// The folder that holds `path`; the current one for a bare file name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn refused(path: &Path, target: &Path, source: io::Error) -> OutputError {
    OutputError::Io {
        path: path.to_path_buf(),
        folder: folder_of(target).to_path_buf(),
        source,
    }
}

/// The temporary file removes itself when any step before the rename fails.
fn replace(target: &Path, folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(BEFORE).suffix(AFTER);
    #[cfg(unix)]
    let permissions = {
        use std::os::unix::fs::PermissionsExt;
        // A result is as readable as any file the user creates: the umask has its say, the default
        // 0600 does not.
        fs::Permissions::from_mode(0o666)
    };
    #[cfg(unix)]
    builder.permissions(permissions);

    let mut temporary = builder.tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(target).map_err(|refusal| refusal.error)?;
    sync_folder(folder)
}

/// Makes renames in a folder last; only Unix lets a folder be opened for that.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}
