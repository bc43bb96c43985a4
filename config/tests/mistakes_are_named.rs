//! What a person is told when `streams.toml` or the environment is wrong.

use std::path::Path;

use streams_config::{Config, KEYS, Poll};

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("streams.toml")).map_err(|error| error.to_string())
}

fn with_env(pairs: &[(&str, &str)]) -> Result<Config, String> {
    Config::load(None, pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()))).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn the_printed_configuration_reads_back_as_itself() {
    let mut config = Config::default();
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
    config.ports.quic = 14433;
    config.engine.poll = Poll::Busy;
    config.server.data = "/tmp/a \"quoted\" folder".into();
    let text = config.to_toml();
    assert_eq!(parse(&text).unwrap(), config);
    assert!(text.contains("Default: 4433"), "{text}");
}

#[test]
fn every_key_is_printed_with_a_comment() {
    let text = Config::default().to_toml();
    for key in KEYS {
        assert!(!key.doc.is_empty(), "{} has no comment", key.path);
        assert!(text.contains(&format!("\n{} = ", key.key)), "{} is not printed", key.path);
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
    let error = parse("# a comment\n[relay]\nopn = true\n").unwrap_err();
    assert_eq!(error, "streams.toml:3: unknown key `relay.opn`; the nearest known key is `relay.open`");
    let error = parse("[server]\nquic = 1\n").unwrap_err();
    assert!(error.contains("nearest known key is `ports.quic`"), "{error}");
    let error = parse("[port]\nquic = 1\n").unwrap_err();
    assert_eq!(error, "streams.toml:1: unknown section `[port]`; the nearest known one is `[ports]`");
}

#[test]
fn a_value_of_the_wrong_type_or_range_is_refused_with_what_is_accepted() {
    let error = parse("[ports]\n\nquic = 70000\n").unwrap_err();
    assert_eq!(error, "streams.toml:3: `ports.quic` = 70000 is refused: it must be a whole number from 1 to 65535");
    let error = parse("[engine]\npoll = \"lazy\"\n").unwrap_err();
    assert!(error.contains("streams.toml:2") && error.contains("\"adaptive\" \"busy\""), "{error}");
    assert!(parse("[relay]\nopen = \"yes\"\n").unwrap_err().contains("true or false"));
    assert!(parse("[server]\nhost = \"localhost\"\n").unwrap_err().contains("an IP address"));
    assert!(parse("server = 3\n").unwrap_err().contains("write `[server]`"));
}

#[test]
fn a_ring_of_af_xdp_takes_a_power_of_two_within_its_range() {
    let text = "[engine]\nxdp_rx_frames = 512\nxdp_send_frames = 1000\nxdp_busy_poll_us = 0\n";
    let engine = parse(text).unwrap().engine;
    assert_eq!((engine.xdp_rx_frames.get(), engine.xdp_send_frames, engine.xdp_busy_poll_us), (512, 1000, 0));
    for key in ["xdp_fill_frames", "xdp_rx_frames", "xdp_tx_frames", "xdp_completion_frames"] {
        for wrong in ["0", "32", "100", "131072", "4294967296", "-64", "\"64\""] {
            let error = parse(&format!("[engine]\n\n{key} = {wrong}\n")).unwrap_err();
            let wanted = format!(
                "streams.toml:3: `engine.{key}` = {wrong} is refused: it must be a power of two from 64 to 65536"
            );
            assert_eq!(error, wanted);
        }
    }
    assert!(parse("[engine]\nxdp_send_frames = 63\n").unwrap_err().contains("a whole number from 64 to 262144"));
    assert!(parse("[engine]\nxdp_busy_poll_budget = 0\n").unwrap_err().contains("a whole number from 1 to 64"));
    assert_eq!(with_env(&[("STREAMS_ENGINE_XDP_TX_FRAMES", "64")]).unwrap().engine.xdp_tx_frames.get(), 64);
    let error = with_env(&[("STREAMS_ENGINE_XDP_TX_FRAMES", "65")]).unwrap_err();
    assert!(error.contains("environment variable STREAMS_ENGINE_XDP_TX_FRAMES") && error.contains("power of two"));
}

#[test]
fn a_syntax_error_names_its_line() {
    let error = parse("[ports]\nquic = 1\nrtmp == 2\n").unwrap_err();
    assert!(error.starts_with("streams.toml:3: not valid TOML"), "{error}");
}

#[test]
fn the_environment_wins_over_the_file_and_its_mistakes_name_the_variable() {
    let config = with_env(&[("STREAMS_PORTS_HTTP_DEV", "18080"), ("STREAMS_DATA", "elsewhere")]).unwrap();
    assert_eq!(config.ports.http_dev, 18080);
    let error = with_env(&[("STREAMS_PORTS_QUIC", "many")]).unwrap_err();
    assert!(error.contains("environment variable STREAMS_PORTS_QUIC") && error.contains("ports.quic"), "{error}");
}

#[test]
fn an_open_relay_is_refused_off_loopback_and_outside_the_dev_profile() {
    assert!(parse("[relay]\nopen = true\n").unwrap().relay.open);
    let error = parse("[server]\nhost = \"0.0.0.0\"\n[relay]\nopen = true\n").unwrap_err();
    assert!(error.starts_with("streams.toml:4: `relay.open` is refused"), "{error}");
    assert!(parse("[server]\nprofile = \"production\"\n[relay]\nopen = true\n").unwrap_err().contains("relay.open"));
    let error = with_env(&[("STREAMS_RELAY_OPEN", "true"), ("STREAMS_SERVER_HOST", "::")]).unwrap_err();
    assert!(error.contains("STREAMS_RELAY_OPEN"), "{error}");
}

#[test]
fn two_services_on_one_port_are_refused() {
    let error = parse("[ports]\nhttps = 8080\n").unwrap_err();
    assert!(error.contains("ports.http_dev") && error.contains("ports.https"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/streams.toml")), []).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/streams.toml"), "{error}");
}

#[test]
fn the_data_directory_follows_the_key_then_xdg_then_home() {
    let mut config = Config::default();
    let env = |name: &str| (name == "HOME").then(|| "/home/ann".into());
    assert_eq!(config.data_dir(env).unwrap(), Path::new("/home/ann/.local/share/streams"));
    let xdg = |name: &str| (name == "XDG_DATA_HOME").then(|| "/xdg".into());
    assert_eq!(config.data_dir(xdg).unwrap(), Path::new("/xdg/streams"));
    assert_eq!(config.data_dir(|_| None), None);
    config.server.data = "/srv/streams".into();
    assert_eq!(config.data_dir(|_| None).unwrap(), Path::new("/srv/streams"));
}
