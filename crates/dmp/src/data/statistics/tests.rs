use super::*;

fn gaussian() -> Gaussian {
    Gaussian {
        count: 7,
        mean: vec![0.25, -1.0],
        covariance: vec![2.0, 0.5, 0.5, 3.0],
    }
}

#[test]
fn what_was_written_is_read() {
    let other = Gaussian {
        count: 9,
        ..gaussian()
    };
    let splits = [
        (Split::HeldOut, gaussian()),
        (Split::Validation, other.clone()),
    ];
    let bytes = write(&splits, "abc").unwrap();
    assert_eq!(read(&bytes, Split::HeldOut, "abc").unwrap(), gaussian());
    assert_eq!(read(&bytes, Split::Validation, "abc").unwrap(), other);
    let missing = read(&bytes, Split::Train, "abc").unwrap_err();
    assert!(matches!(missing, StatisticsError::Missing { name } if name == "train.mean"));
}

#[test]
fn statistics_of_another_network_are_refused() {
    let bytes = write(&[(Split::HeldOut, gaussian())], "abc").unwrap();
    let error = read(&bytes, Split::HeldOut, "abd").unwrap_err();
    assert!(matches!(error, StatisticsError::Network { found, .. } if found == "abc"));
}

#[test]
fn a_covariance_that_is_not_square_is_refused_by_name() {
    let mean = [0_u8; 16];
    let tensors = [
        ("train.count", Dtype::U64, vec![], &mean[..8]),
        ("train.mean", Dtype::F64, vec![2], &mean[..]),
        ("train.covariance", Dtype::F64, vec![2], &mean[..]),
    ];
    let views = tensors
        .map(|(name, dtype, shape, bytes)| (name, TensorView::new(dtype, shape, bytes).unwrap()));
    let metadata = HashMap::from([(NETWORK_KEY.to_owned(), "abc".to_owned())]);
    let bytes = serialize(views, Some(metadata)).unwrap();
    let error = read(&bytes, Split::Train, "abc").unwrap_err().to_string();
    assert!(
        error.contains("train.covariance") && error.contains("[2, 2]"),
        "{error}"
    );
}
