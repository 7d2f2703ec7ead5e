//! Session keys that nodes share.

use async_nats::jetstream;
use cluster::keys::{KEY_BYTES, OwnKeys, SessionKey, SessionKeys, SharedKeys};
use futures_util::future::join_all;
use nats_fixture::Nats;
use tokio::sync::watch;

use crate::support::{connect, settings, until, within};

fn keys(byte: u8) -> SessionKeys {
    SessionKeys { current: SessionKey([byte; KEY_BYTES]), old: None }
}

async fn shared(nats: &Nats) -> SharedKeys {
    let settings = settings(nats);
    SharedKeys::new(connect(&settings).await, &settings)
}

#[tokio::test]
async fn nodes_that_start_at_once_agree_on_the_keys_of_one_of_them() {
    let Some(nats) = Nats::one().await else { return };
    let nodes = [shared(&nats).await, shared(&nats).await, shared(&nats).await];
    assert_eq!(nodes[0].read().await, Ok(None));
    let agreed = join_all((1..).zip(&nodes).map(async |(byte, node)| node.agree(keys(byte)).await.unwrap()));
    let agreed = agreed.await;
    assert!((1..=3).any(|byte| agreed == [keys(byte); 3]), "{}", agreed.len());
    assert_eq!(nodes[0].agree(keys(9)).await, Ok(agreed[0]));
    assert_eq!(nodes[1].read().await, Ok(Some(agreed[0])));
}

#[tokio::test]
async fn an_old_key_is_shared_as_well() {
    let Some(nats) = Nats::one().await else { return };
    let both = SessionKeys { old: Some(keys(1).current), ..keys(2) };
    shared(&nats).await.agree(both).await.unwrap();
    assert_eq!(shared(&nats).await.agree(keys(3)).await, Ok(both));
}

#[tokio::test]
async fn a_rotation_on_one_node_holds_on_all() {
    let Some(nats) = Nats::one().await else { return };
    let (one, other) = (shared(&nats).await, shared(&nats).await);
    one.agree(keys(1)).await.unwrap();
    let followed = watch::Sender::new(other.agree(keys(2)).await.unwrap());
    let mut seen = followed.subscribe();
    let follower = tokio::spawn(async move { other.follow(&followed).await });
    let rotated = one.rotate(keys(1).current, keys(3).current).await.unwrap();
    assert_eq!(rotated, SessionKeys { current: keys(3).current, old: Some(keys(1).current) });
    within(seen.wait_for(|keys| *keys == rotated)).await.unwrap();
    // Who comes late with the same rotation gets what holds.
    assert_eq!(one.rotate(keys(1).current, keys(4).current).await, Ok(rotated));
    let twice = one.rotate(keys(3).current, keys(5).current).await.unwrap();
    within(seen.wait_for(|keys| *keys == twice)).await.unwrap();
    follower.abort();
}

#[tokio::test]
async fn keys_that_are_deleted_while_nodes_run_are_put_back() {
    let Some(nats) = Nats::one().await else { return };
    let (one, other) = (shared(&nats).await, shared(&nats).await);
    let both = SessionKeys { old: Some(keys(1).current), ..keys(2) };
    let followed = watch::Sender::new(one.agree(both).await.unwrap());
    let follower = tokio::spawn(async move { one.follow(&followed).await });
    let context = jetstream::new(connect(&settings(&nats)).await.client().clone());
    context.delete_key_value("qchat_keys").await.unwrap();
    until(async || (other.read().await == Ok(Some(both))).then_some(())).await;
    follower.abort();
}

#[tokio::test]
async fn what_is_done_to_the_files_of_one_node_is_done_for_all() {
    let Some(nats) = Nats::one().await else { return };
    let node = shared(&nats).await;
    let [a, b, c] = [1, 2, 3].map(|byte| keys(byte).current);
    let own = |current, old, drawn| OwnKeys { current, old, drawn };
    assert_eq!(node.settle(own(None, None, a)).await, Ok(keys(1)));
    assert_eq!(node.settle(own(None, None, b)).await, Ok(keys(1)), "a new node");
    let rotated = SessionKeys { current: b, old: Some(a) };
    assert_eq!(node.settle(own(None, Some(a), b)).await, Ok(rotated), "it was put aside");
    assert_eq!(node.settle(own(Some(a), None, c)).await, Ok(rotated), "it was away meanwhile");
    assert_eq!(node.settle(own(Some(b), Some(a), c)).await, Ok(rotated));
    assert_eq!(node.settle(own(Some(b), None, c)).await, Ok(keys(2)), "the old one was removed");
    assert_eq!(node.read().await, Ok(Some(keys(2))));
    let again = SessionKeys { current: c, old: Some(b) };
    assert_eq!(node.settle(own(None, Some(b), c)).await, Ok(again));
}

#[tokio::test]
async fn of_two_rotations_at_once_one_holds() {
    let Some(nats) = Nats::one().await else { return };
    let nodes = [shared(&nats).await, shared(&nats).await];
    nodes[0].agree(keys(1)).await.unwrap();
    let rotated = join_all(
        (2..)
            .zip(&nodes)
            .map(async |(byte, node)| node.rotate(keys(1).current, keys(byte).current).await.unwrap()),
    );
    let rotated = rotated.await;
    assert_eq!(rotated[0], rotated[1]);
    assert_eq!(rotated[0].old, Some(keys(1).current));
    assert_eq!(nodes[0].read().await, Ok(Some(rotated[0])));
}

#[tokio::test]
async fn what_is_no_key_is_told() {
    let Some(nats) = Nats::one().await else { return };
    let node = shared(&nats).await;
    node.agree(keys(1)).await.unwrap();
    let client = connect(&settings(&nats)).await;
    let store = jetstream::new(client.client().clone()).get_key_value("qchat_keys").await.unwrap();
    store.put("current", "short".into()).await.unwrap();
    let said = node.read().await.unwrap_err().to_string();
    assert_eq!(said, "NATS refuses it: a session key in it is not of 64 bytes");
}
