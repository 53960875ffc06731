//! Types are inferred from the call to the work, and back.
use bgtask::{TaskError, TaskHandle, spawn};
use std::io;

struct Holds {
    handle: TaskHandle<Result<u32, Box<dyn std::error::Error + Send + Sync>>>,
}

fn returned() -> TaskHandle<anyhow::Result<u32>> {
    spawn!("returned", async { Ok(parsed("2")?) })
}

fn returned_by_name() -> TaskHandle<Result<Vec<u8>, String>> {
    return spawn!("returned by name", move || Ok(Vec::new()));
}

fn parsed(text: &str) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

async fn passed(handle: TaskHandle<io::Result<Option<u8>>>) -> io::Result<Option<u8>> {
    handle.await.expect("it ends")
}

#[test]
fn runs() {
    crate::run(async {
        let handle: TaskHandle<anyhow::Result<_>> = spawn!("let", async {
            parsed("1")?;
            Ok(1)
        });
        assert_eq!(handle.await.unwrap().unwrap(), 1);
        let handle: TaskHandle<anyhow::Result<()>> = spawn!(
            "let of a closure",
            timeout = "1m",
            move |token| async move {
                let _ = token.is_cancelled();
                Ok(())
            }
        );
        handle.await.unwrap().unwrap();
        assert_eq!(returned().await.unwrap().unwrap(), 2);
        assert!(returned_by_name().await.unwrap().unwrap().is_empty());
        let held = Holds {
            handle: spawn!("field", async { Ok(parsed("3")?) }),
        };
        assert_eq!(held.handle.await.unwrap().unwrap(), 3);
        let mut all: Vec<TaskHandle<Result<u8, String>>> = Vec::new();
        all.push(spawn!("pushed", async { Ok(4) }));
        all.push(spawn!("pushed, and blocks", retry(max = 2), || Err(
            "five".to_owned()
        )));
        for handle in all {
            drop(handle.await);
        }
        assert_eq!(
            passed(spawn!("passed", async { Ok(None) })).await.unwrap(),
            None
        );
        let handle = spawn!("said in the work", async { Ok::<_, io::Error>(6) });
        assert_eq!(handle.await.unwrap().unwrap(), 6);
        let error: Result<u8, TaskError> = spawn!("awaited", async { 7 }).await;
        assert_eq!(error, Ok(7));
        let later = spawn!("known from a branch", async {
            if std::env::args().count() == usize::MAX {
                return Err(io::Error::other("never"));
            }
            Ok("8".parse::<u8>().map_err(io::Error::other)?)
        });
        assert_eq!(later.await.unwrap().unwrap(), 8);
    });
}
