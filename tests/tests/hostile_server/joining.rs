//! Coming in: another room, another key, a weaker derivation.

use std::sync::{Arc, Mutex};

use snug_tests::hostile::scene::{NAME, PASSWORD, Scene, client, code, is_text, say, until};

#[tokio::test]
async fn a_proxy_that_does_not_lie_is_not_noticed() {
    let scene = Scene::set().await;
    let (room, mut events) = scene.joined().await;
    scene.say("hello").await;
    until(&mut events, |event| is_text(event, "hello")).await;
    let mine = say(&room, "hello back").await;
    let seen = until(&mut events, |event| is_text(event, "hello back")).await;
    assert_eq!(seen.seq(), Some(mine));
    let names: Vec<Option<String>> =
        room.members().await.expect("the list").into_iter().map(|member| member.name).collect();
    assert!(names.contains(&Some("Ana".into())) && names.contains(&Some("Bob".into())), "{names:?}");
    assert_eq!(room.violations().await.expect("open"), []);
    scene.victim.close().await;
    scene.ana.close().await;
    scene.node.stop().await;
}

#[tokio::test]
async fn a_weaker_or_unknown_key_derivation_is_refused_before_the_password_is_hashed() {
    let scene = Scene::set().await;
    for kdf in [0, 2] {
        scene.server.on_http(move |answer| {
            if answer.path == "/api/lookup" {
                answer.rewrite(|json| json["kdf"] = kdf.into());
            }
            assert_ne!(answer.path, "/api/join", "nothing derived from the password leaves the client");
        });
        assert_eq!(code(scene.join().await), Err("kdf_unknown"));
    }
}

#[tokio::test]
async fn another_room_or_salt_in_a_lookup_does_not_lead_into_a_room() {
    let scene = Scene::set().await;
    let (other, _) = scene.ana.create_room("Cellar", "another password", "Ana").await.expect("a room");
    let honest: Arc<Mutex<Option<serde_json::Value>>> = Arc::default();
    // The server knows what it answers to who enters; it tells the victim of another room, and waves it through there.
    scene.server.on_http({
        let honest = Arc::clone(&honest);
        move |answer| {
            if answer.path == "/api/join" && answer.status == 200 {
                *honest.lock().expect("no panic") = serde_json::from_slice(&answer.body).ok();
            }
        }
    });
    drop(scene.join().await.expect("honest so far"));
    let entered = honest.lock().expect("no panic").take().expect("an answer");
    let fresh = client(&scene.server.url, &scene.node);
    for field in ["room", "grant"] {
        let (entered, lie) = (entered.clone(), other.id().to_string());
        scene.server.on_http(move |answer| match answer.path.as_str() {
            "/api/lookup" => answer.rewrite(|json| json[field] = lie.clone().into()),
            "/api/join" => answer.rewrite(|json| {
                *json = entered.clone();
                if field == "room" {
                    json["room"]["room"] = lie.clone().into();
                }
            }),
            _ => {}
        });
        assert_eq!(code(fresh.join(NAME, PASSWORD, "Carol").await), Err("grant_refused"), "another {field}");
    }
}

#[tokio::test]
async fn a_substituted_grant_or_record_is_refused() {
    let scene = Scene::set().await;
    let flip = |field: &'static str, at: usize| {
        move |json: &mut serde_json::Value| {
            let place = if field == "blob" { &mut json["blob"] } else { &mut json["epoch_record"]["envelope"] };
            let mut bytes = snug_protocol::decode_base64(place.as_str().expect("text")).expect("base64");
            bytes[at] ^= 1;
            *place = snug_protocol::encode_base64(&bytes).into();
        }
    };
    for (field, at, refused) in
        [("blob", 1, "grant_refused"), ("blob", 60, "grant_refused"), ("record", 200, "record_refused")]
    {
        scene.server.on_http(move |answer| {
            if answer.path == "/api/join" {
                answer.rewrite(flip(field, at));
            }
        });
        assert_eq!(code(scene.join().await), Err(refused), "{field} {at}");
    }
}
