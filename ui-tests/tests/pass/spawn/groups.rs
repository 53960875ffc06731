//! In a group, with every form of work.
use bgtask::{Group, TaskHandle, spawn};

struct Connection {
    group: Group,
}

impl Connection {
    fn start(&self, number: u32) -> TaskHandle<u32> {
        spawn!(in &self.group, "of a field", async move { number })
    }
}

fn passed(group: &Group) -> TaskHandle<anyhow::Result<u8>> {
    spawn!(in group, "passed", async { Ok("1".parse()?) })
}

#[test]
fn runs() {
    crate::run(async {
        let group = Group::new();
        let key = String::from("key");
        assert_eq!(spawn!(in &group, "future", async { 1 }).await, Ok(1));
        assert_eq!(
            spawn!(in &group, "makes", |token| async move { token.is_cancelled() }).await,
            Ok(false)
        );
        assert_eq!(
            spawn!(in &group, "async closure", async |token| token.is_cancelled()).await,
            Ok(false)
        );
        assert_eq!(spawn!(in &group, "blocks", || 2).await, Ok(2));
        assert_eq!(
            spawn!(in &group, "blocks with the token", |token| token.is_cancelled()).await,
            Ok(false)
        );
        let with_policies = spawn!(
            in &group,
            "policies",
            retry(max = 2, when = |error| error == "again"),
            coalesce(key = key),
            async move { if key.is_empty() { Err("never".to_owned()) } else { Ok(key) } },
        );
        assert_eq!(with_policies.await.unwrap().unwrap(), "key");
        assert_eq!(
            spawn!(in &group.child(), "of an expression", timeout = "1m", || 3).await,
            Ok(3)
        );
        assert_eq!(
            Connection {
                group: group.clone()
            }
            .start(4)
            .await,
            Ok(4)
        );
        assert_eq!(passed(&group).await.unwrap().unwrap(), 1);
        let group = group.cancel_on_drop();
        assert_eq!(spawn!(in &group, "of a guard", async { 5 }).await, Ok(5));
    });
}
