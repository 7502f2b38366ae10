//! Tar files as WebDataset writes them: members whose names are alike up to the first dot are one image, its class (`.cls`),
//! its caption (`.txt`), and what else is known of it (`.json`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ::tar::Archive;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Map, Value};

use super::{Item, captions};
use crate::data::picture::ENDINGS;

/// Where the images are.
pub(super) struct Members {
    files: Vec<PathBuf>,
    places: Vec<Place>,
}

/// Some bytes of a file.
#[derive(Debug, Clone, Copy)]
struct Place {
    file: usize,
    start: u64,
    length: u64,
}

/// What a file compressed by gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What tells of an image is at most this long.
const LONGEST_TEXT: u64 = 1 << 20;

/// Lists the images of all files, in their order there.
pub(super) fn open(files: &[PathBuf]) -> Result<(Members, Vec<Item>)> {
    let (mut places, mut items) = (Vec::new(), Vec::new());
    for (index, path) in files.iter().enumerate() {
        for sample in samples(index, path)? {
            if let Some(place) = sample.image {
                places.push(place);
                items.push(sample.item);
            }
        }
    }
    let members = Members {
        files: files.to_owned(),
        places,
    };
    Ok((members, items))
}

#[derive(Default)]
struct Sample {
    item: Item,
    image: Option<Place>,
    /// A member that is an image by the last part of its name, and something else by the whole.
    misnamed: Option<String>,
}

/// What members are kept in.
const BLOCK: u64 = 512;

fn samples(file: usize, path: &Path) -> Result<Vec<Sample>> {
    let shown = path.display();
    // What the reader says of a file that is none can hold bytes of it.
    let whole = || anyhow!("{shown}: is no whole tar file; download or write it again");
    let mut reader = File::open(path).with_context(|| format!("{shown}: cannot be read"))?;
    let mut start = [0; 2];
    let known = reader.read(&mut start)?;
    ensure!(
        start[..known] != GZIP,
        "{shown}: is compressed; unpack it, as with 'gunzip'"
    );
    reader.rewind()?;
    let length = reader.metadata()?.len();
    let mut archive = Archive::new(reader);
    let mut samples: Vec<Sample> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut last = 0;
    for entry in archive.entries_with_seek().map_err(|_| whole())? {
        let mut entry = entry.map_err(|_| whole())?;
        let place = Place {
            file,
            start: entry.raw_file_position(),
            length: entry.size(),
        };
        let name = entry.path().map_err(|_| whole())?.display().to_string();
        let kind = entry.header().entry_type();
        if !kind.is_file() {
            ensure!(
                kind.is_dir() || !is_image(&name),
                "{shown}: {name}: is a link or has holes; write the file again, as with 'tar --dereference --hard-dereference'"
            );
            last = place.start;
            continue;
        }
        let end = place.start.checked_add(place.length);
        let end = end.filter(|&end| end <= length).with_context(whole)?;
        last = end.next_multiple_of(BLOCK);
        let Some((key, ending)) = split(&name) else {
            continue;
        };
        let index = *known.entry(key.to_owned()).or_insert_with(|| {
            samples.push(Sample::default());
            samples.len() - 1
        });
        let sample = &mut samples[index];
        if ENDINGS.contains(&ending.to_lowercase().as_str()) {
            ensure!(
                sample.image.is_none(),
                "{shown}: {name}: '{key}' has an image already; give each a name of its own"
            );
            sample.item.name = format!("{shown}: {name}");
            sample.image = Some(place);
        } else if matches!(ending, "cls" | "txt" | "json") {
            ensure!(
                place.length <= LONGEST_TEXT,
                "{shown}: {name}: is {} bytes; what tells of an image is at most {LONGEST_TEXT}, shorten it",
                place.length
            );
            let mut text = String::new();
            entry
                .read_to_string(&mut text)
                .with_context(|| format!("{shown}: {name} is no text"))?;
            describe(&mut sample.item, ending, text.trim())
                .with_context(|| format!("{shown}: {name}"))?;
        } else if is_image(&name) {
            sample.misnamed.get_or_insert(name);
        }
    }
    if length < last + BLOCK {
        crate::tell!(
            "note: {shown}: ends without the mark that tar files end with; if it was cut off, images are missing"
        );
    }
    let lost = samples.iter().filter(|sample| sample.image.is_none());
    let lost: Vec<&String> = lost.filter_map(|sample| sample.misnamed.as_ref()).collect();
    if let Some(first) = lost.first() {
        crate::tell!(
            "note: {shown}: {} images are left out, as {first}: WebDataset ends a name at its first dot; name them without others",
            lost.len()
        );
    }
    Ok(samples)
}

/// Whether a name ends as images' do.
fn is_image(name: &str) -> bool {
    let ending = name.rsplit('.').next().unwrap_or_default();
    ENDINGS.contains(&ending.to_lowercase().as_str())
}

/// A member's key and ending, parted by the first dot of its file name.
fn split(name: &str) -> Option<(&str, &str)> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.')?;
    // Files that begin with a dot are of other programs.
    (dot > file).then(|| (&name[..dot], &name[dot + 1..]))
}

