//! From a folder of images to samples in latent space, with the tiny autoencoder and DiT that diffusers wrote for the tests
//! of `dmp-model`.

use std::fs;
use std::path::Path;

use crate::harness::{Bench, dmp, ok, refused};

fn exported(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dmp-model/tests/diffusers");
    folder.join(name).display().to_string()
}

fn picture(bench: &Bench, name: &str, red: u8) {
    let path = bench.path("images").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_fn(40, 36, |x, y| image::Rgb([red, 6 * x as u8, 7 * y as u8]))
        .save(path)
        .unwrap();
}

/// Of the array in an .npz.
fn shape(npz: &[u8]) -> Vec<u64> {
    let mut archive = dmp::npz::NpzFile::new(std::io::Cursor::new(npz)).unwrap();
    archive.header("arr_0").unwrap().unwrap().shape
}

/// What was said on stderr by a command that succeeds.
fn said(line: &str) -> String {
    let output = dmp(line);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{line}: {stderr}");
    stderr
}

#[test]
fn images_become_latents_a_patch_and_samples() {
    let bench = Bench::empty();
    for (index, name) in [
        "cat/1.png",
        "cat/2.png",
        "dog/1.png",
        "dog/2.png",
        "dog/3.png",
    ]
    .into_iter()
    .enumerate()
    {
        picture(&bench, name, 40 * index as u8);
    }
    let (images, latents) = (bench.str("images"), bench.str("latents"));
    let (model, vae) = (exported("dit"), exported("vae"));
    let cache = format!("cache --data {images} --vae {vae} --image-size 32 --out {latents}");
    assert!(said(&cache).contains("5 images, 5 encoded now, 0 unreadable"));
    assert!(said(&cache).contains("5 images, 0 encoded now"));

    let train = format!("train --model {model} --data {latents} --batch 3 --steps 2");
    ok(&format!("{train} --out {}", bench.str("patch")));
    let sample = format!(
        "sample --model {model} --patch {} --count 3 --sampling-steps 2",
        bench.str("patch")
    );
    let npz = bench.str("x.npz");
    let drawn = |extra: &str| {
        ok(&format!("{sample} --npz {npz} {extra}"));
        fs::read(&npz).unwrap()
    };
    let whole = drawn(&format!("--vae {vae}"));
    assert_eq!(whole, drawn(&format!("--vae {vae} --batch 1")));
    // Three images of 32x32 in three channels; of another size, as many pixels as asked for.
    assert_eq!(shape(&whole), [3, 32, 32, 3]);
    let other = drawn(&format!("--vae {vae} --size 48x16"));
    assert_eq!(shape(&other), [3, 48, 16, 3]);
    let error = refused(&format!("{sample} --npz {npz}"));
    assert!(error.contains("--vae"), "{error}");
    let error = refused(&format!("{sample} --npz {npz} --vae {vae} --size 30"));
    assert!(error.contains("--size") && error.contains("30"), "{error}");

    // Others are not put in their place.
    let other = cache.replace("--image-size 32", "--image-size 64");
    let error = refused(&other);
    assert!(
        error.contains("adm-centre-crop 64") && error.contains("remove latents.json"),
        "{error}"
    );
    let error = refused(&format!(
        "pretrain --data {latents} --image-size 8 --out {}",
        bench.str("base")
    ));
    assert!(error.contains("'dmp cache --image-size'"), "{error}");

    // An image that has changed makes its shard stale, and only a new run of the cache mends it.
    picture(&bench, "dog/3.png", 250);
    let error = refused(&format!("{train} --out {}", bench.str("other")));
    assert!(error.contains("run 'dmp cache' again"), "{error}");
    assert!(said(&cache).contains("5 encoded now"));
    ok(&format!("{train} --out {}", bench.str("other")));
    let error = refused(&format!("{train} --out {}", bench.str("patch")));
    assert!(error.contains("what --data names"), "{error}");
}

#[test]
fn what_is_broken_is_counted_made_anew_or_refused() {
    let bench = Bench::empty();
    for name in ["1.png", "2.png", "3.png"] {
        picture(&bench, name, 90);
    }
    fs::write(bench.path("images/4.png"), "no image").unwrap();
    let (images, latents, vae) = (bench.str("images"), bench.str("latents"), exported("vae"));
    let cache = format!("cache --data {images} --vae {vae} --image-size 16 --out {latents}");
    let error = refused(&cache);
    assert!(
        error.contains("1 images cannot be read") && error.contains("--max-bad 1"),
        "{error}"
    );
    let cache = format!("{cache} --max-bad 1");
    assert!(said(&cache).contains("3 images, 0 encoded now, 1 unreadable"));

    let shard = fs::read_dir(&latents)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|ending| ending == "safetensors")
        })
        .unwrap();
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() / 2]).unwrap();
    let train = format!(
        "train --model {} --data {latents} --steps 1 --out {}",
        exported("dit"),
        bench.str("x")
    );
    let error = refused(&train);
    assert!(error.contains("not a whole safetensors file"), "{error}");
    assert!(said(&cache).contains("3 images, 3 encoded now"));
    assert_eq!(fs::read(&shard).unwrap(), whole);
    // Of another size than the model's.
    let error = refused(&train);
    assert!(
        error.contains("4x8x8") && error.contains("4x4x4"),
        "{error}"
    );
    fs::remove_file(&shard).unwrap();
    let error = refused(&train);
    assert!(error.contains("run 'dmp cache' again"), "{error}");
    for (flag, word) in [
        ("--image-size 18", "multiple of 4"),
        ("--image-size 16 --tile 20", "--tile"),
    ] {
        let line = format!("cache --data {images} --vae {vae} {flag} --out {latents}");
        let error = refused(&line);
        assert!(error.contains(word), "{error}");
    }
    let error = refused(&format!(
        "cache --data {images} --vae {images} --image-size 16 --out {latents}"
    ));
    assert!(error.contains("config.json"), "{error}");
}

