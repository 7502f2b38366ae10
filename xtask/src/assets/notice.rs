//! `NOTICE`: says of each asset what it is, how large it is and its hash.

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};

use dmp_model::checkpoint::hex;

/// `notice` with the size and hash of the asset `name` brought up to date.
pub fn record(notice: &str, name: &str, bytes: &[u8]) -> Result<String> {
    let heading = format!("## {name}");
    let mut in_section = false;
    let mut updated = 0;
    let lines: Vec<String> = (notice.lines())
        .map(|line| {
            if line.starts_with("## ") {
                in_section = line == heading;
            }
            let fresh = match line {
                _ if !in_section => None,
                _ if line.starts_with("- bytes: ") => Some(format!("- bytes: {}", bytes.len())),
                _ if line.starts_with("- sha256: ") => {
                    Some(format!("- sha256: {}", hex(&Sha256::digest(bytes))))
                }
                _ => None,
            };
            updated += usize::from(fresh.is_some());
            fresh.unwrap_or_else(|| line.to_owned())
        })
        .collect();
    ensure!(
        updated == 2,
        "assets/NOTICE needs a section `{heading}` with one `- bytes: ` and one `- sha256: ` line"
    );
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: &str = "\
## a

- bytes: 1
- sha256: 0

## b

- bytes: 2
- sha256: 0
";

    #[test]
    fn only_the_section_of_the_asset_changes() {
        let updated = record(NOTICE, "b", b"abc").unwrap();
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let expected = NOTICE.replace(
            "bytes: 2\n- sha256: 0",
            &format!("bytes: 3\n- sha256: {hash}"),
        );
        assert_eq!(updated, expected);
    }

    #[test]
    fn an_asset_without_a_section_is_refused_by_name() {
        let error = record(NOTICE, "c", b"abc").unwrap_err().to_string();
        assert!(error.contains("`## c`"), "{error}");
    }
}
