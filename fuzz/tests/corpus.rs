//! The short run: every input of the corpus, and random variations of them. `QCHAT_SEED` repeats a run.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what went wrong by failing, and how to try it again"
)]

use std::{fs, path::Path};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// The number of variations tried on each target.
const TRIES: u32 = 20_000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Returns a variation of an input: bits flipped, bytes removed, doubled or inserted, or the end of another input.
fn like(corpus: &[Vec<u8>], chance: &mut StdRng) -> Vec<u8> {
    let mut bytes = corpus.choose(chance).cloned().unwrap_or_default();
    for _ in 0..chance.random_range(1..6) {
        let place = chance.random_range(0..=bytes.len());
        let end = chance.random_range(place..=bytes.len());
        match chance.random_range(0..5) {
            0 if place < bytes.len() => bytes[place] ^= 1 << chance.random_range(0..8),
            1 => drop(bytes.drain(place..end)),
            2 => {
                let part = bytes[place..end].to_vec();
                bytes.splice(place..place, part);
            }
            3 => bytes.insert(place, chance.random()),
            _ => {
                let other = corpus.choose(chance).cloned().unwrap_or_default();
                let from = chance.random_range(0..=other.len());
                bytes.splice(place.., other[from..].iter().copied());
            }
        }
        bytes.truncate(4_096);
    }
    bytes
}

fn run(name: &str, target: impl Fn(&[u8])) {
    let seed =
        std::env::var("QCHAT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("QCHAT_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let corpus = corpus(name);
    assert!(!corpus.is_empty());
    corpus.iter().for_each(|bytes| target(bytes));
    for _ in 0..TRIES {
        target(&like(&corpus, &mut chance));
    }
}

#[test]
fn frames() {
    run("frame", fuzz::frame);
}

#[test]
fn commands() {
    run("command", fuzz::command);
}

#[test]
fn marks() {
    run("marks", fuzz::marks);
}

#[test]
fn records() {
    run("record", fuzz::record);
}

#[test]
fn decisions() {
    run("decide", fuzz::decide);
}

#[test]
fn envelopes() {
    run("envelope", fuzz::envelope);
}
