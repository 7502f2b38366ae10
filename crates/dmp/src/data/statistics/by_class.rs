//! Statistics of each class of several sets of images: so that images of some classes are compared with those classes.
//!
//! One safetensors file like that of whole sets, of which each tensor has a row a class: `<split>.count` `[classes]` (u64),
//! `<split>.mean` `[classes, d]` and `<split>.covariance` `[classes, d (d + 1) / 2]`, its lower triangles row by row (f32).

use dmp_math::moments::{Gaussian, Moments};
use safetensors::tensor::Dtype;

use super::{Split, StatisticsError, Stored, encoded, name, opened, tensor, words};
use crate::data::Classes;

/// Statistics of all images of `split` that are of these classes, in the features of the network whose file has this SHA-256.
///
/// # Errors
/// As of [`read`](super::read), and when the file has no such class.
pub fn read(
    bytes: &[u8],
    split: Split,
    classes: &Classes,
    network_sha256: &str,
) -> Result<Gaussian, StatisticsError> {
    let file = opened(bytes, network_sha256)?;
    let shape = tensor(&file, split, "mean")?.shape().to_vec();
    let (num_classes, dim) = match *shape {
        [num_classes, dim] => (num_classes, dim),
        _ => (0, 0),
    };
    if let Some(class) = classes.beyond(num_classes) {
        return Err(StatisticsError::Missing {
            name: format!("{} of class {class}", name(split, "mean")),
        });
    }
    let triangle = dim * (dim + 1) / 2;
    let counts = words(&file, split, "count", Dtype::U64, &[num_classes])?;
    let means = words(&file, split, "mean", Dtype::F32, &[num_classes, dim])?;
    let covariances = words(
        &file,
        split,
        "covariance",
        Dtype::F32,
        &[num_classes, triangle],
    )?;
    let value = |&word| f64::from(f32::from_le_bytes(word));
    let mut all = Moments::new(dim);
    for &class in classes.as_slice() {
        let lower = &covariances[class * triangle..][..triangle];
        let entry = |i: usize, j: usize| value(&lower[i.max(j) * (i.max(j) + 1) / 2 + i.min(j)]);
        let gaussian = Gaussian {
            count: u64::from_le_bytes(counts[class]) as usize,
            mean: means[class * dim..][..dim].iter().map(value).collect(),
            covariance: (0..dim)
                .flat_map(|i| (0..dim).map(move |j| (i, j)))
                .map(|(i, j)| entry(i, j))
                .collect(),
        };
        all.merge(&Moments::from(&gaussian));
    }
    Ok(all.finish()?)
}

/// The file of these statistics, one a class from the first on, in the features of the network whose file has this SHA-256.
///
/// # Errors
/// When Gaussians of a split are not of as many features each.
pub fn write(
    splits: &[(Split, Vec<Gaussian>)],
    network_sha256: &str,
) -> Result<Vec<u8>, StatisticsError> {
    let mut tensors: Vec<Stored> = Vec::new();
    for (split, classes) in splits {
        let dim = classes.first().map_or(0, |class| class.mean.len());
        let rows = classes.len();
        let counts = classes.iter();
        let counts = counts.flat_map(|class| (class.count as u64).to_le_bytes());
        tensors.push((
            name(*split, "count"),
            Dtype::U64,
            vec![rows],
            counts.collect(),
        ));
        let means = classes.iter().flat_map(|class| &class.mean).copied();
        let bytes = to_bytes(means);
        tensors.push((name(*split, "mean"), Dtype::F32, vec![rows, dim], bytes));
        let lower = classes.iter().flat_map(|class| {
            let rows = class.covariance.chunks(dim.max(1)).enumerate();
            rows.flat_map(|(i, row)| row[..=i].iter().copied())
        });
        let shape = vec![rows, dim * (dim + 1) / 2];
        tensors.push((
            name(*split, "covariance"),
            Dtype::F32,
            shape,
            to_bytes(lower),
        ));
    }
    encoded(&tensors, network_sha256)
}

fn to_bytes(values: impl Iterator<Item = f64>) -> Vec<u8> {
    values
        .flat_map(|value| (value as f32).to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of two features, and the Gaussian of some of them.
    fn gaussian(rows: &[[f32; 2]]) -> Gaussian {
        let mut moments = Moments::new(2);
        moments.push_rows(rows.as_flattened());
        moments.finish().unwrap()
    }

    #[test]
    fn classes_together_are_as_their_images_together() {
        let rows = [
            [1.0, 0.5],
            [2.0, -1.0],
            [4.0, 0.0],
            [-3.0, 2.0],
            [5.0, 1.5],
            [0.25, 8.0],
            [7.0, -2.0],
        ];
        let classes = vec![
            gaussian(&rows[..3]),
            gaussian(&rows[3..5]),
            gaussian(&rows[5..]),
        ];
        let bytes = write(&[(Split::Validation, classes)], "abc").unwrap();
        let of = |classes: &str| {
            read(&bytes, Split::Validation, &classes.parse().unwrap(), "abc").unwrap()
        };
        for (classes, wanted) in [
            ("1", gaussian(&rows[3..5])),
            ("1-2", gaussian(&rows[3..])),
            ("0-2", gaussian(&rows)),
        ] {
            let found = of(classes);
            assert_eq!(found.count, wanted.count);
            let all = |gaussian: Gaussian| [gaussian.mean, gaussian.covariance].concat();
            for (found, wanted) in all(found).into_iter().zip(all(wanted)) {
                assert!((found - wanted).abs() < 1e-5, "{classes}: {found} {wanted}");
            }
        }
        let error = read(&bytes, Split::Validation, &"2-3".parse().unwrap(), "abc").unwrap_err();
        assert!(error.to_string().contains("class 3"), "{error}");
        let error = read(&bytes, Split::Train, &"1".parse().unwrap(), "abc").unwrap_err();
        assert!(error.to_string().contains("train.mean"), "{error}");
        assert!(read(&bytes, Split::Validation, &"1".parse().unwrap(), "abd").is_err());
    }
}
