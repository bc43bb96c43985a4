//! `streams live …`

use clap::Subcommand;
use serde_json::{Value, json};
use streams_operator::text::{field, pairs, table};

use crate::Error;
use crate::client::Client;
use crate::output::Output;

/// Rows of a list that are fetched at once.
const PAGE: u32 = 200;

#[derive(Debug, Subcommand)]
pub enum Live {
    /// Make a live input and print its stream key, once
    Create {
        /// A name for people
        #[arg(long)]
        name: String,
        /// How encoders may push: rtmp, srt, whip, fmp4 (CMAF over MoQT), or any of these
        #[arg(long, default_value = "any", value_parser = ["rtmp", "srt", "whip", "fmp4", "any"], hide_possible_values = true)]
        ingest: String,
        /// Seconds that viewers are kept after the encoder is gone
        #[arg(long, value_name = "S")]
        reconnect_window: Option<u32>,
    },
    /// List live inputs
    List,
    /// Show a live input
    Get {
        /// `lv_…`
        id: String,
    },
    /// Delete a live input; its encoder is cut
    Delete {
        /// `lv_…`
        id: String,
    },
    /// Make a new stream key
    RotateKey {
        /// `lv_…`
        id: String,
        /// Seconds that the old key stays valid; at 0 the encoder on it is cut
        #[arg(long, value_name = "S", default_value_t = 0)]
        grace: u64,
    },
    /// Let encoders publish again
    Enable {
        /// `lv_…`
        id: String,
    },
    /// Cut the encoder and refuse all others
    Disable {
        /// `lv_…`
        id: String,
    },
    /// Cut the encoder; it may come back
    Disconnect {
        /// `lv_…`
        id: String,
    },
}

pub async fn run(client: &Client, command: Live, output: &Output) -> Result<(), Error> {
    let path = |id: &str, action: &str| format!("/v1/live-inputs/{}{action}", segment(id));
    let none = json!({});
    match command {
        Live::Create { name, ingest, reconnect_window } => {
            let mut body = json!({ "name": name, "ingest": ingest });
            if let Some(seconds) = reconnect_window {
                body["reconnect_window_s"] = seconds.into();
            }
            let input = resource(client.post("/v1/live-inputs", &body).await?);
            output.show(&input, || created(&input))
        }
        Live::List => list(client, output).await,
        Live::Get { id } => {
            let input = resource(client.get(&path(&id, "")).await?);
            output.show(&input, || details(&input))
        }
        Live::Delete { id } => {
            client.delete(&path(&id, "")).await?;
            output.show(&json!({ "id": id, "deleted": true }), || format!("Deleted {id}.\n"))
        }
        Live::RotateKey { id, grace } => {
            let body = json!({ "grace_seconds": grace });
            let input = resource(client.post(&path(&id, "/rotate-stream-key"), &body).await?);
            output.show(&input, || rotated(&input, grace))
        }
        Live::Enable { id } => changed(client, output, &path(&id, "/enable"), &none, "Enabled").await,
        Live::Disable { id } => changed(client, output, &path(&id, "/disable"), &none, "Disabled").await,
        Live::Disconnect { id } => {
            changed(client, output, &path(&id, "/disconnect"), &none, "Cut the encoder of").await
        }
    }
}

/// An id as one path segment, whatever a person typed.
pub fn segment(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect()
}

/// The resource inside the envelope.
pub fn resource(mut answer: Value) -> Value {
    answer.get_mut("data").map(Value::take).unwrap_or_default()
}

/// Every row of a list, page after page.
pub async fn all(client: &Client, path: &str) -> Result<Vec<Value>, Error> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut answer = client.get(&format!("{path}?limit={PAGE}{cursor}")).await?;
        if let Some(Value::Array(page)) = answer.get_mut("data").map(Value::take) {
            rows.extend(page);
        }
        match answer.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={}", segment(next)),
            None => return Ok(rows),
        }
    }
}

async fn changed(client: &Client, output: &Output, path: &str, body: &Value, done: &str) -> Result<(), Error> {
    let input = resource(client.post(path, body).await?);
    output.show(&input, || {
        format!("{done} {} ({}); it is {}.\n", field(&input, "id"), field(&input, "name"), field(&input, "status"))
    })
}

async fn list(client: &Client, output: &Output) -> Result<(), Error> {
    let inputs = all(client, "/v1/live-inputs").await?;
    let value = json!({ "data": inputs });
    output.show(&value, || {
        if inputs.is_empty() {
            return "No live inputs yet. Make one with `streams live create --name my-show`.\n".to_owned();
        }
        let row =
            |input: &Value| ["id", "name", "status", "ingest", "created_at"].map(|name| field(input, name)).to_vec();
        table(&["ID", "NAME", "STATUS", "INGEST", "CREATED"], &inputs.iter().map(row).collect::<Vec<_>>())
    })
}

