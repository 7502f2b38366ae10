//! Files that PyTorch wrote (`scripts/export/torch_files.py`) are read to the last bit, and nothing in one is run.

use std::path::Path;

use dmp_math::seed::{Purpose, stream};
use dmp_model::checkpoint::torch::{TorchFile, Value, to_bytes};
use dmp_model::checkpoint::{HostTensor, TensorFile, Tensors};

fn bytes(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/torch_files")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn expected(name: &str) -> Tensors {
    TensorFile::from_bytes(&bytes(name)).unwrap().tensors
}

fn tensors(name: &str, part: Option<&str>) -> Tensors {
    let bytes = bytes(name);
    assert!(TorchFile::is_one(&bytes), "{name}");
    TorchFile::from_bytes(bytes)
        .unwrap()
        .tensors(part)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_state_dictionary_in_every_container() {
    let state = expected("state.safetensors");
    assert_eq!(state.len(), 9);
    for name in ["state.pt", "state-legacy.pt", "state-protocol4.pt"] {
        assert_eq!(tensors(name, None), state, "{name}");
    }
    // TorchScript keeps modules as objects; the path of a tensor is the same.
    assert_eq!(tensors("script.pt", None), state);
}

#[test]
fn parts_of_a_training_checkpoint() {
    let state = expected("state.safetensors");
    let file = TorchFile::from_bytes(bytes("checkpoint.pt")).unwrap();
    assert_eq!(file.names(), ["model", "ema", "opt", "args"]);
    assert_eq!(file.tensors(Some("model")).unwrap(), state);
    let ema = file.tensors(Some("ema")).unwrap();
    for (name, tensor) in &state {
        let moved: Vec<f32> = tensor.values.iter().map(|value| value + 1.0).collect();
        assert_eq!(ema[name].values, moved, "{name}");
    }
    assert!(file.tensors(Some("nothing")).unwrap().is_empty());
    assert_eq!(file.text(&["args", "model"]).unwrap(), "DiT-S/2");
    assert_eq!(file.text(&["args", "image_size"]).unwrap(), "256");
    assert_eq!(file.text(&["args", "nothing"]), None);
}

/// `module.` of several devices, `_orig_mod.` of a compiler, in either order.
#[test]
fn names_are_read_without_their_wrappers() {
    let named = |names: &[&str]| {
        let tensor = |name: &&str| {
            let tensor = HostTensor {
                shape: vec![1],
                values: vec![1.0],
            };
            ((*name).to_owned(), tensor)
        };
        let tensors = Value::Tensors(names.iter().map(tensor).collect());
        TorchFile::from_bytes(to_bytes(vec![("model".to_owned(), tensors)]).unwrap()).unwrap()
    };
    let file = named(&["module._orig_mod.a", "_orig_mod.module.b.module.c", "d"]);
    let tensors = file.unwrapped(Some("model")).unwrap();
    let names: Vec<&String> = tensors.keys().collect();
    assert_eq!(names, ["a", "b.module.c", "d"]);
    let error = named(&["module.a", "a"]).unwrapped(Some("model"));
    assert!(error.unwrap_err().to_string().contains("there are two"));
}

#[test]
fn every_kind_of_number_and_view() {
    assert_eq!(tensors("kinds.pt", None), expected("kinds.safetensors"));
}

/// Python's own unpickler would run a command here.
#[test]
fn a_trap_is_a_name_and_nothing_more() {
    let file = TorchFile::from_bytes(bytes("hostile.pt")).unwrap();
    assert_eq!(file.names(), ["weight", "trap"]);
    let tensors = file.tensors(None).unwrap();
    assert_eq!(tensors.keys().collect::<Vec<_>>(), ["weight"]);
    assert!(!Path::new("/tmp/dmp-was-hacked").exists());
}

/// Whatever is cut off or changed, the answer is tensors or one sentence; never a panic, a hang or all of the memory.
#[test]
fn damaged_files_are_refused_or_read() {
    for name in ["state.pt", "state-legacy.pt", "checkpoint.pt", "kinds.pt"] {
        let whole = bytes(name);
        for length in (0..whole.len()).step_by(7) {
            let _ = TorchFile::from_bytes(whole[..length].to_vec()).map(|file| file.tensors(None));
        }
        let mut random = stream(1, Purpose::Subset, whole.len() as u64);
        for _ in 0..2000 {
            let mut damaged = whole.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(damaged.len() as u64) as usize;
                damaged[at] = random.below(256) as u8;
            }
            let _ = TorchFile::from_bytes(damaged).map(|file| file.tensors(None));
        }
    }
    let error = TorchFile::from_bytes(b"no such thing".to_vec())
        .err()
        .unwrap();
    assert!(error.to_string().contains("not a file that PyTorch saved"));
}

/// A list in itself, a list doubled fifty times, an object that is its own state, and a parameter among its own
/// arguments: visited once each.
#[test]
fn trees_that_hold_themselves_end() {
    // ] q0 h0 a .   — a list that is its own element.
    let own = b"\x80\x02]q\x00h\x00a.";
    // Each level is a pair of the level below: 2^50 paths, 50 nodes.
    let mut doubled = b"\x80\x02]".to_vec();
    for _ in 0..50 {
        doubled.extend(b"2\x86");
    }
    doubled.push(b'.');
    let state = b"\x80\x02cm\nC\n)R2b.".to_vec();
    for pickle in [own.to_vec(), doubled, state] {
        let file = TorchFile::from_bytes(zipped(&pickle)).unwrap();
        assert!(file.tensors(None).unwrap().is_empty());
    }
    let parameter =
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n]q\x00Rq\x010h\x00h\x01a0h\x01.".to_vec();
    assert!(refused(zipped(&parameter)).contains("_rebuild_parameter"));
}

