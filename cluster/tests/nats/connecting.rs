//! What the operator is told if NATS cannot be used.

use async_nats::jetstream::{self, stream::Config};
use cluster::{
    Connection, NatsSettings, Trouble,
    connection::CannotConnect,
    settings::{Login, Replicas, Secret},
    stream::LogStream,
};
use nats_fixture::Nats;

use crate::support::{Node, connect, settings, until, within};

/// Waits until the connection has another trouble than that there is no answer yet.
async fn trouble(connection: &Connection) -> String {
    let trouble = until(async || {
        connection.trouble().filter(|trouble| !trouble.to_string().ends_with("no answer yet"))
    });
    trouble.await.to_string()
}

#[tokio::test]
async fn a_server_that_is_away_is_named_and_found_when_it_comes() {
    let Some(mut nats) = Nats::one().await else { return };
    let settings = settings(&nats);
    nats.kill(0);
    let connection = Connection::open(&settings).await.unwrap();
    let address = nats.url(0).replace("nats://", "");
    let expected = format!("NATS at {address} cannot be reached: no server takes the connection");
    assert_eq!(trouble(&connection).await, expected);
    assert_eq!(
        LogStream::new(connection.clone(), &settings).look().await.unwrap_err().to_string(),
        expected,
        "requests do not wait for a connection"
    );
    nats.start(0).await;
    within(connection.connected()).await;
    assert_eq!((connection.trouble(), connection.connects()), (None, 1));
}

#[tokio::test]
async fn a_refused_login_is_told() {
    let configuration = "authorization { user: qchat, password: secret }";
    let Some(nats) = Nats::one_with(configuration).await else { return };
    let mut settings = settings(&nats);
    let refused = "NATS refuses the login: look at the user and password, the token or the credentials file of this node";
    let none = Connection::open(&settings).await.unwrap();
    assert_eq!(trouble(&none).await, refused);
    let login = |password: &str| {
        let (user, password) = ("qchat".to_owned(), Secret::from(password.to_owned()));
        Some(Login::Password { user, password })
    };
    settings.login = login("wrong");
    let wrong = Connection::open(&settings).await.unwrap();
    assert_eq!(trouble(&wrong).await, refused);
    settings.login = login("secret");
    let node = Node::with(settings).await;
    assert_eq!(node.stream.connection().trouble(), None);
}

#[tokio::test]
async fn what_a_login_is_not_allowed_is_named() {
    let configuration = r#"authorization { users: [
        { user: qchat, password: secret, permissions: { publish: "qchat.>", subscribe: "_INBOX.>" } }
    ] }"#;
    let Some(nats) = Nats::one_with(configuration).await else { return };
    let mut settings = settings(&nats);
    settings.login =
        Some(Login::Password { user: "qchat".to_owned(), password: Secret::from("secret".to_owned()) });
    let stream = LogStream::new(connect(&settings).await, &settings);
    let said = stream.look().await.unwrap_err().to_string();
    assert!(said.starts_with("NATS does not allow something that Qchat needs: "), "{said}");
    assert!(said.contains("STREAM.INFO.qchat_log"), "{said}");
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_an_error_at_once() {
    let mut settings = cluster::NatsSettings::of("127.0.0.1".parse().unwrap());
    settings.login = Some(Login::Credentials("/nowhere/to/be/found".into()));
    let error = Connection::open(&settings).await.err().unwrap();
    assert!(matches!(error, CannotConnect::Unreadable { .. }), "{error}");
    assert!(error.to_string().starts_with("could not read /nowhere/to/be/found: "), "{error}");
    settings.login = None;
    settings.tls.authorities = Some("/nowhere/to/be/found".into());
    assert!(Connection::open(&settings).await.is_err());
}

#[tokio::test]
async fn servers_without_jetstream_are_told() {
    let Some(nats) = Nats::without_jetstream().await else { return };
    let settings = settings(&nats);
    let stream = LogStream::new(connect(&settings).await, &settings);
    assert_eq!(stream.look().await, Err(Trouble::NoJetStream));
    assert_eq!(stream.open().await, Err(Trouble::NoJetStream));
}

#[tokio::test]
async fn a_server_that_takes_only_small_messages_is_told() {
    let Some(nats) = Nats::one_with("max_payload: 64KB").await else { return };
    let settings = settings(&nats);
    let connection = connect(&settings).await;
    assert_eq!(
        trouble(&connection).await,
        "NATS takes messages of up to 65536 bytes, and 524288 are needed: raise its `max_payload`"
    );
    let stream = LogStream::new(connection, &settings);
    assert!(matches!(stream.open().await, Err(Trouble::SmallPayload { allowed: 65_536, .. })));
}

#[tokio::test]
async fn replicas_that_are_not_to_be_had_are_told() {
    let Some(nats) = Nats::one().await else { return };
    let mut settings = settings(&nats);
    settings.replicas = Some(Replicas::THREE);
    let stream = LogStream::new(connect(&settings).await, &settings);
    assert_eq!(stream.open().await, Err(Trouble::TooFewServers { replicas: 3 }));
}

#[tokio::test]
async fn room_that_is_not_to_be_had_is_told() {
    let Some(nats) = Nats::one().await else { return };
    let mut settings = settings(&nats);
    settings.max_log_bytes = Some(1 << 40);
    let stream = LogStream::new(connect(&settings).await, &settings);
    let trouble = stream.open().await.unwrap_err();
    assert!(matches!(trouble, Trouble::NoRoom(_)), "{trouble}");
}

#[tokio::test]
async fn replicas_and_the_size_of_the_log_fit_the_servers_unless_they_are_told() {
    let Some(nats) = Nats::one().await else { return };
    let settings = NatsSettings { max_log_bytes: None, ..settings(&nats) };
    let connection = connect(&settings).await;
    let context = jetstream::new(connection.client().clone());
    // The server has 8 GB.
    let other = Config { name: "other".to_owned(), max_bytes: 6 << 30, ..Config::default() };
    context.create_stream(other).await.unwrap();
    let state = LogStream::new(connection, &settings).open().await.unwrap();
    assert_eq!(state.max_bytes, Some(1 << 30));
    let stream = context.get_stream("qchat_log").await.unwrap();
    assert_eq!(stream.cached_info().config.num_replicas, 1);
}
