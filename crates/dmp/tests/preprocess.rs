//! The golden case `preprocess`: ADM's centre crop, pixel for pixel.
//!
//! Reads the folder named by `DMP_GOLDEN`, else the workspace's copy.

use std::path::{Path, PathBuf};

use dmp::data::Picture;
use safetensors::SafeTensors;

#[test]
fn centre_crops_are_adms() {
    let root = std::env::var_os("DMP_GOLDEN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../dmp-model/tests/golden"),
        PathBuf::from,
    );
    let mut images = 0;
    for folder in std::fs::read_dir(&root).unwrap() {
        let folder = folder.unwrap().path();
        let Ok(bytes) = std::fs::read(folder.join("case.safetensors")) else {
            continue;
        };
        for (name, expected) in SafeTensors::deserialize(&bytes).unwrap().iter() {
            // `out.<image>` beside a picture of that name.
            let Some(name) = name.strip_prefix("out.") else {
                continue;
            };
            let (file, &[side, _, 3]) = (folder.join(format!("{name}.png")), expected.shape())
            else {
                continue;
            };
            if !file.is_file() {
                continue;
            }
            let cropped = Picture::read(&file)
                .unwrap()
                .centre_crop(side)
                .to_interleaved();
            assert_eq!(cropped.len(), expected.data().len(), "{name}");
            assert!(cropped == expected.data(), "{name}: another pixel");
            images += 1;
        }
    }
    println!("preprocess: {images} images, pixel for pixel");
    assert!(images > 0, "{}: no images", root.display());
}
