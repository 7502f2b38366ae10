use super::*;

#[derive(Serialize)]
struct Settings {
    steps: u64,
    rate: f64,
}

const SETTINGS: Settings = Settings {
    steps: 10,
    rate: 0.1,
};

#[test]
fn other_settings_are_refused_by_name_and_free_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let directory = RunDir::open(&run, &SETTINGS, &["steps"]).unwrap();
    assert!(!run.exists(), "opening writes nothing");
    directory.begin(&SETTINGS, 0).unwrap();
    RunDir::open(
        &run,
        &Settings {
            steps: 20,
            ..SETTINGS
        },
        &["steps"],
    )
    .unwrap();
    let error = RunDir::open(
        &run,
        &Settings {
            steps: 20,
            rate: 0.2,
        },
        &["steps"],
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("'rate = 0.1' there, 'rate = 0.2' here"),
        "{error}"
    );
}

#[test]
fn checkpoints_are_whole_and_old_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::open(folder.path(), &SETTINGS, &[]).unwrap();
    run.begin(&SETTINGS, 0).unwrap();
    for step in [10, 20, 30, 40] {
        let fill = |path: &Path| {
            fs::write(path.join("x"), "x").map_err(|source| RunDirError::Io {
                path: path.into(),
                source,
            })
        };
        run.save_checkpoint(step, Some(20), fill).unwrap();
    }
    let steps: Vec<u64> = run
        .checkpoints()
        .unwrap()
        .into_iter()
        .map(|(step, _)| step)
        .collect();
    assert_eq!(steps, [20, 30, 40]);
    // Another's file, or none.
    let file = run.path("checkpoints/step-00000040/x");
    for damage in [
        |path| fs::write(path, "y"),
        |path: &PathBuf| fs::remove_file(path),
    ] {
        damage(&file).unwrap();
        let error = run.latest_checkpoint().unwrap_err().to_string();
        assert!(
            error.contains("step-00000040") && error.contains("delete this"),
            "{error}"
        );
    }
    fs::write(&file, "x").unwrap();
    // One that was cut off is not a checkpoint.
    let failed = run.save_checkpoint(50, None, |path| {
        Err(RunDirError::Io {
            path: path.into(),
            source: std::io::Error::other("full"),
        })
    });
    assert!(failed.is_err());
    assert_eq!(run.latest_checkpoint().unwrap().unwrap().0, 40);
}

#[test]
fn a_directory_is_for_one_process_and_its_statistics_are_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::open(folder.path(), &SETTINGS, &[]).unwrap();
    let lock = run.lock().unwrap();
    assert!(matches!(run.lock(), Err(RunDirError::Taken { .. })));
    drop(lock);
    run.lock().unwrap();

    let line = r#"{"step":1,"images":2,"loss":1.0,"mse":1.0,"vb":0.0,"grad_norm":1.0,"images_per_second":1.0}"#;
    let path = run.path("stats.jsonl");
    fs::write(&path, format!("{line}\n{{\"step\":")).unwrap();
    assert_eq!(run.stats().unwrap().len(), 1, "a line that was cut off");
    let damaged = format!("damaged\n{line}\n");
    fs::write(&path, &damaged).unwrap();
    let error = run.begin(&SETTINGS, 0).unwrap_err().to_string();
    assert!(error.contains("line 1"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
}
