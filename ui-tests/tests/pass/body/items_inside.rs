//! Items of every kind in the body.
use bgtask::background;

#[background]
async fn task(number: u32) -> String {
    use std::fmt::Write as _;

    const FACTOR: u32 = 2;
    static SUFFIX: &str = "!";

    #[derive(Debug, Clone, Copy)]
    struct Wrapped(u32);

    enum Choice {
        One(Wrapped),
    }

    trait Double {
        fn double(self) -> Self;
    }

    impl Double for Wrapped {
        fn double(self) -> Self {
            Wrapped(self.0 * FACTOR)
        }
    }

    macro_rules! choice {
        ($value:expr) => {
            Choice::One(Wrapped($value))
        };
    }

    let Choice::One(wrapped) = choice!(number);
    let mut text = String::new();
    write!(text, "{}{SUFFIX}", wrapped.double().0).unwrap();
    text
}

#[test]
fn runs() {
    crate::run(async { assert_eq!(task(2).await.unwrap(), "4!") });
}
