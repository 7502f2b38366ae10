use dmp_math::seed::{Purpose, stream};

use super::*;

const SHAPE: ImageShape = ImageShape {
    channels: 2,
    height: 2,
    width: 3,
};

fn one(place: usize) -> Stream {
    stream(1, Purpose::Latent, place as u64)
}

#[test]
fn a_latent_is_drawn_from_its_own_gaussian() {
    let row = |image: usize, flip: usize| (10 * image + 100 * flip) as f32;
    let rows = [row(0, 0), row(0, 1), row(1, 0), row(1, 1)];
    let latents = Latents {
        mean: rows.iter().flat_map(|&value| [value; 12]).collect(),
        std: rows.iter().flat_map(|&value| [value / 100.0; 12]).collect(),
    };
    let data = Dataset::of_latents(latents.clone(), vec![0, 1], SHAPE, 2).unwrap();
    assert_eq!(data.pixels(0), None);
    let mut out = vec![0.0; 24];
    data.fill_batch(&[1, 0], &[true, false], one, &mut out);
    let mut noise = [0.0; 12];
    one(0).fill_normal(&mut noise);
    for (value, noise) in out.iter().zip(noise) {
        assert!((value - (110.0 + 1.1 * noise)).abs() < 1e-5, "{value}");
    }
    assert_eq!(out[12..], [0.0; 12]);
    let other = Latents {
        std: vec![0.0; 48],
        ..latents.clone()
    };
    let other = Dataset::of_latents(other, vec![0, 1], SHAPE, 2).unwrap();
    assert_ne!(other.fingerprint(), data.fingerprint());
    assert!(Dataset::of_latents(latents, vec![0], SHAPE, 2).is_err());
}

/// Three images whose pixels are 0, 1, 2, … 35.
fn counting() -> Dataset {
    Dataset::new((0..36).collect(), vec![0, 1, 1], SHAPE, 2).unwrap()
}

#[test]
fn a_batch_holds_the_images_asked_for_mirrored_row_by_row() {
    let mut out = vec![0.0; 24];
    counting().fill_batch(&[2, 0], &[false, true], one, &mut out);
    let pixels: Vec<f32> = out.iter().map(|x| ((x + 1.0) * 127.5).round()).collect();
    let first: Vec<f32> = (24..36).map(|x| x as f32).collect();
    assert_eq!(pixels[..12], first);
    assert_eq!(
        pixels[12..],
        [2.0, 1.0, 0.0, 5.0, 4.0, 3.0, 8.0, 7.0, 6.0, 11.0, 10.0, 9.0]
    );
}

#[test]
fn black_and_white_scale_to_the_ends() {
    assert_eq!((to_unit(0), to_unit(255)), (-1.0, 1.0));
}

#[test]
fn pixels_and_labels_must_agree() {
    let short = Dataset::new(vec![0; 35], vec![0, 1, 1], SHAPE, 2);
    assert!(matches!(
        short,
        Err(DataError::Length {
            values: 35,
            count: 3,
            ..
        })
    ));
    let label = Dataset::new(vec![0; 36], vec![0, 1, 2], SHAPE, 2);
    assert!(matches!(
        label,
        Err(DataError::Label {
            index: 2,
            label: 2,
            ..
        })
    ));
}

#[test]
fn some_classes_keep_their_images_labels_and_order() {
    let of = |data: Dataset, classes: &str| data.of_classes(&classes.parse().unwrap());
    let second = of(counting(), "1").unwrap();
    assert_eq!((second.labels(), second.num_classes()), (&[1, 1][..], 2));
    assert_eq!(second.pixels(0), counting().pixels(1));
    assert_eq!(second.pixels(1), counting().pixels(2));
    assert_eq!(of(counting(), "0-1").unwrap(), counting());
    assert!(of(counting().oriented(), "0").unwrap().is_oriented());

    let latents = Latents {
        mean: (0..48).map(|value| value as f32).collect(),
        std: (0..48).map(|value| value as f32 / 2.0).collect(),
    };
    let data = Dataset::of_latents(latents, vec![1, 0], SHAPE, 2).unwrap();
    let Values::Latents(kept) = of(data, "0").unwrap().values else {
        panic!("latents stay latents");
    };
    assert_eq!((kept.mean[0], kept.mean.len()), (24.0, 24));
    assert_eq!((kept.std[23], kept.std.len()), (23.5, 24));

    let error = of(counting(), "1-2").unwrap_err().to_string();
    assert!(
        error.contains("2 classes") && error.contains("not 2"),
        "{error}"
    );
    let gap = Dataset::new((0..36).collect(), vec![0, 2, 2], SHAPE, 3).unwrap();
    let error = of(gap, "0-1").unwrap_err().to_string();
    assert!(error.contains("class 1"), "{error}");
}
