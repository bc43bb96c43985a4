//! RTMP in, signed playback out: what a broadcaster pushes is what a viewer gets.

use streams_tests::{Encoder, Film, Options, Stack, eventually, played_well};

#[test]
fn b_frames_and_surround_sound_play_as_they_were_sent() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("b-frames");
    let _encoder = Encoder::push(&input, Film::BFrames);
    stack.wait_status(&input, "active");
    let file = stack.data.join("out.mp4");
    let played = stack.play(&stack.urls(&input.id).moqt, &file, "10s");
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    played_well(&file, 10.0, true, Some(6));
}

#[test]
fn video_without_audio_and_audio_without_video_play() {
    let stack = Stack::start(&Options::default());
    for (what, video, audio) in [(Film::VideoOnly, true, None), (Film::AudioOnly, false, Some(2))] {
        let input = stack.live("one-kind");
        let _encoder = Encoder::push(&input, what);
        stack.wait_status(&input, "active");
        let file = stack.data.join("out.mp4");
        let played = stack.play(&stack.urls(&input.id).moqt, &file, "5s");
        assert!(played.status.success(), "{what:?}: {}", String::from_utf8_lossy(&played.stderr));
        played_well(&file, 5.0, video, audio);
    }
}

#[test]
fn a_single_key_frame_is_enough_to_join_from_the_start_of_its_group() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("long-gop");
    let _encoder = Encoder::push(&input, Film::Original);
    stack.wait_status(&input, "active");
    let file = stack.data.join("out.mp4");
    let played = stack.play(&stack.urls(&input.id).moqt, &file, "6s");
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    played_well(&file, 6.0, true, Some(6));
}

#[test]
fn viewers_on_every_shard_get_a_publisher_of_another() {
    let stack = Stack::start(&Options::default());
    let input = stack.live("shards");
    let _encoder = Encoder::push(&input, Film::Gop2s);
    stack.wait_status(&input, "active");
    let url = stack.urls(&input.id).moqt;
    // The kernel spreads viewers over both shards by their ports: of eight, all on one side would be a chance of 1 in 128.
    std::thread::scope(|scope| {
        let viewers: Vec<_> = (0..8)
            .map(|index| {
                let (stack, url) = (&stack, &url);
                scope.spawn(move || {
                    let file = stack.data.join(format!("out{index}.mp4"));
                    let played = stack.play(url, &file, "4s");
                    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
                    played_well(&file, 4.0, true, Some(2));
                })
            })
            .collect();
        viewers.into_iter().for_each(|viewer| viewer.join().expect("every viewer played"));
    });
    assert!(stack.metric("streams_engine_media_received_total") > 0.0, "{}", stack.http_get("/metrics"));
    // A video object is a frame, and each viewer played three seconds of them at least.
    eventually("what the viewers played is counted, on whatever shard they were", || {
        stack.metric("streams_engine_objects_out_total") >= 8.0 * 75.0
            && stack.metric("streams_engine_object_bytes_out_total") > stack.metric("streams_engine_objects_out_total")
            && stack.metric("streams_engine_subscriptions_open") == 0.0
    });
    let (units, objects) =
        (stack.metric("streams_engine_ingest_units_total"), stack.metric("streams_engine_objects_in_total"));
    assert!(objects > 0.0 && objects < 2.0 * units, "{objects} objects of {units} access units: each came in once");
}
