use super::*;
use proptest::prelude::*;

fn moments(dim: usize, rows: &[f32]) -> Moments {
    let mut moments = Moments::new(dim);
    moments.push_rows(rows);
    moments
}

/// Two passes in the plainest way.
fn two_pass(dim: usize, rows: &[f32]) -> Gaussian {
    let count = rows.len() / dim;
    let at = |r: usize, i: usize| f64::from(rows[r * dim + i]);
    let mean: Vec<f64> = (0..dim)
        .map(|i| (0..count).map(|r| at(r, i)).sum::<f64>() / count as f64)
        .collect();
    let covariance = (0..dim * dim)
        .map(|k| (k / dim, k % dim))
        .map(|(i, j)| {
            let product = |r| (at(r, i) - mean[i]) * (at(r, j) - mean[j]);
            (0..count).map(product).sum::<f64>() / (count - 1) as f64
        })
        .collect();
    Gaussian {
        count,
        mean,
        covariance,
    }
}

fn assert_close(a: &Gaussian, b: &Gaussian, tolerance: f64) {
    assert_eq!(a.count, b.count);
    let pairs = a
        .mean
        .iter()
        .zip(&b.mean)
        .chain(a.covariance.iter().zip(&b.covariance));
    for (x, y) in pairs {
        assert!((x - y).abs() <= tolerance * (1.0 + y.abs()), "{x} {y}");
    }
}

#[test]
fn a_small_case_by_hand() {
    let gaussian = moments(2, &[1.0, 2.0, 3.0, 6.0]).finish().unwrap();
    assert_eq!(gaussian.mean, [2.0, 4.0]);
    assert_eq!(gaussian.covariance, [2.0, 4.0, 4.0, 8.0]);
}

#[test]
fn an_offset_costs_no_digits() {
    let rows: Vec<f32> = (0..4000).map(|i| 1e6 + (i * 7919 % 101) as f32).collect();
    let exact = two_pass(4, &rows);
    assert_close(&moments(4, &rows).finish().unwrap(), &exact, 1e-10);
}

#[test]
fn no_features_can_be_merged() {
    let none = Moments::from(&Gaussian {
        count: 3,
        mean: vec![],
        covariance: vec![],
    });
    let mut both = none.clone();
    both.merge(&none);
    assert_eq!(both.finish().map(|found| found.count), Ok(6));
}

#[test]
fn what_does_not_fit_is_named_at_the_end() {
    let error = |moments: &Moments| moments.finish().unwrap_err();
    assert_eq!(
        error(&moments(3, &[1.0; 3])),
        MomentsError::TooFew { count: 1 }
    );
    assert_eq!(
        error(&moments(3, &[1.0; 4])),
        MomentsError::Ragged { values: 4, dim: 3 }
    );
    assert_eq!(
        error(&moments(0, &[1.0])),
        MomentsError::Ragged { values: 1, dim: 0 }
    );
    assert_eq!(error(&moments(0, &[])), MomentsError::TooFew { count: 0 });
    let mut merged = moments(3, &[1.0; 9]);
    merged.merge(&Moments::new(2));
    assert_eq!(error(&merged), MomentsError::Width { found: 2, dim: 3 });
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bad = moments(2, &[1.0, 2.0, 3.0, bad, 0.0, f32::INFINITY]);
        assert_eq!(error(&bad), MomentsError::NotFinite { feature: 1 });
    }
}

fn rows_of(dim: usize) -> impl Strategy<Value = Vec<f32>> {
    (2_usize..700).prop_flat_map(move |n| prop::collection::vec(-10.0_f32..10.0, n * dim))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn merging_equals_pushing_all(rows in rows_of(3), cut in 0.0..1.0, row_by_row: bool) {
        let cut = (rows.len() as f64 / 3.0 * cut) as usize * 3;
        let all = moments(3, &rows).finish().unwrap();
        assert_close(&all, &two_pass(3, &rows), 1e-11);

        let mut merged = moments(3, &rows[..cut]);
        if row_by_row {
            rows[cut..].chunks(3).for_each(|row| merged.push_rows(row));
        } else {
            merged.merge(&moments(3, &rows[cut..]));
        }
        assert_close(&merged.finish().unwrap(), &all, 1e-11);
    }
}
