//! `#[bgtask::test]` as users combine it: other attributes, odd names, macros, another name of the crate.

use bgtask::{ShutdownToken, background};

#[background]
async fn doubled(number: u32) -> u32 {
    number * 2
}

#[bgtask::test]
async fn r#await() {
    assert_eq!(doubled(1).await, Ok(2));
}

#[bgtask::test(crate = "::other_name", flavor = "multi_thread", worker_threads = 1)]
pub(crate) async fn another_name_of_the_crate(
    mut token: ShutdownToken,
) -> Result<(), std::fmt::Error> {
    let shutdown = &mut token;
    bgtask::request_shutdown("the test asks");
    shutdown.cancelled().await;
    Ok(())
}

/// A test that is documented.
#[bgtask::test]
#[should_panic(expected = "7 is not 8")]
#[allow(unused_variables)]
async fn other_attributes() {
    #![allow(clippy::eq_op)]
    let unused = ();
    panic!("7 is not 8");
}

#[bgtask::test]
#[ignore = "never ends"]
async fn ignored() {
    std::future::pending::<()>().await;
}

#[cfg(any())]
#[bgtask::test]
async fn configured_away() {
    compile_error!("it is not there");
}

macro_rules! tests {
    ($($name:ident $body:block)*) => {
        $(
            #[bgtask::test]
            async fn $name() $body
        )*
    };
}
tests! {
    from_a_macro { assert_eq!(doubled(2).await, Ok(4)); }
    another_from_a_macro { drop(doubled(3)); }
}

mod within {
    #![no_implicit_prelude]

    struct Option;
    struct Result;

    #[::bgtask::test(drain = "1s")]
    async fn without_a_prelude() {
        let (_, _) = (Option, Result);
    }

    #[::bgtask::test]
    async fn name_of_its_own(token: ::bgtask::ShutdownToken) {
        let run_test = token.is_cancelled();
        if run_test {
            ::std::panic!("nobody has asked");
        }
    }
}

#[bgtask::test(schedules, wait = "1m", drain = "1s")]
async fn all_that_is_said_of_time() {
    bgtask::testing::idle().await;
}

mod functions {
    use bgtask::{TaskHandle, background, testing};
    use std::sync::Arc;

    #[background]
    async fn of_twelve(
        a: u8,
        b: u8,
        c: u8,
        d: u8,
        e: u8,
        f: u8,
        g: u8,
        h: u8,
        i: u8,
        j: u8,
        k: u8,
        l: u8,
    ) {
        let _ = [a, b, c, d, e, f, g, h, i, j, k, l];
    }

    #[background]
    async fn sum<const N: usize>(numbers: [u8; N]) -> usize {
        N + numbers.len()
    }

    struct Boxed<T>(T);

    impl<T: Send + Sync + 'static> Boxed<T> {
        #[background]
        async fn open(self: Arc<Self>) {}
    }

    /// A user's wrapper around the kit.
    #[track_caller]
    fn assert_once<M>(function: impl testing::BackgroundFunction<M>) {
        testing::assert_called(function, 1);
    }

    #[bgtask::test]
    async fn go_by_themselves() {
        of_twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
        assert_once(of_twelve);
        let _: TaskHandle<usize> = sum([1, 2]);
        assert_once(sum::<3>);
        Arc::new(Boxed(1)).open();
        assert_once(Boxed::<i32>::open);
        assert_once("of_twelve");
    }
}
