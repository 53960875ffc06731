//! Runs the `orders` example as processes: receipts arrive once, whatever is killed, and wrong input gets a sentence.
//! Loopback only; waits for conditions, so a slow machine only takes longer.
#![cfg(unix)]

#[path = "../../../dashboard/tests/browser/mod.rs"]
mod browser;
mod followers;
mod page;
#[allow(dead_code, reason = "the fixture also sets clocks")]
#[path = "../../../../bgtask-durable/tests/support/postgres.rs"]
mod postgres;
mod shop;
#[path = "../../../../bgtask-durable/tests/support/smtp.rs"]
mod smtp;

use serde_json::{Value, json};
use shop::{Database, orders, wait_for};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

fn is_done(order: &Value) -> bool {
    order["state"] == "done"
}

/// The order is charged, and its receipt is being rendered.
fn has_begun(order: &Value) -> bool {
    order["state"] == "running" && order["progress"].as_f64().unwrap() > 0.0
}

const ONE_ORDER: &str = r#"{"orders":1,"receipts":1,"charges":1,"charged_twice":0}"#;

#[test]
fn an_order_gets_its_receipt_after_a_retry() {
    for database in Database::each() {
        let mut shop = database.shop();
        let path = shop.place_order("item=Tea+%26+<b>cups</b>&quantity=12");
        let id = path.strip_prefix("/orders/").expect(&path);

        let running = shop.wait_until(&path, has_begun);
        assert_eq!(running["id"], id);
        assert_eq!(running["receipt"], Value::Null);
        let page = shop.browse(&path).body;
        assert!(
            page.contains("12 × Tea &amp; &lt;b&gt;cups&lt;/b&gt;"),
            "{page}"
        );
        // Reloads itself without JavaScript, too.
        assert!(
            page.contains(r#"<noscript><meta http-equiv="refresh" content="1"></noscript>"#),
            "{page}"
        );

        // Its event stream has each newer state, and ends with the end.
        let events = running["events"].as_str().expect("a path");
        let stream = shop.get(events);
        assert_eq!(stream.status, 200);
        let of = |start: &str| -> Vec<_> {
            let lines = stream.body.lines();
            lines
                .filter_map(|line| line.strip_prefix(start).map(str::to_owned))
                .collect()
        };
        let ids: Vec<u64> = of("id: ").iter().map(|id| id.parse().unwrap()).collect();
        assert!(
            ids.len() > 2 && ids.is_sorted_by(|one, next| one < next),
            "{}",
            stream.body
        );
        let last: Value = serde_json::from_str(of("data: ").last().unwrap()).unwrap();
        assert_eq!(
            (&last["state"], &last["progress"]["fraction"]),
            (&json!("done"), &json!(0.875))
        );

        let done = shop.wait_until(&path, is_done);
        assert_eq!(done["progress"], 1.0);
        // The gateway's first answer is lost after the charge.
        assert_eq!(done["attempts"], 2);
        let receipt = done["receipt"].as_str().unwrap();
        assert!(
            receipt.contains("Tea & <b>cups</b>") && receipt.contains("144.00"),
            "{receipt}"
        );
        assert_eq!(shop.get("/orders.json").body, ONE_ORDER);
        let page = shop.browse(&path).body;
        assert!(
            page.contains("144.00") && !page.contains("refresh"),
            "{page}"
        );
        assert!(shop.browse("/").body.contains(&path));

        shop.process.terminate();
        assert_eq!(shop.process.end().code(), Some(0));
    }
}

#[test]
fn a_receipt_survives_kill_9_and_arrives_once() {
    for database in Database::each() {
        let shop = database.shop();
        let path = shop.place_order("item=Kettle&quantity=1");
        shop.wait_until(&path, has_begun);
        shop.kill();
        assert_eq!(database.receipts(), 0);

        let shop = database.shop();
        let done = shop.wait_until(&path, is_done);
        assert!(
            done["receipt"].as_str().unwrap().contains("Kettle"),
            "{done}"
        );
        assert!(shop.browse(&path).body.contains("after 1 crash"));
        assert_eq!(shop.get("/orders.json").body, ONE_ORDER);
    }
}

#[test]
fn a_worker_takes_over_from_a_killed_shop() {
    for database in Database::each() {
        let shop = database.shop();
        let path = shop.place_order("item=Kettle&quantity=1");
        shop.wait_until(&path, has_begun);
        shop.kill();
        assert_eq!(database.receipts(), 0);

        let _workers = [database.worker(), database.worker()];
        wait_for("the receipt", || {
            Some(database.receipts()).filter(|count| *count > 0)
        });
        let shop = database.shop();
        assert!(is_done(&shop.json(&format!("{path}.json"))));
        assert_eq!(shop.get("/orders.json").body, ONE_ORDER);
    }
}

#[test]
fn processes_that_start_at_once_create_the_tables_once() {
    for database in Database::each() {
        thread::scope(|scope| {
            let workers = [(); 3].map(|()| scope.spawn(|| database.worker()));
            let shop = database.shop();
            let _workers = workers.map(|worker| worker.join().unwrap());
            let path = shop.place_order("item=Kettle&quantity=1");
            shop.wait_until(&path, is_done);
            assert_eq!(shop.get("/orders.json").body, ONE_ORDER);
        });
    }
}

#[test]
fn wrong_input_is_answered_with_a_sentence() {
    for database in Database::each() {
        let shop = database.shop();
        let long = format!("item={}&quantity=1", "x".repeat(101));
        let wrong = [
            ("item=&quantity=1", "The item is missing"),
            ("item=+&quantity=1", "The item is missing"),
            (&long, "The item is too long"),
            (
                "item=a%00b&quantity=1",
                "The item contains a control character",
            ),
            ("item=a&quantity=0", "The quantity is wrong"),
            ("item=a&quantity=100", "The quantity is wrong"),
            ("item=a&quantity=-1", "The quantity is wrong"),
            ("item=a&quantity=one", "The quantity is wrong"),
            ("item=a&quantity=", "The quantity is wrong"),
            ("item=a", "The order is incomplete"),
            ("quantity=1", "The order is incomplete"),
            ("", "The order is incomplete"),
        ];
        for (form, sentence) in wrong {
            let response = shop.post_order(form);
            assert_eq!(response.status, 400, "{form}");
            assert!(
                response.body.starts_with(sentence),
                "{form}: {}",
                response.body
            );
        }
        let json = shop.post(
            "/orders",
            "application/json",
            r#"{"item":"a","quantity":1}"#,
        );
        assert_eq!(json.status, 400);
        assert!(
            json.body.starts_with("The order is incomplete"),
            "{}",
            json.body
        );

        for path in ["/orders/none", "/orders/none.json", "/orders/a%00b"] {
            let response = shop.get(path);
            assert_eq!(
                (response.status, &*response.body),
                (404, "There is no such order.")
            );
        }
        assert_eq!(shop.get("/none").body, "There is no such page.");
        // A browser gets the sentence in a page.
        let page = shop.browse("/orders/none");
        assert_eq!(page.status, 404);
        assert!(
            page.body
                .contains(r#"<p role="alert">There is no such order.</p>"#),
            "{}",
            page.body
        );
        assert!(
            page.head
                .contains("content-security-policy: default-src 'none';"),
            "{}",
            page.head
        );

        assert_eq!(
            shop.json("/orders.json"),
            json!({ "orders": 0, "receipts": 0, "charges": 0, "charged_twice": 0 })
        );
    }
}

#[test]
fn a_wrong_start_is_explained() {
    let database = Database::sqlite();
    let used = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = used.local_addr().unwrap().port().to_string();
    let fails = |mut command: Command, sentence: &str| {
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(sentence), "{stderr}");
    };
    let start = |name: &str, value: &str| {
        let mut command = orders();
        command
            .env("BGTASK_DATABASE_URL", &database.url)
            .env(name, value);
        command
    };
    fails(
        start("PORT", &port),
        &format!("cannot listen on port {port}: end the program that uses it"),
    );
    fails(
        start("PORT", "http"),
        "`PORT` is `http`: set it to a number from 0 to 65535",
    );
    fails(start("PORT", "65536"), "`PORT` is `65536`");
    fails(
        start("BGTASK_DATABASE_URL", "mysql://localhost/shop"),
        "is wrong: expected `sqlite://path`",
    );
    fails(
        start("BGTASK_DATABASE_URL", "sqlite:///no/such/folder/shop.db"),
        "cannot open the database: check `BGTASK_DATABASE_URL`",
    );
    let mut unknown = start("PORT", "0");
    unknown.arg("wrker");
    fails(
        unknown,
        "unknown argument `wrker`: pass `worker`, `partner`",
    );
}
