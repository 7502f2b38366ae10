//! The golden case `preprocess`: ADM's centre crop, pixel for pixel.
//!
//! Reads the folder named by `DMP_GOLDEN`, else the workspace's copy.

use std::path::{Path, PathBuf};

use dmp::data::Picture;
use dmp_model::checkpoint::TensorFile;
use safetensors::SafeTensors;

#[test]
fn centre_crops_are_adms() {
    let root = std::env::var_os("DMP_GOLDEN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../dmp-model/tests/golden"),
        PathBuf::from,
    );
    let folder = root.join("preprocess");
    let bytes = std::fs::read(folder.join("case.safetensors")).unwrap();
    // Bytes are no numbers of a model, so this is read with the format's own crate.
    assert!(TensorFile::from_bytes(&bytes).is_err());
    let case = SafeTensors::deserialize(&bytes).unwrap();
    let (mut images, mut worst) = (0, 0);
    for (name, expected) in case.iter() {
        let Some(name) = name.strip_prefix("out.") else {
            continue;
        };
        let &[side, _, 3] = expected.shape() else {
            panic!("{name}: {:?}", expected.shape());
        };
        let picture = Picture::read(&folder.join(format!("{name}.png"))).unwrap();
        let cropped = picture.centre_crop(side).to_interleaved();
        assert_eq!(cropped.len(), expected.data().len(), "{name}");
        let off = cropped.iter().zip(expected.data());
        let off = off.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        assert!(off <= 1, "{name}: a pixel is off by {off}");
        worst = worst.max(off);
        images += 1;
    }
    println!("preprocess: {images} images, largest difference {worst}");
    assert!(images > 0, "{}: no images", folder.display());
}
