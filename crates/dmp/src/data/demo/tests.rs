use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use dmp_math::frechet::frechet_distance;
use dmp_math::moments::Moments;

use super::*;

/// What all of `assets/` may weigh, bytes.
const BUDGET: usize = 15_000_000;

// The hash is of the published pixels, put together by another program than `cargo xtask`.
#[test]
fn the_embedded_images_are_the_published_ones() {
    let data = images().unwrap();
    assert_eq!((data.len(), data.num_classes()), (20_000, 10));
    let mut sha256 = Sha256::new();
    (0..data.len()).for_each(|index| sha256.update(data.pixels(index).unwrap()));
    assert_eq!(
        hex(&sha256.finalize()),
        "d46f1c3f46046045ec1c765199e768eb979293d96e4a55081d0c0c9b84708467"
    );
    assert_eq!(
        [
            data.labels()[1_999],
            data.labels()[2_000],
            data.labels()[19_999]
        ],
        [0, 1, 9]
    );
}

#[test]
fn a_montage_is_cut_image_by_image() {
    let shape = ImageShape {
        channels: 1,
        height: 2,
        width: 2,
    };
    let montage = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15];
    assert_eq!(cut(&montage, shape, 2), (0..16).collect::<Vec<u8>>());
}

/// What the network makes of every 20th embedded image: the Gaussian of its features, and its accuracy.
/// `turned` swaps rows and columns, which makes of every class something no class looks like.
fn look(network: &FashionCnn, data: &Dataset, turned: bool) -> (Gaussian, f64) {
    let indices: Vec<usize> = (0..data.len()).step_by(20).collect();
    let mut pixels = vec![0.0; indices.len() * SHAPE.len()];
    data.fill_batch(
        &indices,
        &vec![false; indices.len()],
        |_| unreachable!(),
        &mut pixels,
    );
    let shape = [indices.len(), 1, SHAPE.height, SHAPE.width];
    let mut images = Tensor::<4>::from_data(TensorData::new(pixels, shape), &Device::flex());
    if turned {
        images = images.swap_dims(2, 3);
    }
    let output = network.forward(images);
    let said = output.logits.argmax(1).try_into_vec_as::<i64>().unwrap();
    let right = (indices.iter().zip(said))
        .filter(|&(&index, said)| i64::from(data.labels()[index]) == said)
        .count();
    let mut moments = Moments::new(FashionCnn::FEATURES);
    moments.push_rows(&output.features.try_into_vec_as::<f32>().unwrap());
    (
        moments.finish().unwrap(),
        right as f64 / indices.len() as f64,
    )
}

#[test]
fn the_embedded_network_knows_the_images_and_its_statistics_fit() {
    let network = features(&Device::flex()).unwrap();
    let data = images().unwrap();
    let (upright, accuracy) = look(&network, &data, false);
    assert!(accuracy > 0.9, "{accuracy}");
    let (turned, _) = look(&network, &data, true);
    for split in Split::ALL {
        let reference = statistics(split, None).unwrap();
        let near = frechet_distance(&upright, &reference).unwrap();
        let far = frechet_distance(&turned, &reference).unwrap();
        assert!(near < 0.05 * far, "{split}: {near} {far}");
    }
}

#[test]
fn the_statistics_are_of_as_many_images_as_promised() {
    let counts = Split::ALL.map(|split| statistics(split, None).unwrap().count);
    assert_eq!(counts, [10_000, 10_000, 20_000]);
}

#[test]
fn all_classes_together_have_the_statistics_of_all_images() {
    for split in Split::ALL {
        let all = statistics(split, None).unwrap();
        let of = |classes: &str| statistics(split, Some(&classes.parse().unwrap())).unwrap();
        let joined = of("0-9");
        assert_eq!(joined.count, all.count);
        let distance = frechet_distance(&joined, &all).unwrap();
        assert!(distance.abs() < 1e-4, "{split}: {distance}");
        assert_eq!(of("0,7").count, all.count / 5);
        // Shirts are no shoes.
        assert!(frechet_distance(&of("6"), &of("9")).unwrap() > 100.0);
    }
}

#[test]
fn the_notice_tells_size_and_hash_of_every_asset_and_they_fit_the_budget() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let notice = std::fs::read_to_string(folder.join("NOTICE")).unwrap();
    let mut total = notice.len();
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "NOTICE" {
            continue;
        }
        let bytes = std::fs::read(folder.join(&name)).unwrap();
        let (size, sha256) = (bytes.len(), hex(&Sha256::digest(&bytes)));
        let lines = format!("\n## {name}\n\n- bytes: {size}\n- sha256: {sha256}\n");
        assert!(notice.contains(&lines), "assets/NOTICE should say:{lines}");
        total += size;
        files.insert(name);
    }
    let told: BTreeSet<String> = (notice.lines())
        .filter_map(|line| line.strip_prefix("## ").map(str::to_owned))
        .collect();
    assert_eq!(told, files);
    assert!(total <= BUDGET, "assets/ weighs {total} bytes");
}
