//! What an operator is told: the metrics and what watches them, the ids of requests, and the lines of the log.

use std::{collections::BTreeSet, fs, path::Path};

use domain::{Problem, frame::ClientFrame};
use reqwest::header::{HeaderMap, HeaderValue, ORIGIN};

use crate::{
    cluster::{Cluster, until_ready},
    support::{Person, TestServer, client::soon, client_id, process::Process},
};

/// What is in NATS and called like metrics: the streams of the log and of the pictures, the bucket of the keys and the store of the
/// snapshots.
const IN_NATS: [&str; 4] = ["qchat_log", "qchat_pictures", "qchat_keys", "qchat_snapshots"];

/// Reads a file of the sources.
fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

/// Returns the names of metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| {
        ["qchat_", "process_"].iter().any(|start| word.starts_with(start)) && !IN_NATS.contains(word)
    };
    words.filter(is_metric).map(str::to_owned).collect()
}

/// Returns the value of a series.
async fn metric(person: &Person, series: &str) -> f64 {
    let text = person.get("/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in {text}")).parse().unwrap()
}

#[tokio::test]
async fn what_happens_is_counted_and_measured() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let (mut of_ana, mut of_bea) = (ana.watch(chat).await, bea.watch(chat).await);
    for number in 1..=3 {
        of_ana.post(chat, client_id(number), "hello").await.unwrap();
    }
    of_ana.events(3).await;
    of_bea.events(3).await;
    // counted just after they are written
    soon(async { while metric(&ana, "qchat_deliveries_total").await < 6.0 {} }).await;
    for (series, expected) in [
        ("qchat_posts_total", 3.0),
        ("qchat_deliveries_total", 6.0),
        ("qchat_members", 2.0),
        ("qchat_connections", 2.0),
        ("qchat_log_behind", 0.0),
        // a nickname, a chat and the messages
        ("qchat_durable_seconds_count", 5.0),
        ("qchat_http_requests_total{route=\"/\",status=\"200\"}", 2.0),
        ("qchat_http_requests_total{route=\"/live\",status=\"101\"}", 2.0),
    ] {
        assert_eq!(metric(&ana, series).await, expected, "{series}");
    }
    for series in [
        "qchat_fsync_seconds_count",
        "qchat_transaction_seconds_count",
        "qchat_delivery_seconds_count",
        "qchat_database_bytes",
        "qchat_write_ahead_log_bytes",
        "qchat_page_render_seconds_count",
        "process_resident_memory_bytes",
    ] {
        assert!(metric(&ana, series).await > 0.0, "{series}");
    }
}

#[tokio::test]
async fn refusals_and_ended_connections_are_counted_by_their_reason() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    here.send(&ClientFrame::Watch { chat: "0000000000000000".parse().unwrap(), after: None }).await;
    here.find(|frame| match frame {
        domain::frame::ServerFrame::Refused { problem, .. } => Some(*problem),
        _ => None,
    })
    .await;
    assert_eq!(ana.get("/chat/none").await.status, 404);
    assert_eq!(ana.submit("/api/start_chat", &[("nickname", &*"x".repeat(21))]).await.status, 422);
    let refused = |problem: Problem| format!("qchat_refusals_total{{reason=\"{}\"}}", problem.code());
    assert_eq!(metric(&ana, &refused(Problem::UnknownChat)).await, 2.0);
    assert_eq!(metric(&ana, &refused(Problem::NicknameTooLong)).await, 1.0);
    drop(here);
    soon(async { while metric(&ana, "qchat_connections").await > 0.0 {} }).await;
    assert_eq!(metric(&ana, "qchat_closed_connections_total{reason=\"gone\"}").await, 1.0);
}

