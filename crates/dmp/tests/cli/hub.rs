//! Models by their names on the hub, which is a server in this process.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::harness::{Bench, command, failed, succeeded};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves one model, `someone/tiny`, of one file, as the hub does, and `someone/gated` to whoever has the token `secret`; gives
/// its address.
fn serve(file: &'static str, bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client may go away.
            let _ = answer(stream.unwrap(), file, &bytes);
        }
    });
    address
}

fn answer(mut stream: TcpStream, file: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let (mut range, mut known) = (None, false);
    for line in lines.by_ref() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        known |= line.to_lowercase() == "authorization: bearer secret";
        if let Some(asked) = line.to_lowercase().strip_prefix("range: bytes=") {
            let (first, last) = asked.split_once('-').unwrap();
            let last = last.parse().unwrap_or(bytes.len() - 1);
            range = Some((first.parse::<usize>().unwrap(), last));
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let gated = path.contains("someone/gated");
    let path = path.replace("someone/gated", "someone/tiny");
    let (status, extra, body) = if gated && !known {
        ("401 Unauthorized", String::new(), Vec::new())
    } else if path == "/api/models/someone/tiny/revision/main" {
        let listing = format!(
            r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "{file}"}}, {{"rfilename": "README.md"}}]}}"#
        );
        ("200 OK", String::new(), listing.into_bytes())
    } else if path == format!("/someone/tiny/resolve/main/{file}") {
        let (first, last) = range.unwrap_or((0, bytes.len() - 1));
        let extra = format!(
            "Content-Range: bytes {first}-{last}/{}\r\nETag: \"e1\"\r\nX-Repo-Commit: {COMMIT}\r\n",
            bytes.len()
        );
        ("206 Partial Content", extra, bytes[first..=last].to_vec())
    } else {
        ("404 Not Found", String::new(), Vec::new())
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{extra}\r\n"
    )?;
    stream.write_all(&body)
}

#[test]
fn a_model_is_downloaded_once_and_then_read_from_the_cache() {
    let bench = Bench::new();
    let here = succeeded(
        "",
        command(&format!("inspect {} --json", bench.str("base")))
            .output()
            .unwrap(),
    );
    let address = serve(
        "backbone.safetensors",
        bench.bytes("base/backbone.safetensors"),
    );
    let run = |line: &str, offline: &str| {
        command(line)
            .env("HF_HOME", bench.path("hub"))
            .env("HF_ENDPOINT", &address)
            .env("HF_HUB_OFFLINE", offline)
            .output()
            .unwrap()
    };
    let line = "inspect someone/tiny --json";
    let error = failed(line, run(line, "1"));
    assert!(
        error.contains("someone/tiny") && error.contains("HF_HUB_OFFLINE"),
        "{error}"
    );
    let online = succeeded(line, run(line, "0"));
    let sizes = |text: &str| -> serde_json::Value {
        let object: serde_json::Value = serde_json::from_str(text).unwrap();
        object["parameters"].clone()
    };
    assert!(sizes(&online).is_number(), "{online}");
    assert_eq!(sizes(&online), sizes(&here));
    assert_eq!(succeeded(line, run(line, "1")), online);
    let line = "sample --model someone/tiny --count 1 --sampling-steps 1 --npz";
    let line = format!("{line} {}", bench.str("x.npz"));
    succeeded(&line, run(&line, "1"));

    let line = "inspect someone/else";
    let error = failed(line, run(line, "0"));
    assert!(error.contains("has no such model"), "{error}");

    let line = "inspect someone/gated --json";
    let error = failed(line, run(line, "0"));
    assert!(error.contains("set HF_TOKEN"), "{error}");
    let mut with_token = command(line);
    with_token
        .env("HF_HOME", bench.path("hub"))
        .env("HF_ENDPOINT", &address)
        .env("HF_HUB_OFFLINE", "0")
        .env("HF_TOKEN", "secret");
    assert_eq!(succeeded(line, with_token.output().unwrap()), online);
}
