use super::*;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn writes_replaces_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.json");
    write_atomic(&path, b"first, and longer").unwrap();
    write_atomic(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(names(folder.path()), ["metrics.json"]);
}

#[test]
fn an_absent_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = write_atomic(&folder.path().join("absent/x.png"), b"x").unwrap_err();
    assert!(matches!(error, OutputError::NoFolder { .. }));
    let sentence = error.to_string();
    assert!(
        sentence.contains("x.png") && sentence.contains("create it"),
        "{sentence}"
    );
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_folder_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let error = write_atomic(folder.path(), b"x").unwrap_err();
    assert!(matches!(error, OutputError::IsFolder { .. }));
    assert!(folder.path().is_dir());
}

#[test]
fn a_failed_write_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let occupied = folder.path().join("occupied");
    fs::create_dir(&occupied).unwrap();
    // The rename onto a folder fails after the bytes were written: the latest failure there is.
    replace(&occupied, folder.path(), b"x").unwrap_err();
    assert_eq!(names(folder.path()), ["occupied"]);
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_and_a_device_survives() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::write(&real, b"old").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    write_atomic(&link, b"new").unwrap();
    assert_eq!(fs::read(&real).unwrap(), b"new");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    fs::remove_file(&real).unwrap();
    check_target(&link).unwrap();
    write_atomic(&link, b"anew").unwrap();
    assert_eq!(fs::read(&real).unwrap(), b"anew");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

    write_atomic(Path::new("/dev/null"), b"gone").unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[cfg(unix)]
#[test]
fn a_result_is_as_readable_as_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
    write_atomic(&ours, b"x").unwrap();
    fs::write(&plain, b"x").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}