fn created(input: &Value) -> String {
    let (id, key, rtmp) = (field(input, "id"), field(input, "stream_key"), field(input, "urls.rtmp"));
    let shown = pairs(&[
        ("id", id.clone()),
        ("namespace", namespace(input)),
        ("RTMP URL", rtmp.clone()),
        ("RTMPS URL", field(input, "urls.rtmps")),
        ("SRT URL", field(input, "urls.srt")),
        ("WHIP URL", field(input, "urls.whip")),
        ("MoQT URL", field(input, "urls.moqt")),
        ("stream key", key.clone()),
        ("SRT passphrase", field(input, "srt_passphrase")),
    ]);
    let push = how_to_push(input, &key);
    format!(
        "Made live input \"{}\".\n\n{shown}\n\
         The stream key is shown only this once.\n\n\
         {push}\
         Then watch:       streams playback-url {id}\n",
        field(input, "name")
    )
}

/// Commands and settings for the first protocol that the input takes.
fn how_to_push(input: &Value, key: &str) -> String {
    let [rtmp, srt, whip, moqt] = ["rtmp", "srt", "whip", "moqt"].map(|name| field(input, &format!("urls.{name}")));
    if !rtmp.is_empty() {
        return format!(
            "Push with OBS:    Settings > Stream > Custom: server {rtmp}, stream key as above\n\
             Push with ffmpeg: ffmpeg -re -i FILE -c:v libx264 -preset veryfast -g 60 -c:a aac -f flv {rtmp}/{key}\n"
        );
    }
    if !srt.is_empty() {
        let passphrase = field(input, "srt_passphrase");
        return format!(
            "Push with ffmpeg: ffmpeg -re -i FILE -c:v libx264 -preset veryfast -g 60 -c:a aac -f mpegts '{srt}&passphrase={passphrase}'\n"
        );
    }
    if !whip.is_empty() {
        return "Push with OBS:    Settings > Stream > WHIP: server as the WHIP URL above, bearer token: the stream key\n"
            .to_owned();
    }
    format!("Push a file:      streams publish '{moqt}' FILE --loop --realtime\n")
}

fn rotated(input: &Value, grace_s: u64) -> String {
    let old = match grace_s {
        0 => "The old key is refused from now on, and its encoder was cut.".to_owned(),
        grace_s => format!("The old key stays valid for {grace_s} s."),
    };
    let shown = pairs(&[("RTMP URL", field(input, "urls.rtmp")), ("stream key", field(input, "stream_key"))]);
    format!("New stream key of {}, shown only this once:\n\n{shown}\n{old}\n", field(input, "id"))
}

fn namespace(input: &Value) -> String {
    let fields = input.get("namespace").and_then(Value::as_array);
    let fields = fields.into_iter().flatten().filter_map(Value::as_str);
    fields.collect::<Vec<_>>().join("/")
}

fn details(input: &Value) -> String {
    let mut shown = pairs(&[
        ("id", field(input, "id")),
        ("name", field(input, "name")),
        ("status", field(input, "status")),
        ("protocol", field(input, "protocol")),
        ("ingest", field(input, "ingest")),
        ("namespace", namespace(input)),
        ("RTMP URL", field(input, "urls.rtmp")),
        ("RTMPS URL", field(input, "urls.rtmps")),
        ("SRT URL", field(input, "urls.srt")),
        ("WHIP URL", field(input, "urls.whip")),
        ("MoQT URL", field(input, "urls.moqt")),
        ("reconnect", format!("{} s", field(input, "reconnect_window_s"))),
        ("warnings", warnings(input)),
        ("last error", field(input, "last_error")),
        ("created", field(input, "created_at")),
    ]);
    let tracks = input.get("tracks").and_then(Value::as_array).filter(|tracks| !tracks.is_empty());
    if let Some(tracks) = tracks {
        shown.push('\n');
        shown.push_str(&table(&["TRACK", "CODEC", "FORMAT", "BITRATE"], &tracks.iter().map(track).collect::<Vec<_>>()));
    }
    shown
}

fn warnings(input: &Value) -> String {
    let lines = input.get("warnings").and_then(Value::as_array);
    lines.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
}

fn track(track: &Value) -> Vec<String> {
    let format = match (field(track, "height"), field(track, "sample_rate")) {
        (height, _) if !height.is_empty() => {
            format!("{}x{height} @ {}", field(track, "width"), field(track, "framerate"))
        }
        (_, rate) => format!("{rate} Hz, {} channels", field(track, "channels")),
    };
    let bitrate =
        track.get("bitrate").and_then(Value::as_u64).map_or(String::new(), |bits| format!("{} kbit/s", bits / 1000));
    vec![field(track, "name"), field(track, "codec"), format, bitrate]
}
