//! In a trait's methods, with and without a default, where `#[background]` is not allowed.
use bgtask::{TaskHandle, spawn};

trait Stores: Clone + Send + Sized + 'static {
    fn number(&self) -> u32;

    fn store(&self) -> TaskHandle<u32> {
        let this = self.clone();
        spawn!("store", async move { this.number() })
    }

    fn forget(self) -> TaskHandle<()>;
}

#[derive(Clone)]
struct Memory(u32);

impl Stores for Memory {
    fn number(&self) -> u32 {
        self.0
    }

    fn forget(self) -> TaskHandle<()> {
        spawn!("forget", move || drop(self))
    }
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(Memory(1).store().await, Ok(1));
        Memory(2).forget().await.unwrap();
    });
}
