//! The security headers of every response, the origin of requests, and what is logged.

use futures_util::SinkExt;
use reqwest::header::{
    CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue, REFERRER_POLICY, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use tokio_tungstenite::tungstenite::Message;

use domain::{
    Problem,
    frame::{ClientCommand, ClientFrame},
};

use crate::support::{
    Person, TestServer,
    client::{handshake, last_words, open},
    client_id,
    process::Process,
};

#[tokio::test]
async fn every_answer_says_what_browsers_are_to_hold_back() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let chat = format!("/chat/{chat}");
    let paths =
        ["/", &chat, "/chat/none", "/nowhere", "/favicon.svg", "/live", "/healthz", "/readyz", "/metrics"];
    for path in paths {
        let headers = ana.get(path).await.headers;
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[REFERRER_POLICY], "same-origin", "{path}");
        for name in ["permissions-policy", "cross-origin-opener-policy", "cross-origin-resource-policy"] {
            assert!(headers.contains_key(name), "{path} {name}");
        }
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(headers.get_all(CONTENT_SECURITY_POLICY).iter().count(), 1, "{path}");
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY), "{path}: there is no TLS");
    }
    let refused = ana.submit("/api/start_chat", &[("nickname", &"x".repeat(99))]).await;
    assert!(refused.headers[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("frame-ancestors 'none'"));
}

#[tokio::test]
async fn a_page_runs_its_own_scripts_and_no_others() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "<script>alert(1)</script>").await;
    let mut nonces = Vec::new();
    for path in ["/", &format!("/chat/{chat}"), "/nowhere"] {
        let page = ana.get(path).await;
        let policy = page.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
        let nonce = policy.split_once("'nonce-").unwrap().1.split_once('\'').unwrap().0;
        assert!(nonce.len() >= 16, "{nonce}");
        let scripts: Vec<_> = page.text.split("<script").skip(1).collect();
        assert_eq!(scripts.is_empty(), path == "/nowhere", "what says one thing needs none");
        for script in scripts {
            let tag = script.split_once('>').unwrap().0;
            // Data is not run.
            let is_data = tag == " type=\"application/json\" id=\"page-data\"";
            assert!(is_data || tag.contains(&format!("nonce=\"{nonce}\"")), "{path}: <script{tag}>");
        }
        assert!(!page.text.contains(" style=") && !page.text.contains("<style"), "{path}");
        nonces.push(nonce.to_owned());
    }
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 3, "each page has one of its own");
}

#[tokio::test]
async fn tls_in_front_is_told_by_a_trusted_proxy_alone() {
    let over_tls =
        HeaderMap::from_iter([("x-forwarded-proto".parse().unwrap(), HeaderValue::from_static("https"))]);
    let visit = async |server: &TestServer| {
        let url = format!("http://{}/", server.address());
        let answer = reqwest::Client::new().get(url).headers(over_tls.clone()).send().await.unwrap();
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap().to_owned();
        let is_sure = cookie.starts_with("__Host-qchat_session=");
        assert_eq!(is_sure, cookie.contains("Secure"), "{cookie}");
        (is_sure, answer.headers().contains_key(STRICT_TRANSPORT_SECURITY))
    };
    let alone = TestServer::start().await;
    assert_eq!(visit(&alone).await, (false, false));
    let behind =
        TestServer::start_by(|settings| settings.trusted_proxies = "127.0.0.0/8".parse().unwrap()).await;
    assert_eq!(visit(&behind).await, (true, true));
    let direct = Person::arrive(behind.address()).await;
    assert!(!direct.get("/").await.headers.contains_key(STRICT_TRANSPORT_SECURITY), "it did not say so");
}

