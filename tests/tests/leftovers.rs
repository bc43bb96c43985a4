//! What is deleted leaves nothing on the disk.

use streams_tests::{Encoder, Film, Options, Signal, Stack, eventually, kill};

#[test]
fn the_saved_group_id_of_a_deleted_input_goes_at_once_or_at_the_next_start() {
    let stack = Stack::start(&Options::default());
    let (input, stays) = (stack.live("deleted"), stack.live("stays"));
    let groups = stack.data.join("engine/groups");
    let _encoders = [Encoder::push(&input, Film::Gop2s), Encoder::push(&stays, Film::Gop2s)];
    eventually("both are saved", || groups.join(&input.id).exists() && groups.join(&stays.id).exists());
    assert!(stack.cli(&["live", "delete", &input.id]).status.success());
    eventually("it is removed", || !groups.join(&input.id).exists());

    // Deleted while no engine ran, as far as the engine can tell.
    std::fs::write(groups.join("lv_01ARZ3NDEKTSV4RRFFQ69G5FAV"), "1\n").expect("written");
    let old = stack.engine_pid();
    kill(old, Signal::KILL);
    eventually("another engine runs", || stack.engine_pid() != old);
    eventually("it tidies up", || !groups.join("lv_01ARZ3NDEKTSV4RRFFQ69G5FAV").exists());
    assert!(groups.join(&stays.id).exists(), "what is there is kept");
    assert!(!groups.join(&input.id).exists());
}