fn describe(item: &mut Item, ending: &str, text: &str) -> Result<()> {
    match ending {
        "cls" => match text.parse() {
            Ok(label) => item.label = Some(label),
            Err(_) => bail!("'{text}' is no class; classes count from 0"),
        },
        "txt" => item.caption = Some(text.to_owned()),
        _ => {
            let fields: Map<String, Value> = serde_json::from_str(text).context(
                "is no JSON object; write one, as {\"caption\": \"a cat\", \"label\": 0}",
            )?;
            if item.caption.is_none() {
                item.caption = captions::of_fields(&fields);
            }
            let label = ["label", "cls"].iter().find_map(|name| fields.get(*name));
            if item.label.is_none() {
                item.label = label.and_then(class);
            }
        }
    }
    Ok(())
}

/// A class as other programs write it: 3, 3.0 or "3".
fn class(value: &Value) -> Option<u32> {
    let whole = value.as_f64().filter(|number| number.fract() == 0.0);
    let number = whole.or_else(|| value.as_str()?.parse::<u32>().ok().map(f64::from))?;
    (0.0..=f64::from(u32::MAX))
        .contains(&number)
        .then_some(number as u32)
}

impl Members {
    /// The bytes of an image.
    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>> {
        let Place {
            file,
            start,
            length,
        } = self.places[index];
        let path = &self.files[file];
        let read = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = vec![0; length as usize];
            file.read_exact(&mut bytes)?;
            std::io::Result::Ok(bytes)
        };
        read().with_context(|| format!("{}: cannot be read", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, members: &[(&str, &[u8])]) {
        let mut builder = ::tar::Builder::new(File::create(path).unwrap());
        for (name, bytes) in members {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.finish().unwrap();
    }

    #[test]
    fn members_of_one_key_are_one_image() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["0.tar", "1.tar"].map(|name| folder.path().join(name));
        write(
            &paths[0],
            &[
                ("a/1.x.png", b"not of 1.png's key's ending"),
                ("a/2.jpg", b"two"),
                ("a/2.cls", b"7\n"),
                ("a/2.txt", b" a caption "),
                (".hidden", b""),
                ("a/3.cls", b"1"),
            ],
        );
        write(
            &paths[1],
            &[
                ("4.json", br#"{"label": "3", "caption": "four"}"#),
                ("4.PNG", b"4"),
            ],
        );
        let (members, items) = open(&paths).unwrap();
        assert_eq!(items.len(), 2);
        assert!(items[0].name.ends_with("0.tar: a/2.jpg"));
        assert_eq!((items[0].label, items[1].label), (Some(7), Some(3)));
        let captions = items.iter().map(|item| item.caption.as_deref().unwrap());
        assert_eq!(captions.collect::<Vec<_>>(), ["a caption", "four"]);
        assert_eq!(members.read(0).unwrap(), b"two");
        assert_eq!(members.read(1).unwrap(), b"4");
    }

    #[test]
    fn classes_are_whole_numbers_however_they_are_written() {
        for (text, expected) in [
            ("3", Some(3)),
            ("3.0", Some(3)),
            ("\"3\"", Some(3)),
            ("3.5", None),
            ("-1", None),
            ("1e300", None),
            ("\"cat\"", None),
            ("null", None),
        ] {
            assert_eq!(
                class(&serde_json::from_str(text).unwrap()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_link_to_an_image_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.tar");
        let mut builder = ::tar::Builder::new(File::create(&path).unwrap());
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(::tar::EntryType::Link);
        header.set_size(0);
        builder.append_link(&mut header, "2.png", "1.png").unwrap();
        builder.finish().unwrap();
        let error = format!("{:#}", open(&[path]).err().unwrap());
        assert!(error.contains("2.png: is a link"), "{error}");
    }

    #[test]
    fn what_would_be_dropped_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.tar");
        let long = vec![b'x'; LONGEST_TEXT as usize + 1];
        for (name, text, says) in [
            ("1.jpg", &b""[..], "'1' has an image already"),
            ("1.txt", &long, "1.txt: is 1048577 bytes"),
            ("1.json", b"[]", "write one, as {"),
        ] {
            write(&path, &[("1.png", b""), (name, text)]);
            let error = format!("{:#}", open(std::slice::from_ref(&path)).err().unwrap());
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_tar_file_that_is_cut_off_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.tar");
        write(&path, &[("1.png", &[7; 2000]), ("2.cls", b"cat")]);
        let error = format!("{:#}", open(std::slice::from_ref(&path)).err().unwrap());
        assert!(error.contains("2.cls: 'cat' is no class"), "{error}");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1000)
            .unwrap();
        let error = format!("{:#}", open(std::slice::from_ref(&path)).err().unwrap());
        assert!(error.contains("no whole tar file"), "{error}");
        std::fs::write(&path, [0x1f, 0x8b, 8, 0, 0, 0]).unwrap();
        let error = format!("{:#}", open(&[path]).err().unwrap());
        assert!(error.contains("gunzip"), "{error}");
    }
}