fn refused(bytes: Vec<u8>) -> String {
    let file = TorchFile::from_bytes(bytes);
    let tensors = file.and_then(|file| file.tensors(None));
    tensors.expect_err("it is refused").to_string()
}

/// `_rebuild_tensor_v2` of 1000 numbers of a class in storage 0.
fn of_class(class: &str) -> Vec<u8> {
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n",
        class.as_bytes(),
        b"\nX\x01\0\0\x000X\x03\0\0\0cpuM\xe8\x03tQK\0M\xe8\x03\x85K\x01\x85tR",
    ]
    .concat()
}

/// A model without one of its tensors would be another model.
#[test]
fn a_tensor_of_an_unknown_kind_is_refused_by_name() {
    let named = |tensor: &[u8]| {
        let pickle = [b"\x80\x02}X\x04\0\0\0gate", tensor, b"s."].concat();
        archive(&[("data.pkl", pickle.as_slice()), ("data/0", &[0; 4000])])
    };
    let whole = TorchFile::from_bytes(named(&of_class("FloatStorage"))).unwrap();
    assert_eq!(whole.tensors(None).unwrap()["gate"].values, vec![0.0; 1000]);
    let kinds = [
        of_class("ComplexFloatStorage"),
        b"ctorch._utils\n_rebuild_qtensor\n)R".to_vec(),
        b"ctorch._tensor\n_rebuild_from_type_v2\n)R".to_vec(),
    ];
    for kind in kinds {
        let error = refused(named(&kind));
        assert!(
            error.contains("'gate'") && error.contains("_rebuild"),
            "{error}"
        );
    }
}

#[test]
fn what_is_there_twice_is_refused() {
    let tensors = |name: &str| {
        let tensor = HostTensor {
            shape: vec![1],
            values: vec![1.0],
        };
        Value::Tensors([(name.to_owned(), tensor)].into())
    };
    let entries = vec![
        ("a".to_owned(), tensors("b.c")),
        ("a.b".to_owned(), tensors("c")),
    ];
    let error = refused(to_bytes(entries).unwrap());
    assert!(
        error.contains("'a.b.c'") && error.contains("two"),
        "{error}"
    );
    let pickle: &[u8] = b"\x80\x02}.";
    let error = refused(archive(&[("data.pkl", pickle), ("other/data.pkl", pickle)]));
    assert!(error.contains("several data.pkl"), "{error}");
    // That ends so and is another file.
    let other = archive(&[("data.pkl", pickle), ("mydata.pkl", b"")]);
    assert!(TorchFile::from_bytes(other).is_ok());
}

/// Small files that would fill the memory, or take hours.
#[test]
fn names_and_views_have_bounds() {
    let mut views = b"\x80\x02]".to_vec();
    views.extend(of_class("FloatStorage"));
    views.extend(b"q\0a");
    views.extend(b"h\0a".repeat(100));
    views.push(b'.');
    let error = refused(archive(&[
        ("data.pkl", views.as_slice()),
        ("data/0", &[0; 4000]),
    ]));
    assert!(error.contains("shares its numbers"), "{error}");
    // A tensor 10 000 times below a long name.
    let key = vec![b'k'; 3000];
    let mut names = b"\x80\x02}X\xb8\x0b\0\0".to_vec();
    names.extend(&key);
    names.push(b']');
    names.extend(of_class("FloatStorage"));
    names.extend(b"q\0a");
    names.extend(b"h\0a".repeat(10_000));
    names.extend(b"s.");
    let error = refused(archive(&[
        ("data.pkl", names.as_slice()),
        ("data/0", &[0; 4000]),
    ]));
    assert!(error.contains("too many of long names"), "{error}");
    // Eight objects that have a dictionary of 3000 entries 3000 times in their state.
    let mut states = b"\x80\x02]}(".to_vec();
    for i in 0..3000_u16 {
        states.extend([b"M".as_slice(), &i.to_le_bytes(), b"N"].concat());
    }
    states.extend(b"uq\x000(");
    states.extend(b"h\0".repeat(3000));
    states.extend(b"tq\x010");
    states.extend(b"cm\nC\n)Rh\x01ba".repeat(8));
    states.push(b'.');
    let file = TorchFile::from_bytes(zipped(&states)).unwrap();
    assert!(file.tensors(None).unwrap().is_empty());
    // A tensor in 100 000 lists in each other.
    let mut deep = b"\x80\x02".to_vec();
    deep.extend(b"]".repeat(100_000));
    deep.extend(of_class("FloatStorage"));
    deep.extend(b"a".repeat(100_000));
    deep.push(b'.');
    let error = refused(archive(&[
        ("data.pkl", deep.as_slice()),
        ("data/0", &[0; 4000]),
    ]));
    assert!(error.contains("name has more than"), "{error}");
    let many = [b"\x80\x02".to_vec(), b")".repeat(5 << 20)].concat();
    assert!(refused(zipped(&many)).contains("more than 4194304 values"));
    // A name of a megabyte, of 100 000 entries.
    let name = vec![b'n'; 1 << 20];
    let mut long = b"\x80\x02}X\0\0\x10\0".to_vec();
    long.extend(&name);
    long.extend(b"q\0Ns");
    long.extend(b"h\0Ns".repeat(100_000));
    long.push(b'.');
    let file = TorchFile::from_bytes(archive(&[("data.pkl", long.as_slice())])).unwrap();
    assert!(file.tensors(None).unwrap().is_empty());
}

/// An archive as PyTorch lays it out, with this pickle and no storages.
fn zipped(pickle: &[u8]) -> Vec<u8> {
    archive(&[("data.pkl", pickle)])
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in files {
        writer
            .start_file(format!("archive/{name}"), stored)
            .unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
