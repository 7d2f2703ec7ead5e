//! What a page has for parts that come later, and what there is for readers without a script.

use reqwest::{StatusCode, header::LOCATION};

use crate::support::{TestServer, client_id};

#[tokio::test]
async fn a_message_is_reacted_to_by_forms() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let said = here.post(chat, client_id(1), "Tea at five?").await.unwrap().to_string();
    let chat = chat.to_string();
    let submit = async |fields: &[(&str, &str)]| {
        let mut form = vec![("chat", chat.as_str()), ("message", said.as_str())];
        form.extend_from_slice(fields);
        ana.submit("/api/react", &form).await
    };

    let page = ana.get(&format!("/chat/{chat}?react={said}")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text.contains("action=\"/api/react\"") && page.text.contains("value=\"👍\""),
        "{}",
        page.text
    );
    assert_eq!(page.headers["x-robots-tag"], "noindex, nofollow");
    for fields in [("on", "👍"), ("on", " 🎉 "), ("on", "👍"), ("off", "👍"), ("off", "👍")] {
        let answer = submit(&[fields]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{fields:?}: {}", answer.text);
        assert_eq!(answer.headers[LOCATION], format!("/chat/{chat}?at={said}").as_str());
    }

    let refused = submit(&[("on", "abc")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains("value=\"abc\""), "it can be corrected: {}", refused.text);
    assert_eq!(submit(&[("on", "")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(submit(&[]).await.status, StatusCode::BAD_REQUEST);
    let gone = ana.submit("/api/react", &[("chat", &chat), ("message", "999"), ("on", "👍")]).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    for seq in ["999", "1"] {
        let nothing = ana.get(&format!("/chat/{chat}?react={seq}")).await;
        assert_eq!(nothing.status, StatusCode::NOT_FOUND, "{seq}: there is no message");
    }
}

#[tokio::test]
async fn the_form_to_react_is_shown_to_those_who_may_enter() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let page = bea.get("/chat/0000000000000000?react=1").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    let page = bea.get(&format!("/chat/{chat}?react=x")).await;
    assert!(
        page.text.contains(">Tea</h1>"),
        "a query that is not valid shows the newest page: {}",
        page.text
    );
}

#[tokio::test]
async fn a_message_has_links_for_its_actions() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let said = ana.watch(chat).await.post(chat, client_id(1), "Tea at five?").await.unwrap();
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    for (label, query) in [("Reply", "reply"), ("React", "react"), ("More", "message")] {
        let link = format!("href=\"/chat/{chat}?{query}={said}\" aria-label=\"{label}\"");
        assert!(page.contains(&link), "{label}: {page}");
    }
    assert!(page.contains(&format!("data-seq=\"{said}\"")), "{page}");
}

#[tokio::test]
async fn what_somebody_does_is_posted_by_a_form() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    let form =
        [("chat", chat.to_string()), ("client_id", client_id(1).to_string()), ("body", "/me waves".into())];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(ana.submit("/api/post_message", &form).await.status, StatusCode::SEE_OTHER);
    let seen = here.events(1).await;
    let said = seen[0].kind.message().unwrap();
    assert_eq!((said.body.as_str(), said.is_action), ("waves", true));
}
