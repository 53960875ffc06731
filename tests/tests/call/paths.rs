//! Paths and receivers: a renamed crate, a re-export, a `macro_rules!` and a method on `Arc<Self>`.

use bgtask::{ShutdownToken, background};
use bgtask_tests::on_both_flavors;
use std::sync::Arc;

struct Service;

impl Service {
    #[background]
    async fn associated(self: Arc<Self>) -> usize {
        Arc::strong_count(&self)
    }
}

/// Behaviour 37.
#[test]
fn a_method_holds_its_receiver_until_it_ends() {
    on_both_flavors(async |_| {
        let service = Arc::new(Service);
        assert_eq!(service.clone().associated().await, Ok(2));
    });
}

mod reexport {
    pub(crate) use ::bgtask as background_work;
}

#[renamed::background(crate = "::renamed")]
async fn through_a_renamed_crate() -> u32 {
    1
}

#[reexport::background_work::background(crate = "crate::paths::reexport::background_work")]
async fn through_a_reexport(token: ShutdownToken) -> bool {
    token.is_cancelled()
}

macro_rules! make_task {
    ($name:ident, $argument:ident: $type:ty => $body:expr) => {
        #[background]
        async fn $name($argument: $type, token: ShutdownToken) -> $type {
            assert!(!token.is_cancelled());
            $body
        }
    };
}

make_task!(made_by_a_macro, number: u32 => number + 1);

/// Behaviour 37.
#[test]
fn a_renamed_crate_a_reexport_and_a_macro_rules_work() {
    on_both_flavors(async |_| {
        assert_eq!(through_a_renamed_crate().await, Ok(1));
        assert_eq!(through_a_reexport().await, Ok(false));
        assert_eq!(made_by_a_macro(1).await, Ok(2));
    });
}
