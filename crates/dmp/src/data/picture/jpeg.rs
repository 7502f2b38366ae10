//! Whether a JPEG was cut off: its decoder makes up what is missing.

/// Whether the markers of a JPEG come to the one that ends it. Those of a thumbnail within it do not count.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(found) = bytes.get(at..).and_then(find_marker) {
        let (marker, after) = (found.0, at + found.1);
        at = match marker {
            END => return true,
            // Of the coded data: a byte 255, or a mark to start anew from; and what else has no length.
            0x00 | 0x01 | 0xd0..=0xd8 => after,
            _ => match bytes.get(after..after + 2) {
                Some(&[high, low]) => after + usize::from(u16::from_be_bytes([high, low])).max(2),
                _ => return false,
            },
        };
    }
    false
}

/// The marker that ends an image.
const END: u8 = 0xd9;

/// The next marker, and where it ends.
fn find_marker(bytes: &[u8]) -> Option<(u8, usize)> {
    let start = bytes.iter().position(|&byte| byte == 0xff)?;
    let filled = bytes[start..].iter().position(|&byte| byte != 0xff)?;
    Some((bytes[start + filled], start + filled + 1))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn jpeg() -> Vec<u8> {
        let image = image::RgbImage::from_fn(40, 24, |x, y| image::Rgb([x as u8 * 6, y as u8, 99]));
        let mut bytes = Cursor::new(Vec::new());
        image
            .write_to(&mut bytes, image::ImageFormat::Jpeg)
            .unwrap();
        bytes.into_inner()
    }

    #[test]
    fn only_a_whole_one_comes_to_its_end() {
        let whole = jpeg();
        assert!(is_whole(&whole));
        for length in 0..whole.len() {
            assert!(!is_whole(&whole[..length]), "{length}");
        }
        // What cameras put behind.
        assert!(is_whole(&[&whole[..], &[0; 9]].concat()));
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_images() {
        let whole = jpeg();
        let length = (whole.len() as u16 + 2).to_be_bytes();
        let with = [&whole[..2], &[0xff, 0xe1], &length, &whole, &whole[2..]].concat();
        assert!(is_whole(&with));
        assert!(!is_whole(&with[..with.len() - 2]));
    }
}