/// The alerts and the dashboard watch what there is, and an operator who is called finds what to do.
#[tokio::test]
async fn all_that_watches_the_metrics_names_those_there_are() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    ana.watch(chat).await.post(chat, client_id(1), "hello").await.unwrap();
    ana.get("/chat/none").await;
    soon(async { while metric(&ana, "qchat_connections").await > 0.0 {} }).await;
    let Some(cluster) = Cluster::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let node = cluster.begin(folder.path(), &[("QCHAT_SNAPSHOT_INTERVAL", "1s")]);
    until_ready(node.address).await;
    let operator = Person::arrive(node.address).await;
    // There are metrics of snapshots as soon as there is one.
    let of_cluster = soon(async {
        loop {
            let text = operator.get("/metrics").await.text;
            if text.contains("qchat_snapshot_bytes") {
                break text;
            }
        }
    });
    let text = ana.get("/metrics").await.text + &of_cluster.await;
    let (mut there, mut series) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        there.insert(name.to_owned());
        series.insert(name.to_owned());
        if kind == "histogram" {
            series.extend(["bucket", "count", "sum"].map(|part| format!("{name}_{part}")));
        }
    }
    assert!(there.len() > 30, "{there:?}");
    let (alerts, dashboard) = (read("deploy/prometheus/alerts.yaml"), read("deploy/grafana/qchat.json"));
    let manual = read("docs/operations.md");
    for (file, text) in [("alerts.yaml", &alerts), ("qchat.json", &dashboard), ("operations.md", &manual)] {
        let unknown: Vec<_> = metrics_in(text).difference(&series).cloned().collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}, which there are not");
    }
    let explained =
        |name: &&String| manual.contains(&format!("`{name}`")) || manual.contains(&format!("`{name}{{"));
    let unexplained: Vec<_> = there.iter().filter(|name| !explained(name)).collect();
    assert!(unexplained.is_empty(), "docs/operations.md does not explain {unexplained:?}");

    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10);
    for name in &names {
        assert!(
            manual.contains(&format!("**{name}** (")),
            "what to do about {name} is not in docs/operations.md"
        );
    }
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        let description = panel["description"].as_str().unwrap_or_default();
        for word in description.split(|c: char| !c.is_ascii_alphanumeric()) {
            let is_alert = word.strip_prefix("Qchat").is_some_and(|rest| !rest.is_empty());
            assert!(!is_alert || names.contains(&word), "{word} is named in the dashboard and is no alert");
        }
    }
}

/// The variables that the files of `deploy` set are those of the program.
#[test]
fn deployed_settings_are_those_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let help = Process::help(folder.path());
    // what a cluster is set up by; these are of the files themselves
    let of_files = ["QCHAT_SITE", "QCHAT_NODES"];
    let is_setting = |name: &str| name.starts_with("QCHAT_") || name.starts_with("LEPTOS_");
    for file in ["Dockerfile", "compose.yaml", "kubernetes.yaml", "qchat.service"] {
        let text = read(&format!("deploy/{file}"));
        for name in text.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(|name| is_setting(name))
        {
            let is_of_cluster = name.starts_with("QCHAT_NATS_") || name == "QCHAT_NODE";
            let is_there = help.contains(&format!("[env: {name}]"));
            assert!(is_there || is_of_cluster || of_files.contains(&name), "{name} in {file} is no setting");
        }
    }
}

#[tokio::test]
async fn every_answer_has_an_id_which_a_trusted_proxy_may_give() {
    let given = |id: &'static str| {
        HeaderMap::from_iter([("x-request-id".parse().unwrap(), HeaderValue::from_static(id))])
    };
    let ask = async |server: &TestServer, headers: HeaderMap| {
        let url = format!("http://{}/healthz", server.address());
        let answer = reqwest::Client::new().get(url).headers(headers).send().await.unwrap();
        answer.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    let alone = TestServer::start().await;
    let ana = alone.person().await;
    let mut ids = BTreeSet::new();
    let paths = ["/", "/chat/none", "/nowhere", "/favicon.svg", "/live", "/healthz", "/readyz", "/metrics"];
    for path in paths {
        let id = ana.get(path).await.headers["x-request-id"].to_str().unwrap().to_owned();
        assert!(id.len() == 16 && id.chars().all(|c| c.is_ascii_hexdigit()), "{path}: {id}");
        ids.insert(id);
    }
    assert_eq!(ids.len(), paths.len(), "each has one of its own");
    assert_ne!(ask(&alone, given("planted")).await, "planted", "a client is not trusted");

    let behind =
        TestServer::start_by(|settings| settings.trusted_proxies = "127.0.0.0/8".parse().unwrap()).await;
    assert_eq!(ask(&behind, given("5f2c-A.b_9")).await, "5f2c-A.b_9");
    assert_eq!(ask(&behind, HeaderMap::new()).await.len(), 16);
    for unfit in
        ["", "two words", "quote\"", "0123456789012345678901234567890123456789012345678901234567890123456789"]
    {
        assert_ne!(ask(&behind, given(unfit)).await, unfit);
    }
}

