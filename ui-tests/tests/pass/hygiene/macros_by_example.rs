//! Macros that emit annotated functions, in whole and in parts.
use bgtask::{ShutdownToken, background};

macro_rules! tasks {
    ($($(#[$attribute:meta])* $visibility:vis $name:ident($($parameter:ident: $ty:ty),*) -> $output:ty $body:block)*) => {
        $(
            $(#[$attribute])*
            #[background]
            $visibility async fn $name($($parameter: $ty),*) -> $output $body
        )*
    };
}

tasks! {
    /// Made by a macro.
    pub made(token: ShutdownToken, number: u32) -> u32 {
        if token.is_cancelled() { 0 } else { number }
    }
    #[allow(dead_code)]
    made_too() -> Option<Vec<u8>> { None }
}

macro_rules! item {
    ($item:item) => {
        #[background(log = "info")]
        $item
    };
}
item! {
    fn from_an_item(number: u32) -> u32 {
        number + 1
    }
}

macro_rules! tokens {
    ($($token:tt)*) => { $($token)* };
}
tokens! {
    #[background]
    async fn from_tokens(number: u32) -> u32 { number }
}

macro_rules! with_expression {
    ($name:ident, $value:expr, $pattern:pat, $lifetime:lifetime) => {
        #[background]
        async fn $name($pattern: (u32, u32), text: &$lifetime str) -> u32 {
            let _ = text;
            $value
        }
    };
}
with_expression!(from_parts, 3, (_, _), 'static);

/// The macro's `value` and its user's `value` are two variables.
macro_rules! two_of_one_name {
    ($theirs:ident) => {
        #[background]
        async fn two_of_one_name($theirs: u32, value: u32) -> u32 {
            $theirs * 10 + value
        }
    };
}
two_of_one_name!(value);

macro_rules! options {
    ($name:ident, $text:literal) => {
        #[background(name = $text)]
        async fn $name() {}
    };
}
options!(named_by_a_macro, "from a macro");

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(made(1).await, Ok(1));
        assert_eq!(from_an_item(1).await, Ok(2));
        assert_eq!(from_tokens(1).await, Ok(1));
        assert_eq!(from_parts((1, 2), "text").await, Ok(3));
        assert_eq!(two_of_one_name(1, 2).await, Ok(12));
        assert_eq!(named_by_a_macro().name(), "from a macro");
    });
}
