//! Pages and forms in a browser without WASM.

use domain::{page::PAGE_EVENTS, text::BODY_LIMIT};
use reqwest::{
    StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, ORIGIN,
        SET_COOKIE,
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Person, TestServer, bodies, client_id};

fn header(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())])
}

#[tokio::test]
async fn the_page_of_a_chat_has_its_history_and_members_in_it() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tom & Jerry").await;
    let mut here = ana.watch(chat).await;
    here.post(chat, client_id(1), "Is 1 < 2 & \"2\" > 1? </script><b>").await.unwrap();
    let page = server.person().await.get(&format!("/chat/{chat}")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.headers[CACHE_CONTROL], "no-store");
    assert!(page.text.contains(">Tom &amp; Jerry</h1>"), "{}", page.text);
    assert!(
        page.text.contains("Is 1 &lt; 2 &amp; &quot;2&quot; &gt; 1? &lt;/script&gt;&lt;b&gt;"),
        "{}",
        page.text
    );
    assert_eq!(page.text.matches("</script><b>").count(), 0, "not in the data for the browser either");
    let members = page.text.split_once("aria-label=\"Members\"").unwrap().1.split_once("</ul>").unwrap().0;
    assert!(members.contains("Ana") && members.contains("owner") && members.contains("you"), "{members}");
}

#[tokio::test]
async fn strangers_get_the_same_page_as_members_and_what_is_new_is_on_it() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    for number in 0..3 {
        here.post(chat, client_id(number), &format!("message-{number}.")).await.unwrap();
        let mut drawn = Vec::new();
        for _ in 0..2 {
            let stranger = server.person().await;
            let nickname = stranger.connect().await.me.nickname.to_string();
            let page = stranger.get(&format!("/chat/{chat}")).await;
            assert!(page.text.contains(&format!(">message-{number}.<")), "{}", page.text);
            assert!(page.text.contains(&format!("value=\"{nickname}\"")), "{}", page.text);
            let policy = page.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
            let nonce = policy.split_once("'nonce-").unwrap().1.split_once('\'').unwrap().0.to_owned();
            assert_eq!(page.text.matches(&format!("nonce=\"{nonce}\"")).count(), 3);
            drawn.push((
                page.text.split_once("name=\"client_id\" value=\"").unwrap().1[..16].to_owned(),
                nonce,
            ));
        }
        assert!(drawn[0].0 != drawn[1].0 && drawn[0].1 != drawn[1].1, "{drawn:?}");
        assert!(
            ana.get(&format!("/chat/{chat}")).await.text.contains("class=\"message own"),
            "hers is another"
        );
    }
}

#[tokio::test]
async fn search_engines_may_find_public_pages_while_they_exist() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let robots =
        async || ana.get(&format!("/chat/{chat}")).await.headers["x-robots-tag"].to_str().unwrap().to_owned();
    assert!(
        robots().await.starts_with("nofollow, nosnippet, noarchive, unavailable_after: 20"),
        "{}",
        robots().await
    );
    let about = ana.get(&format!("/chat/{chat}?before=9")).await;
    assert_eq!(about.headers["x-robots-tag"], "noindex, nofollow");
    ana.submit("/api/set_visibility", &[("chat", &chat.to_string()), ("visibility", "private")]).await;
    assert_eq!(robots().await, "noindex, nofollow");
}

#[tokio::test]
async fn the_page_has_the_newest_messages_in_order() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let count = PAGE_EVENTS as u64 + 10;
    for number in 0..count {
        here.post(chat, client_id(number), &format!("message-{number}.")).await.unwrap();
    }
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    let (html, _) = page.split_once("</html>").unwrap();
    let places: Vec<_> =
        (10..count).map(|number| html.find(&format!(">message-{number}.<")).unwrap()).collect();
    assert!(places.is_sorted());
    assert!(!html.contains(">message-9.<"), "older ones are not on this page");

    let link = html.split_once("?before=").unwrap().1.split_once('"').unwrap().0;
    let page = ana.get(&format!("/chat/{chat}?before={link}")).await.text;
    let (html, _) = page.split_once("</html>").unwrap();
    assert!(html.contains(">message-9.<") && html.contains("started this chat"));
    assert!(!html.contains(">message-10.<"));
    assert!(html.contains("Newest messages") && !html.contains("Earlier messages"));
    let page = ana.get(&format!("/chat/{chat}?before=nonsense")).await.text;
    assert!(page.contains(">message-59.<"), "a part that is none shows the newest");
}

#[tokio::test]
async fn a_chat_can_be_started_and_talked_in_by_forms_alone() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "By form").await;
    let (chat_text, id) = (chat.to_string(), client_id(7).to_string());
    let mut watching = server.person().await.watch(chat).await;
    let form = [("chat", chat_text.as_str()), ("client_id", &id), ("body", "Line one\r\nline two")];
    for _ in 0..2 {
        let answer = ana.submit("/api/post_message", &form).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.headers[LOCATION], format!("/chat/{chat}"));
    }
    assert_eq!(bodies([&watching.event().await]), ["Line one\nline two"]);
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    let (html, _) = page.split_once("</html>").unwrap();
    assert_eq!(html.matches("Line one\nline two").count(), 1, "a form sent twice posts once");
}

#[tokio::test]
async fn a_chat_without_title_or_nickname_gets_both() {
    let server = TestServer::start().await;
    let person = server.person().await;
    let chat = person.start_chat("", "").await;
    let nickname = person.connect().await.me.nickname;
    let page = person.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains(&format!(">{nickname}’s chat</h1>")), "{page}");
}