#[tokio::test]
async fn the_log_has_no_secret_no_address_and_nothing_of_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = [("QCHAT_LOG", "trace"), ("QCHAT_TRUSTED_PROXIES", "127.0.0.1")];
    let mut process = Process::start_with(folder.path(), &proxy);
    let ana = Person::arrive(process.address).await;
    let chat = ana.start_chat("Ana Hidden", "A title nobody reads").await;
    let mut here = ana.watch(chat).await;
    let message = here.post(chat, client_id(1), "what was said").await.unwrap();
    let mut from_afar = HeaderMap::new();
    from_afar.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.77"));
    let id = chat.to_string();
    let form = [("chat", &*id), ("client_id", &*client_id(2).to_string()), ("body", "by a form")];
    ana.submit_with("/api/post_message", &form, from_afar).await;
    here.do_it(ClientCommand::RemoveMessage { chat, message }).await.unwrap();
    // Failures are logged in more detail than successes.
    here.send(&ClientFrame::Typing { chat: "0000000000000000".parse().unwrap() }).await;
    here.wire.send(Message::text("not a frame, but what was said")).await.unwrap();
    here.wire.send(Message::binary(vec![0])).await.unwrap();
    while here.try_next().await.is_some() {}
    ana.get("/chat/what was said").await;
    let said = process.said();
    let secret = ana.cookie.split_once('=').unwrap().1;
    for hidden in [secret, "what was said", "by a form", "A title", "Ana Hidden", "192.0.2.77", &id] {
        assert!(!said.contains(hidden), "{hidden:?} is in the log: {said}");
    }
    process.kill();
}

#[tokio::test]
async fn two_sessions_that_differ_are_refused_with_words_on_what_to_do() {
    let server = TestServer::start().await;
    let (ana, eve) = (server.person().await, server.person().await);
    let cookie = format!("{}; {}", ana.cookie, eve.cookie);
    let both = Person { cookie: cookie.clone(), ..ana.clone() };
    let page = both.get("/").await;
    assert_eq!((page.status.as_u16(), page.headers.get(SET_COOKIE)), (401, None));
    assert!(page.text.contains("Clear the cookies of this site"), "{}", page.text);
    let form = both.submit("/api/start_chat", &[("title", "typed already")]).await;
    assert!(form.text.contains("Clear the cookies") && form.text.contains("typed already"), "{}", form.text);
    let wire = open(handshake(server.address(), Some(&cookie))).await.unwrap();
    assert_eq!(last_words(wire).await, (Some(Problem::TwoSessions), Some(4401)));
    let planted = Person { cookie: format!("qchat_session=planted; {}", ana.cookie), ..ana };
    assert_eq!(planted.get("/").await.headers.get(SET_COOKIE), None, "one that does not hold is passed over");
}

#[tokio::test]
async fn a_host_with_its_port_or_in_capitals_is_this_site_and_what_is_refused_is_logged_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start_with(folder.path(), &[("QCHAT_LOG", "warn")]);
    let ana = Person::arrive(process.address).await;
    let from = |host: &str, origin: &str| {
        [("host", host), ("origin", origin)]
            .map(|(name, value)| (name.parse().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .into_iter()
            .collect::<HeaderMap>()
    };
    let live = async |headers: HeaderMap| {
        let mut request = handshake(process.address, Some(&ana.cookie));
        for (name, value) in headers {
            request.headers_mut().insert(name.unwrap(), value);
        }
        open(request).await.is_ok()
    };
    for (host, origin, is_taken) in [
        ("chat.example:443", "https://chat.example", true),
        ("Chat.EXAMPLE", "https://chat.example", true),
        ("127.0.0.1:3000", "https://chat.example", false),
        ("chat.example", "https://evil.example", false),
    ] {
        let form = [("title", "Tea")];
        let status = ana.submit_with("/api/start_chat", &form, from(host, origin)).await.status;
        assert_eq!(status.as_u16(), if is_taken { 303 } else { 403 }, "{host} {origin}");
        assert_eq!(live(from(host, origin)).await, is_taken, "{host} {origin}");
    }
    let said = process.said();
    assert!(said.contains("127.0.0.1:3000") && said.contains("https://chat.example"), "{said}");
    assert_eq!(said.matches("a page of another site").count(), 1, "{said}");
}
