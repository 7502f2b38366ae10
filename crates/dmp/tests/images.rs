//! Images as other programs save them: the files of `images/`, which `scripts/export/image_data.py` wrote, against the pixels
//! that those programs read.

use std::path::{Path, PathBuf};

use dmp::data::{Dataset, ImageShape, Picture, Source, Wanted};
use safetensors::SafeTensors;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images")
}

fn named(pattern: &str) -> String {
    folder().join(pattern).display().to_string()
}

/// Pixels `[.., height, width, 3]` under a name.
fn expected(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.tensor(name).unwrap().data().to_vec()
}

/// The largest difference of a value, where the sizes agree.
fn off_by(found: &[u8], expected: &[u8]) -> u8 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn files_of_every_kind_have_pillows_pixels() {
    for (name, size, bound) in [
        // Decoders of JPEG may round otherwise.
        ("plain.jpg", [18, 24], 2),
        ("cmyk.jpg", [18, 24], 4),
        ("turned.jpg", [24, 18], 2),
        ("palette.png", [18, 24], 0),
        ("transparent.png", [18, 24], 0),
        ("lossless.webp", [18, 24], 0),
        ("deep.png", [18, 24], 0),
    ] {
        let picture = Picture::read(&folder().join("single").join(name)).unwrap();
        assert_eq!(picture.size, size, "{name}");
        let found = picture.with_channels(3).to_interleaved();
        let off = off_by(&found, &expected(name));
        assert!(off <= bound, "{name}: off by {off}");
    }
}

#[test]
fn data_sets_of_other_programs_are_read_in_their_order() {
    let pictures = expected("pictures");
    for (pattern, classes) in [("train-*.parquet", 4), ("shard-*.tar", 3)] {
        let name = named(pattern);
        let source = Source::open(&name).unwrap();
        assert_eq!(source.classes(), classes, "{pattern}");
        for (index, (item, pixels)) in source.items().iter().zip(pictures.chunks(192)).enumerate() {
            let picture = source.content(index).unwrap().picture().unwrap();
            assert_eq!(picture.to_interleaved(), pixels, "{}", item.name);
            let caption = format!("picture {index}");
            assert_eq!(
                item.caption.as_deref(),
                Some(caption.as_str()),
                "{}",
                item.name
            );
        }
        let wanted = Wanted {
            shape: Some(ImageShape {
                channels: 3,
                height: 8,
                width: 8,
            }),
            max_bad: 0,
        };
        let data: Dataset = dmp::data::open(&name, wanted, None).unwrap();
        assert_eq!(data.labels(), [0, 1, 0, 1, 1, 2, 2], "{pattern}");
        assert_eq!(data.pixels(6).unwrap()[0], pictures[6 * 192], "{pattern}");
        let classes = "0,2".parse().unwrap();
        let some = dmp::data::open(&name, wanted, Some(&classes)).unwrap();
        assert_eq!(some, data.of_classes(&classes).unwrap(), "{pattern}");
        assert_eq!(some.labels(), [0, 0, 2, 2], "{pattern}");
    }
}

#[test]
fn damaged_tables_are_refused_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = std::fs::read(folder().join("train-00000-of-00001.parquet")).unwrap();
    let path = scratch.path().join("cut.parquet");
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    let error = Source::open(&path.display().to_string()).err().unwrap();
    let error = format!("{error:#}");
    assert!(
        error.contains("cut.parquet") && error.contains("no whole parquet file"),
        "{error}"
    );
}

/// Whatever byte of a table's description is wrong, it is read or refused; what it says is not made room for unasked.
#[test]
fn a_table_that_says_anything_is_read_or_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = std::fs::read(folder().join("train-00000-of-00001.parquet")).unwrap();
    let end = whole.len() - 8;
    let length = u32::from_le_bytes(whole[end..end + 4].try_into().unwrap()) as usize;
    let path = scratch.path().join("odd.parquet");
    let name = path.display().to_string();
    let mut refused = 0;
    for at in end - length..end {
        for byte in [0x01, 0x7e, 0xff] {
            let mut odd = whole.clone();
            odd[at] = byte;
            std::fs::write(&path, odd).unwrap();
            let pictures = Source::open(&name).and_then(|source| {
                let pictures = (0..source.items().len()).map(|index| source.content(index));
                pictures.collect::<anyhow::Result<Vec<_>>>()
            });
            refused += usize::from(pictures.is_err());
        }
    }
    assert!(refused > length / 2, "{refused} of {}", 3 * length);
}
