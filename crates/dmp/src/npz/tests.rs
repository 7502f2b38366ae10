use super::*;

/// An archive of one member with these bytes.
fn archive(name: &str, bytes: &[u8]) -> Cursor<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(name, SimpleFileOptions::default()).unwrap();
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap()
}

/// A member with this header, as numpy 2 writes it, and these numbers.
fn member_of(dictionary: &str, version: u8, numbers: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    let length = dictionary.len() as u32 + 1;
    match version {
        1 => bytes.extend((length as u16).to_le_bytes()),
        _ => bytes.extend(length.to_le_bytes()),
    }
    bytes.extend(dictionary.bytes());
    bytes.push(b'\n');
    bytes.extend(numbers);
    bytes
}

fn read(dictionary: &str, version: u8, numbers: &[u8]) -> Result<Array> {
    let member = member_of(dictionary, version, numbers);
    NpzFile::new(archive("x.npy", &member)).unwrap().array("x")
}

#[test]
fn what_is_written_is_read() {
    let mut npz = Npz::default();
    npz.array("a", &[2, 3], 0..6i64).unwrap();
    npz.array("b", &[2], [1.5f64, -2.5]).unwrap();
    npz.array("c", &[], [7u8]).unwrap();
    assert!(npz.array("d", &[3], [1.0f32]).is_err());
    let mut file = NpzFile::new(Cursor::new(npz.finish().unwrap())).unwrap();
    assert!(file.has("a") && !file.has("a.npy"));
    let a = file.array("a").unwrap();
    assert_eq!(
        (a.header.shape.as_slice(), a.header.fortran_order),
        (&[2, 3][..], false)
    );
    assert_eq!(a.whole_numbers().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert!(a.floats().unwrap_err().to_string().contains("<i8"));
    let b = file.array("b").unwrap();
    assert_eq!(b.floats().unwrap(), [1.5, -2.5]);
    assert!(b.whole_numbers().is_err());
    assert_eq!(file.array("c").unwrap().bytes, [7]);
    assert_eq!(file.header("e").unwrap(), None);
    assert!(
        file.array("e")
            .unwrap_err()
            .to_string()
            .contains("no array 'e'")
    );
}

/// Headers as numpy has them: `numpy.save` of 1.x and 2.x, Fortran order, big-endian, one and no sizes.
#[test]
fn headers_are_read_whoever_wrote_them() {
    let one = |number: &str, order: &str, shape: &str| {
        format!("{{'descr': '{number}', 'fortran_order': {order}, 'shape': {shape}, }}")
    };
    let array = read(
        &one("<f4", "False", "(2,)"),
        1,
        &[0, 0, 128, 63, 0, 0, 0, 192],
    );
    assert_eq!(array.unwrap().floats().unwrap(), [1.0, -2.0]);
    let array = read(&one(">i4", "False", "(1, 1)"), 1, &[255, 255, 255, 254]);
    assert_eq!(array.unwrap().whole_numbers().unwrap(), [-2]);
    let array = read(&one(">f8", "False", "(1,)"), 2, &[192, 4, 0, 0, 0, 0, 0, 0]);
    assert_eq!(array.unwrap().floats().unwrap(), [-2.5]);
    let array = read(&one("|u1", "True", "(1,2)"), 3, &[3, 200]).unwrap();
    assert!(array.header.fortran_order);
    assert_eq!(array.whole_numbers().unwrap(), [3, 200]);
    let array = read(&one("<u8", "False", "()"), 1, &[255; 8]).unwrap();
    assert_eq!(array.whole_numbers().unwrap(), [i128::from(u64::MAX)]);
    let array = read(&one("|i1", "False", "(0, 5)"), 1, &[]).unwrap();
    assert_eq!(array.whole_numbers().unwrap(), []);
    // With other quotes and order of keys.
    let other = "{\"shape\": (1,), \"fortran_order\": False, \"descr\": \"<i2\"}";
    assert_eq!(
        read(other, 1, &[1, 255]).unwrap().whole_numbers().unwrap(),
        [-255]
    );
}

#[test]
fn what_is_no_array_is_refused() {
    let fails = |dictionary: &str, numbers: &[u8], says: &str| {
        let error = format!("{:#}", read(dictionary, 1, numbers).unwrap_err());
        assert!(error.contains(says), "{error}");
    };
    let with = |number: &str, shape: &str| {
        format!("{{'descr': {number}, 'fortran_order': False, 'shape': {shape}, }}")
    };
    fails(&with("'<f4'", "(2,)"), &[0; 7], "does not have the 8 bytes");
    fails(&with("'<f4'", "(2,)"), &[0; 9], "does not have the 8 bytes");
    fails(&with("'|O'", "(2,)"), &[0; 8], "holds |O");
    fails(&with("'<c8'", "(1,)"), &[0; 8], "holds <c8");
    fails(
        &with("[('a', '<i4'), ('b', '<f8')]", "(1,)"),
        &[0; 12],
        "holds [('a'",
    );
    let huge = "(4294967296, 4294967296)";
    fails(&with("'<f4'", huge), &[], "larger than any memory");
    fails(
        &with("'<f4'", "(99999999999,)"),
        &[0; 8],
        "write the file again",
    );
    fails(&with("'<f4'", "(-1,)"), &[], "is no array");
    fails("{'descr': '<f4'}", &[], "is no array");
    fails("", &[], "is no array");
    for bytes in [&b""[..], b"\x93NUMPY\x01\x00\xff\xff{", b"PK"] {
        let mut file = NpzFile::new(archive("x.npy", bytes)).unwrap();
        assert!(file.header("x").is_err() && file.array("x").is_err());
    }
    let error = NpzFile::new(Cursor::new(b"no zip".to_vec())).err().unwrap();
    assert!(error.to_string().contains("not an .npz"), "{error}");
}

/// What `numpy.savez` itself writes before the numbers of `numpy.arange(3.0)`.
#[test]
fn a_header_is_written_as_numpy_writes_it() {
    let bytes = Header::of::<f64>(&[3]).to_bytes();
    let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }";
    let mut expected = b"\x93NUMPY\x01\x00v\x00".to_vec();
    expected.extend(text.bytes());
    expected.resize(127, b' ');
    expected.push(b'\n');
    assert_eq!(bytes, expected);
}