#[tokio::test]
async fn what_is_logged_of_a_request_has_its_id_at_every_level() {
    let foreign = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("https://evil.example"))]);
    for (format, level) in [("text", "warn"), ("json", "warn"), ("json", "server=debug")] {
        let folder = tempfile::tempdir().unwrap();
        let log = [("QCHAT_LOG", level), ("QCHAT_LOG_FORMAT", format)];
        let mut process = Process::start_with(folder.path(), &log);
        let ana = Person::arrive(process.address).await;
        let refused = ana.submit_with("/api/start_chat", &[("title", "Tea")], foreign.clone()).await;
        assert_eq!(refused.status, 403);
        let id = refused.headers["x-request-id"].to_str().unwrap();
        let said = process.said();
        let line = said
            .lines()
            .find(|line| line.contains("a page of another site"))
            .unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(id) && line.contains("/api"), "{id} is not in {line}");
        if format == "json" {
            let lines = said.lines().map(|line| serde_json::from_str(line).unwrap());
            let lines: Vec<serde_json::Value> = lines.collect();
            let is_refusal = |line: &&serde_json::Value| {
                line["message"].as_str().is_some_and(|message| message.contains("another site"))
            };
            let refusal = lines.iter().find(is_refusal).unwrap();
            assert_eq!((&refusal["level"], &refusal["span"]["id"]), (&"WARN".into(), &id.into()));
            assert_eq!(refusal["span"]["route"], "/api");
            let answered =
                lines.iter().find(|line| line["message"] == "answered" && line["span"]["id"] == id);
            assert_eq!(answered.map(|line| line["status"].clone()), (level != "warn").then(|| 403.into()));
        }
        process.kill();
    }
}

/// Reads one request of HTTP, and answers that all is well.
fn collect(collector: &std::net::TcpListener) -> Vec<u8> {
    use std::io::{Read, Write};

    let (mut stream, _) = collector.accept().unwrap();
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let length = text
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.lines().next()?.parse::<usize>().ok());
        let head = request.windows(4).position(|end| end == b"\r\n\r\n");
        if let (Some(length), Some(head)) = (length, head)
            && request.len() >= head + 4 + length
        {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            return request;
        }
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "{text}");
        request.extend_from_slice(&part[..count]);
    }
}

#[tokio::test]
async fn traces_of_requests_are_sent_to_a_collector() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", collector.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start_with(folder.path(), &[("QCHAT_TRACES", &url)]);
    let ana = Person::arrive(process.address).await;
    let id = ana.get("/healthz").await.headers["x-request-id"].to_str().unwrap().to_owned();
    let has = |sent: &[u8], part: &str| sent.windows(part.len()).any(|found| found == part.as_bytes());
    let wanted = id.clone();
    let collecting = tokio::task::spawn_blocking(move || {
        let mut sent = Vec::new();
        while !has(&sent, &wanted) {
            sent.extend(collect(&collector));
        }
        sent
    });
    // the last ones are sent before it ends
    tokio::task::spawn_blocking(|| process.stop()).await.unwrap();
    let sent = soon(collecting).await.unwrap();
    for part in ["POST /v1/traces", "request", "/healthz", &id] {
        assert!(has(&sent, part), "{part} is not in {}", String::from_utf8_lossy(&sent));
    }
    let wrong = Process::fail_with(folder.path(), "127.0.0.1:0", &[("QCHAT_TRACES", "nowhere at all")]);
    assert!(wrong.said.contains("--traces"), "{}", wrong.said);
}