/// Two processes share the work; the folder is whole when both have done theirs.
#[test]
fn shares_of_the_work_make_the_same_folder() {
    let bench = Bench::empty();
    picture(&bench, "1.png", 10);
    let line = |part: &str, out: &str| {
        format!(
            "cache --data {} --vae {} --image-size 16 --out {} --part {part}",
            bench.str("images"),
            exported("vae"),
            bench.str(out)
        )
    };
    assert!(said(&line("2/2", "shared")).contains("still to come"));
    assert!(!bench.path("shared/latents.json").exists());
    assert!(said(&line("1/2", "shared")).contains("1 images, 1 encoded now"));
    ok(&line("1/1", "alone"));
    let index = |out: &str| fs::read(bench.path(out).join("latents.json")).unwrap();
    assert_eq!(index("shared"), index("alone"));
}

#[test]
fn parts_at_once_make_a_whole() {
    let bench = Bench::empty();
    let (images, latents, vae) = (bench.str("images"), bench.str("latents"), exported("vae"));
    // Two shards.
    for index in 0..260 {
        picture(&bench, &format!("{index:03}.png"), index as u8);
    }
    let cache = format!("cache --data {images} --vae {vae} --image-size 16 --out {latents}");
    let parts = [1, 2].map(|part| {
        let line = format!("{cache} --part {part}/2");
        std::thread::spawn(move || said(&line))
    });
    let said: Vec<String> = parts.map(|part| part.join().unwrap()).into();
    assert!(bench.path("latents/latents.json").is_file(), "{said:?}");
    assert!(
        said.iter().any(|said| said.contains("260 images")),
        "{said:?}"
    );
}

#[test]
fn a_cache_of_nothing_is_refused() {
    let bench = Bench::empty();
    fs::create_dir(bench.path("images")).unwrap();
    fs::write(bench.path("images/1.png"), "no image").unwrap();
    let (images, latents, vae) = (bench.str("images"), bench.str("latents"), exported("vae"));
    let cache = format!("cache --data {images} --vae {vae} --image-size 16 --max-bad 5");
    let error = refused(&format!("{cache} --out {latents}"));
    assert!(
        error.contains("none of the 1 images can be read"),
        "{error}"
    );
    assert!(!bench.path("latents/latents.json").exists());
    let error = refused(&format!("{cache} --out {images}"));
    assert!(error.contains("holds the images themselves"), "{error}");
    // Nor are captions of someone's own replaced, however the images are named.
    fs::write(bench.path("images/captions.jsonl"), "").unwrap();
    let named = format!("cache --data {images}/*.png --vae {vae} --image-size 16");
    let error = refused(&format!("{named} --out {images}"));
    assert!(error.contains("captions.jsonl: is not of"), "{error}");
    assert!(bench.path("images/captions.jsonl").exists());
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_an_image_that_cannot_be_read() {
    let bench = Bench::empty();
    picture(&bench, "1.png", 9);
    std::os::unix::fs::symlink(bench.path("gone"), bench.path("images/2.png")).unwrap();
    let (images, latents, vae) = (bench.str("images"), bench.str("latents"), exported("vae"));
    let cache = format!("cache --data {images} --vae {vae} --image-size 16 --out {latents}");
    assert!(refused(&cache).contains("1 images cannot be read"));
    assert!(
        said(&format!("{cache} --max-bad 1")).contains("1 images, 0 encoded now, 1 unreadable")
    );
}

/// An image that is another each time it is read, as one that is being written.
#[cfg(unix)]
#[test]
fn an_image_that_changes_meanwhile_leaves_no_shard() {
    let bench = Bench::empty();
    for (name, red) in [("1.png", 10), ("2.png", 200)] {
        picture(&bench, name, red);
    }
    let contents = ["1.png", "2.png"].map(|name| bench.bytes(&format!("images/{name}")));
    let pipe = bench.path("images/1.png");
    fs::remove_file(&pipe).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    std::thread::spawn(move || {
        for turn in 0.. {
            // Waits for a reader, who then reads up to the end of what is written.
            if fs::write(&pipe, &contents[turn % 2]).is_err() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
    });
    let (images, latents, vae) = (bench.str("images"), bench.str("latents"), exported("vae"));
    let cache = format!("cache --data {images} --vae {vae} --image-size 16 --out {latents}");
    let error = refused(&cache);
    assert!(
        error.contains("were changed while they were encoded"),
        "{error}"
    );
    let left = fs::read_dir(&latents).unwrap().count();
    assert_eq!(left, 0, "a shard of images that nobody has");
}