#[tokio::test]
async fn a_refused_form_comes_back_with_everything_that_was_written() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let long = "W".repeat(21);
    let answer =
        ana.submit("/api/start_chat", &[("nickname", &long), ("title", "A & B"), ("private", "true")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("The nickname is too long."), "{}", answer.text);
    assert!(
        answer.text.contains(&format!("value=\"{long}\"")) && answer.text.contains("value=\"A &amp; B\"")
    );
    assert!(answer.text.contains("value=\"true\" checked"), "{}", answer.text);

    let chat = ana.start_chat("Ana", "Tea").await.to_string();
    let body = format!("</textarea>{}", "x".repeat(BODY_LIMIT));
    let id = client_id(1).to_string();
    let answer =
        ana.submit("/api/post_message", &[("chat", &chat), ("client_id", &id), ("body", &body)]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("The message is too long."), "{}", answer.text);
    assert!(answer.text.contains("&lt;/textarea&gt;xxx"), "the text is there, and stays text");

    let nowhere = client_id(9).to_string();
    let answer =
        ana.submit("/api/post_message", &[("chat", &nowhere), ("client_id", &id), ("body", "hi")]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let answer =
        ana.submit("/api/post_message", &[("chat", &chat), ("client_id", "?"), ("body", "hi")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_invalid_form_is_refused_in_words() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    for (path, form) in
        [("/api/edit_title", &[("chat", "x")][..]), ("/api/nothing", &[]), ("/api/post_message", &[])]
    {
        let answer = ana.submit(path, form).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.text.contains("The form did not arrive whole."), "{}", answer.text);
    }
    assert_eq!(ana.get("/api/start_chat").await.headers[LOCATION], "/");
    let huge = "x".repeat(300_000);
    let answer = ana.submit("/api/start_chat", &[("nickname", &huge), ("title", "")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "the length is the reason");
}

#[tokio::test]
async fn a_form_from_another_site_or_without_a_session_does_nothing() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let form = [("nickname", "Ana"), ("title", "Tea")];
    for headers in [header("sec-fetch-site", "cross-site"), header(ORIGIN.as_str(), "http://evil.example")] {
        let answer = ana.submit_with("/api/start_chat", &form, headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text.contains("This came from a page of another site"), "{}", answer.text);
    }
    let mut stranger = Person { cookie: "qchat_session=forged".to_owned(), ..ana };
    let answer = stranger.submit("/api/start_chat", &form).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.text.contains("Allow cookies"), "{}", answer.text);
    assert!(
        answer.text.contains("value=\"Ana\"") && answer.text.contains("value=\"Tea\""),
        "what was written is there"
    );
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
    stranger.cookie = cookie.split(';').next().unwrap().to_owned();
    let answer = stranger.submit("/api/start_chat", &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "and sending it again works");
}

#[tokio::test]
async fn a_forged_or_missing_cookie_gets_a_new_session_with_the_page() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    assert_eq!(ana.get("/").await.headers.get(SET_COOKIE), None, "a session that holds is kept");
    let forged = Person { cookie: format!("{}x", ana.cookie), ..ana };
    let answer = forged.get("/").await;
    assert_eq!(answer.status, StatusCode::OK);
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
}

#[tokio::test]
async fn the_public_id_and_the_session_are_never_the_same() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    let id = ana.connect().await.me.id.to_string();
    let (signature, secret) = ana.cookie.split_once('=').unwrap().1.split_at(44);
    assert!(page.contains(&id));
    assert!(!page.contains(signature) && !page.contains(secret.split('.').next().unwrap()));
}

#[tokio::test]
async fn a_link_that_was_typed_or_cut_out_of_a_sentence_is_understood() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    for link in [format!("{chat}/"), format!("{chat}."), chat.to_string().to_uppercase(), format!("{chat})!")]
    {
        let answer = ana.get(&format!("/chat/{link}")).await;
        assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT, "{link}");
        assert_eq!(answer.headers[LOCATION], format!("/chat/{chat}"));
    }
}

#[tokio::test]
async fn unknown_addresses_lead_to_a_friendly_page() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    for path in
        ["/chat/0000000000000000", "/chat/nonsense", "/nowhere", "/chat", "/pkg2/x", "/chat/%ff", "/%ff"]
    {
        let answer = ana.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.headers[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"), "{path}");
        assert!(answer.text.contains("Go home"), "{path}");
    }
}

/// Requests a path without normalizing it, which well-behaved clients do. Returns the status code.
async fn status_of_raw(server: &TestServer, path: &str) -> String {
    let mut wire = TcpStream::connect(server.address()).await.unwrap();
    wire.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    wire.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn no_path_leads_out_of_the_site() {
    let server = TestServer::start().await;
    let up = "../".repeat(4);
    for path in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/pkg/../../../Cargo.toml",
        "/pkg/%2e%2e/%2e%2e/%2e%2e/Cargo.toml",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("/{up}etc/passwd"), format!("/pkg/{up}{up}etc/passwd"), "//etc/passwd".to_owned()])
    {
        assert_eq!(status_of_raw(&server, &path).await, "404", "{path}");
    }
    assert_eq!(status_of_raw(&server, "/healthz").await, "200", "the way of asking works");
}

#[tokio::test]
async fn health_is_told() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    assert_eq!(ana.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(ana.get("/readyz").await.status, StatusCode::OK);
}
