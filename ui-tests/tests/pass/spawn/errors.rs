//! Every kind of error, and of output.
use bgtask::spawn;
use std::fmt;

struct Opaque;

#[derive(Debug)]
struct Debugged;

struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shown")
    }
}

#[test]
fn runs() {
    crate::run(async {
        let ok = |is_ok: bool| assert!(is_ok);
        ok(spawn!("opaque", async { Err::<(), _>(Opaque) })
            .await
            .unwrap()
            .is_err());
        ok(spawn!("debugged", async { Err::<(), _>(Debugged) })
            .await
            .unwrap()
            .is_err());
        ok(spawn!("shown", retry(max = 2, base = "1ms"), async {
            Err::<(), _>(Shown)
        })
        .await
        .unwrap()
        .is_err());
        ok(spawn!("anyhow", || anyhow::Ok(())).await.unwrap().is_ok());
        ok(spawn!("boxed", async {
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        })
        .await
        .unwrap()
        .is_ok());
        ok(spawn!("nested", async { Some(Ok::<u8, u8>(1)) })
            .await
            .unwrap()
            .is_some());
        ok(spawn!("a handle", || spawn!("inner", async { 1 }))
            .await
            .unwrap()
            .await
            .is_ok());
        ok(
            spawn!("a handle of tokio's", async { tokio::spawn(async { 1 }) })
                .await
                .unwrap()
                .await
                .is_ok(),
        );
    });
}
