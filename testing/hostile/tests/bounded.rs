//! The entry points for a few seconds each.

mod play;

#[test]
fn no_bytes_harm_the_decoders() {
    play::play(&play::WIRE);
}

#[test]
fn no_bytes_harm_a_session() {
    play::play(&play::SESSION);
}

#[test]
fn no_lies_harm_the_caches() {
    play::play(&play::SYNCHRONISER);
}

#[test]
fn no_edits_harm_a_tree() {
    play::play(&play::TREE);
}

#[test]
fn no_bytes_harm_a_reader_of_a_shared_file() {
    play::play(&play::SHARE);
}

#[test]
fn no_bytes_harm_a_session_with_caches() {
    play::play(&play::ENGINE);
}
