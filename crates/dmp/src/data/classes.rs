//! Some of the classes of a model or a data set, as a user names them: `7`, `5-9`, `0,2,5-9`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::DataError;
use super::source::MOST_CLASSES;

/// One class or several, in rising order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes(Vec<usize>);

impl Classes {
    /// The classes.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// Whether a class is among them.
    pub fn contains(&self, class: usize) -> bool {
        self.0.binary_search(&class).is_ok()
    }

    /// The images of these classes, by number, of images with these labels.
    ///
    /// # Errors
    /// When a class is none of theirs, or no image is of it.
    pub fn among(&self, labels: &[u32], num_classes: usize) -> Result<Vec<usize>, DataError> {
        if num_classes < 2 {
            return Err(DataError::NoClasses);
        }
        if let Some(class) = self.beyond(num_classes) {
            return Err(DataError::NoClass { class, num_classes });
        }
        let mut seen = vec![false; num_classes];
        labels.iter().for_each(|&label| seen[label as usize] = true);
        if let Some(&class) = self.0.iter().find(|&&class| !seen[class]) {
            return Err(DataError::EmptyClass { class });
        }
        let images = 0..labels.len();
        Ok(images
            .filter(|&image| self.contains(labels[image] as usize))
            .collect())
    }

    /// The class of the image of this number, where each has its turn.
    pub fn in_turn(&self, image: usize) -> usize {
        self.0[image % self.0.len()]
    }

    /// The first that is not below `num_classes`.
    pub fn beyond(&self, num_classes: usize) -> Option<usize> {
        self.0.iter().copied().find(|&class| class >= num_classes)
    }
}

impl FromStr for Classes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(number) if number < MOST_CLASSES => Ok(number),
            _ => Err("give classes by their numbers, as in 7, 5-9 or 0,2,5-9".to_owned()),
        };
        let mut classes = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!(
                    "'{part}' ends before it begins; give {last}-{first}"
                ));
            }
            classes.extend(first..=last);
        }
        classes.sort_unstable();
        classes.dedup();
        Ok(Self(classes))
    }
}

impl fmt::Display for Classes {
    /// Ranges where there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|a, b| a + 1 == *b);
        for (place, run) in runs.enumerate() {
            let comma = if place > 0 { "," } else { "" };
            match run {
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [one] => write!(f, "{comma}{one}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl Serialize for Classes {
    /// One class is a number, several are a text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Classes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(usize),
            Several(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::One(class) => class.to_string(),
            Written::Several(text) => text,
        };
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_read_sorted_and_written_as_ranges() {
        for (text, classes, written) in [
            ("7", vec![7], "7"),
            ("5-9", vec![5, 6, 7, 8, 9], "5-9"),
            ("9, 0,2,3,3,5-6", vec![0, 2, 3, 5, 6, 9], "0,2-3,5-6,9"),
            ("4-4", vec![4], "4"),
        ] {
            let read: Classes = text.parse().unwrap();
            assert_eq!(read.as_slice(), classes, "{text}");
            assert_eq!(read.to_string(), written, "{text}");
            let json = serde_json::to_string(&read).unwrap();
            assert_eq!(serde_json::from_str::<Classes>(&json).unwrap(), read);
        }
        let read: Classes = "0,2,5-9".parse().unwrap();
        assert!(read.contains(6) && !read.contains(3));
        assert_eq!((read.beyond(10), read.beyond(7)), (None, Some(7)));
        assert_eq!(
            serde_json::to_string(&"7".parse::<Classes>().unwrap()).unwrap(),
            "7"
        );
    }

    #[test]
    fn what_is_no_class_is_refused_with_the_mend() {
        for text in ["", "x", "-1", "1-", "1,,2", "99999999999", "0-99999999"] {
            let error = text.parse::<Classes>().unwrap_err();
            assert!(error.contains("0,2,5-9"), "{text}: {error}");
        }
        let error = "9-5".parse::<Classes>().unwrap_err();
        assert!(error.contains("give 5-9"), "{error}");
    }
}
